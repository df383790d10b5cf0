//! The header and the navigation around the content of a page.

use maud::{Markup, html};
use postrider_store::config::Tenant;

use crate::document::{brand, document};
use crate::session::Visitor;
use crate::texts::Notice;

/// The navigation: names of sections, and their paths below the tenant's address or the operator's.
const OF_TENANT: [(&str, &str); 6] = [
    ("Webhooks", "webhooks"),
    ("Deliveries", "deliveries"),
    ("Events", "events"),
    ("Replays", "replays"),
    ("Health", "health"),
    ("Audit log", "audit-log"),
];
const OF_OPERATOR: [(&str, &str); 5] = [
    ("Tenants", "tenants"),
    ("Dead letters", "dead-letters"),
    ("Profiles", "profiles"),
    ("System", "system"),
    ("Audit log", "audit-log"),
];

/// A page of a signed-in visitor.
pub(crate) fn full(visitor: &Visitor, tenant: Option<&Tenant>, title: &str, content: Markup) -> Markup {
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
                (navigation(visitor, tenant))
                main #main tabindex="-1" {
                    @if let Some(notice) = Notice::named(visitor.notice()) { p.notice role="status" { (notice.text()) } }
                    (content)
                }
            }
        }
    };
    document(title, body)
}

fn navigation(visitor: &Visitor, tenant: Option<&Tenant>) -> Markup {
    let links = |owner: &str, sections: &[(&str, &str)]| {
        html! { @for (name, section) in sections {
            @let href = format!("/dashboard/{owner}/{section}");
            li { a href=(href) aria-current=[visitor.path.starts_with(&href).then_some("page")] { (name) } }
        } }
    };
    html! {
        nav.side aria-label="Main" {
            @if let Some(tenant) = tenant { ul { (links(&tenant.id.to_string(), &OF_TENANT)) } }
            @if visitor.caller.is_operator() {
                p.side-title #operator-nav { "Operator" }
                ul aria-labelledby="operator-nav" { (links("operator", &OF_OPERATOR)) }
            }
        }
    }
}
