//! The header and the navigation around the content of a page. A page in a frame has only the search in its header, because the
//! product's page around the frame has a header.

use maud::{Markup, html};
use postrider_store::config::Tenant;

use crate::document::{document, in_frame, page_brand};
use crate::find::search_box;
use crate::language::{english, key, t, text};
use crate::session::Visitor;
use crate::texts::Notice;

/// The sections of the navigation: the name, and the path below the address of the tenant or of the operator.
const OF_TENANT: [(&str, &str); 7] = [
    (key!("{Webhooks}"), "webhooks"),
    (key!("Deliveries"), "deliveries"),
    (key!("Events"), "events"),
    (key!("Event types"), "event-types"),
    (key!("Replays"), "replays"),
    (key!("Health"), "health"),
    (key!("Audit log"), "audit-log"),
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
            a.skip href="#main" { (t!("Skip to the content")) }
            @if !in_frame() { (bar(visitor, tenant)) } @else if let Some(tenant) = tenant {
                header.bar { (search_box(&tenant.id.to_string(), searched(visitor))) }
            }
            div.frame {
                (navigation(visitor, tenant))
                main #main tabindex="-1" {
                    @if let Some(notice) = Notice::named(visitor.notice()) { p.notice role="status" { (notice.text()) } }
                    (content)
                }
            }
            (keys())
        }
    };
    document(title, body)
}

fn bar(visitor: &Visitor, tenant: Option<&Tenant>) -> Markup {
    html! { header.bar {
        (page_brand().home_link())
        @if let Some(tenant) = tenant {
            p.whose { span.whose-name { (tenant.draft.name) } " " span.tag { (tenant.draft.profile) } }
            (search_box(&tenant.id.to_string(), searched(visitor)))
        }
        form.sign-out method="post" action="/dashboard/sign-out" {
            (visitor.tokens)
            button.quiet type="submit" { (t!("Sign out")) }
        }
    } }
}

/// The text in the search box: the searched text on the page with the results, empty on other pages.
fn searched(visitor: &Visitor) -> &str {
    if visitor.path.ends_with("/find") { visitor.query.get("q") } else { "" }
}

/// The dialog that explains the keyboard shortcuts. `keys.js` opens it. Its checkbox turns the shortcuts on and off.
fn keys() -> Markup {
    let keys = [
        ("/", t!("search")),
        ("j, k", t!("next and previous row of a list")),
        ("Enter", t!("open the row")),
        ("?", t!("show or hide this list")),
    ];
    html! { dialog #key-help aria-labelledby="keys-title" {
        h2 #keys-title { (t!("Keys")) }
        dl.facts { @for (key, what) in keys { dt { kbd { (key) } } dd { (what) } } }
        label.check { input #keys-on type="checkbox" checked; " " (t!("Keys of one letter work on these pages")) }
        form method="dialog" { button type="submit" { (t!("Close")) } }
    } }
}

fn navigation(visitor: &Visitor, tenant: Option<&Tenant>) -> Markup {
    let link = |owner: &str, section: &str, name: Markup| {
        let href = format!("/dashboard/{owner}/{section}");
        // `/matching-deliveries/retry` belongs to the deliveries.
        let matching = format!("/dashboard/{owner}/matching-{section}");
        let current = [&href, &matching].into_iter().any(|start| visitor.path.starts_with(start));
        html! { li { a href=(href) aria-current=[current.then_some("page")] { (name) } } }
    };
    html! {
        nav.side aria-label=(t!("Main")) {
            @if let Some(tenant) = tenant {
                @let tenant = tenant.id.to_string();
                ul { @for (name, section) in OF_TENANT { (link(&tenant, section, html! { (text(name)) })) } }
                (outside_links())
            }
            @if visitor.caller.is_operator() {
                p.side-title #operator-nav { (t!("Operator")) }
                // The operator's pages are in English.
                ul aria-labelledby="operator-nav" {
                    @for (name, section) in OF_OPERATOR { (link("operator", section, english(name))) }
                }
            }
            button.quiet.keys-button #keys-button type="button" hidden { (t!("Keys")) " " kbd { "?" } }
        }
    }
}

/// The links to the product's own pages. From a frame they open in a new tab, because other sites usually refuse to be shown in a
/// frame.
fn outside_links() -> Markup {
    let brand = page_brand();
    html! { @if !brand.links.is_empty() {
        ul.outside { @for (label, href) in &brand.links {
            li { a href=(href) target=[in_frame().then_some("_blank")] rel="noopener" { (text(label)) } }
        } }
    } }
}
