//! The HTML document, and pages without a signed-in visitor.

use maud::{DOCTYPE, Markup, html};

use crate::assets::{ICON, SCRIPTS, STYLE};

/// A document with this body.
pub(crate) fn document(title: &str, body: Markup) -> Markup {
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

/// The logo, which links to the start page.
pub(crate) fn brand() -> Markup {
    html! {
        a.brand href="/dashboard" {
            svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" focusable="false" {
                path class="brand-mark" d="M3 6.5 12 13l9-6.5M3 6v12h18V6zM1 12h3M1 15h2" {}
            }
            span.brand-name { "Postrider" }
        }
    }
}

/// A page without navigation: sign-in, or an error.
pub(crate) fn bare(title: &str, content: Markup) -> Markup {
    let body = html! {
        body.bare {
            header.bar { (brand()) }
            main #main.card { (content) }
        }
    };
    document(title, body)
}
