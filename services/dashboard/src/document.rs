//! The HTML document, and pages without a signed-in visitor.
//!
//! A page in a frame of another site has no logo, no sign-in and no sign-out. [`shown_in`] stores in the task of a request where
//! its page is shown, and the brand of the page. If a request continues in another task, [`shown_in`] must be called again there.
//! The brand is that of the deployment until the visitor is known; then [`set_brand`] replaces it, so that an error page has the
//! same brand as the page that failed.

use std::cell::RefCell;
use std::sync::Arc;

use maud::{DOCTYPE, Markup, html};
use postrider_operations::portal::Place;

use crate::assets::{SCRIPTS, STYLE};
use crate::brand::PageBrand;
use crate::language::{Text, script_texts, t};

/// Where the page of a request is shown, and with which brand.
struct Shown {
    place: Place,
    brand: RefCell<Arc<PageBrand>>,
}

tokio::task_local! {
    static SHOWN: Shown;
}

/// Runs `work`. Its pages are shown at `place` and have this brand until `work` calls [`set_brand`].
pub(crate) async fn shown_in<T>(place: Place, brand: Arc<PageBrand>, work: impl Future<Output = T>) -> T {
    SHOWN.scope(Shown { place, brand: RefCell::new(brand) }, work).await
}

/// Whether the page is shown in a frame of another site.
pub(crate) fn in_frame() -> bool {
    SHOWN.try_with(|shown| shown.place == Place::Frame).unwrap_or(false)
}

/// Replaces the brand of this request's page.
pub(crate) fn set_brand(brand: Arc<PageBrand>) {
    // Fails outside of `shown_in`, where no page is shown.
    let _ = SHOWN.try_with(|shown| shown.brand.replace(brand));
}

/// The brand of the page.
pub(crate) fn page_brand() -> Arc<PageBrand> {
    SHOWN.try_with(|shown| Arc::clone(&shown.brand.borrow())).unwrap_or_else(|_| PageBrand::postrider())
}

/// The sender of the deliveries, as the subject at the start of a sentence: the name of the page's brand.
pub(crate) fn sender() -> Text {
    page_brand().name.clone().map_or_else(|| t!("The service"), Text::from)
}

/// The HTML document with this title and this `body` element.
pub(crate) fn document(title: &str, body: Markup) -> Markup {
    let brand = page_brand();
    let name = brand.name.as_ref().filter(|_| !in_frame());
    html! {
        (DOCTYPE)
        html lang=(brand.words.tag()) data-texts=[script_texts()] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) @if let Some(name) = name { " · " (name) } }
                link rel="icon" href=(brand.icon());
                link rel="stylesheet" href=(STYLE.href());
                @if let Some(accent) = &brand.accent { link rel="stylesheet" href=(accent); }
                @for script in SCRIPTS.iter() { script type="module" src=(script.href()) {} }
            }
            (body)
        }
    }
}

/// A page without navigation: sign-in, or an error.
pub(crate) fn bare(title: &str, content: Markup) -> Markup {
    let brand = page_brand();
    let body = html! {
        body.bare {
            @if !in_frame() && brand.name.is_some() { header.bar { (brand.home_link()) } }
            main #main.card { (content) }
        }
    };
    document(title, body)
}
