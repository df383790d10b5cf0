//! The header and the navigation around the content of a page.

use maud::{Markup, html};
use postrider_store::config::Tenant;

use crate::document::{brand, document};
use crate::session::Visitor;
use crate::texts::Notice;

/// An entry of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
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

/// A page of a signed-in visitor.
pub(crate) fn full(
    visitor: &Visitor,
    tenant: Option<&Tenant>,
    section: Section,
    title: &str,
    content: Markup,
) -> Markup {
    let body = html! {
        body {
            a.skip href="#main" { "Skip to the content" }
            header.bar {
                (brand())
                @if let Some(tenant) = tenant {
                    p.whose { span.whose-name { (tenant.draft.name) } " " span.tag { (tenant.draft.profile) } }
                }
                form.sign-out method="post" action="/dashboard/sign-out" {
                    (visitor.tokens)
                    button.quiet type="submit" { "Sign out" }
                }
            }
            div.frame {
                (navigation(visitor, tenant, section))
                main #main tabindex="-1" {
                    @if let Some(notice) = Notice::named(visitor.notice()) { p.notice role="status" { (notice.text()) } }
                    (content)
                }
            }
        }
    };
    document(title, body)
}

fn navigation(visitor: &Visitor, tenant: Option<&Tenant>, section: Section) -> Markup {
    let link = |item: Section, name: &str, href: &str| {
        html! { li { a href=(href) aria-current=[(item == section).then_some("page")] { (name) } } }
    };
    html! {
        nav.side aria-label="Main" {
            @if let Some(tenant) = tenant {
                ul { @for (item, name, path) in OF_TENANT { (link(item, name, &format!("/dashboard/{}{path}", tenant.id))) } }
            }
            @if visitor.caller.is_operator() {
                p.side-title #operator-nav { "Operator" }
                ul aria-labelledby="operator-nav" { @for (item, name, path) in OF_OPERATOR { (link(item, name, path)) } }
            }
        }
    }
}
