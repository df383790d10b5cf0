//! What every page has around its content.

use maud::{DOCTYPE, Markup, html};
use postrider_store::config::Tenant;

use super::assets::{ICON, SCRIPTS, STYLE};
use super::form::CSRF_FIELD;
use super::session::Visitor;
use super::words::notice_text;

/// Where in the navigation a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Webhooks,
    Deliveries,
    Events,
    Replays,
    Health,
    AuditLog,
    Tenants,
    DeadLetters,
    Profiles,
    System,
    AllAuditLog,
}

const OF_TENANT: [(Section, &str, &str); 6] = [
    (Section::Webhooks, "Webhooks", "/webhooks"),
    (Section::Deliveries, "Deliveries", "/deliveries"),
    (Section::Events, "Events", "/events"),
    (Section::Replays, "Replays", "/replays"),
    (Section::Health, "Health", "/health"),
    (Section::AuditLog, "Audit log", "/audit-log"),
];
const OF_OPERATOR: [(Section, &str, &str); 5] = [
    (Section::Tenants, "Tenants", "/dashboard/operator/tenants"),
    (Section::DeadLetters, "Dead letters", "/dashboard/operator/dead-letters"),
    (Section::Profiles, "Profiles", "/dashboard/operator/profiles"),
    (Section::System, "System", "/dashboard/operator/system"),
    (Section::AllAuditLog, "Audit log", "/dashboard/operator/audit-log"),
];

fn document(title: &str, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Postrider" }
                link rel="icon" href=(ICON.href());
                link rel="stylesheet" href=(STYLE.href());
                @for script in SCRIPTS.iter() { script type="module" src=(script.href()) {} }
            }
            (body)
        }
    }
}

fn brand() -> Markup {
    html! {
        a.brand href="/dashboard" {
            svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" focusable="false" {
                path class="brand-mark" d="M3 6.5 12 13l9-6.5M3 6v12h18V6zM1 12h3M1 15h2" {}
            }
            span.brand-name { "Postrider" }
        }
    }
}

/// A page of a visitor who is not signed in, or of an error.
pub(super) fn bare(title: &str, content: Markup) -> Markup {
    document(
        title,
        html! {
            body.bare {
                header.bar { (brand()) }
                main #main.card { (content) }
            }
        },
    )
}

/// A page of a visitor who is signed in.
pub(super) fn full(
    visitor: &Visitor,
    tenant: Option<&Tenant>,
    section: Section,
    title: &str,
    notice: &str,
    content: Markup,
) -> Markup {
    document(
        title,
        html! {
            body {
                a.skip href="#main" { "Skip to the content" }
                header.bar {
                    (brand())
                    @if let Some(tenant) = tenant {
                        p.whose { span.whose-name { (tenant.draft.name) } " " span.tag { (tenant.draft.profile) } }
                    }
                    form.sign-out method="post" action="/dashboard/sign-out" {
                        (csrf(visitor))
                        button.quiet type="submit" { "Sign out" }
                    }
                }
                div.frame {
                    nav.side aria-label="Main" {
                        @if let Some(tenant) = tenant {
                            ul { @for (item, name, path) in OF_TENANT {
                                li { a href={ "/dashboard/" (tenant.id) (path) } aria-current=[(item == section).then_some("page")] { (name) } }
                            } }
                        }
                        @if visitor.is_operator() {
                            p.side-title #operator-nav { "Operator" }
                            ul aria-labelledby="operator-nav" { @for (item, name, path) in OF_OPERATOR {
                                li { a href=(path) aria-current=[(item == section).then_some("page")] { (name) } }
                            } }
                        }
                    }
                    main #main tabindex="-1" {
                        @if let Some(text) = notice_text(notice) { p.notice role="status" { (text) } }
                        (content)
                    }
                }
            }
        },
    )
}

/// The hidden fields of every form: the proof that it is from a page of this session, and the one-time token of that page.
pub(super) fn csrf(visitor: &Visitor) -> Markup {
    html! {
        input type="hidden" name=(CSRF_FIELD) value=(visitor.csrf);
        input type="hidden" name="once" value=(visitor.once);
    }
}
