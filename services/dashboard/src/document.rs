//! The HTML document, and pages without a signed-in visitor.
//!
//! A page in a frame of another site has no logo, no sign-in and no sign-out. Its request says where it is shown; every layer that
//! starts a task for a request passes that on with [`shown_in`].

use maud::{DOCTYPE, Markup, html};
use postrider_operations::portal::Place;

use crate::assets::{ICON, SCRIPTS, STYLE};

tokio::task_local! {
    static PLACE: Place;
}

/// Runs `work`, whose pages are shown at `place`.
pub(crate) async fn shown_in<T>(place: Place, work: impl Future<Output = T>) -> T {
    PLACE.scope(place, work).await
}

/// Whether the page is shown in a frame of another site.
pub(crate) fn in_frame() -> bool {
    PLACE.try_with(|place| *place == Place::Frame).unwrap_or(false)
}

/// A document with this body.
pub(crate) fn document(title: &str, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) @if !in_frame() { " · Postrider" } }
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
            @if !in_frame() { header.bar { (brand()) } }
            main #main.card { (content) }
        }
    };
    document(title, body)
}
