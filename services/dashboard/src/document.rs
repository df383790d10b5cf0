//! The HTML document, and pages without a signed-in visitor.
//!
//! A page in a frame of another site has no logo, no sign-in and no sign-out. Its request says where it is shown; every layer that
//! starts a task for a request passes that on with [`shown_in`]. The page begins with the brand of the deployment; once the visitor
//! is known, [`set_brand`] replaces it, so that an error page has the same brand as the page that failed.

use std::cell::RefCell;
use std::sync::Arc;

use maud::{DOCTYPE, Markup, html};
use postrider_operations::portal::Place;

use crate::assets::{SCRIPTS, STYLE};
use crate::brand::PageBrand;

/// How the page of a request is shown.
struct Shown {
    place: Place,
    brand: RefCell<Arc<PageBrand>>,
}

tokio::task_local! {
    static SHOWN: Shown;
}

/// Runs `work`, whose pages are shown at `place` and have this brand until [`set_brand`].
pub(crate) async fn shown_in<T>(place: Place, brand: Arc<PageBrand>, work: impl Future<Output = T>) -> T {
    SHOWN.scope(Shown { place, brand: RefCell::new(brand) }, work).await
}

/// Whether the page is shown in a frame of another site.
pub(crate) fn in_frame() -> bool {
    SHOWN.try_with(|shown| shown.place == Place::Frame).unwrap_or(false)
}

/// Gives the page of this request another brand.
pub(crate) fn set_brand(brand: Arc<PageBrand>) {
    // Outside of `shown_in` no page is shown.
    let _ = SHOWN.try_with(|shown| shown.brand.replace(brand));
}

/// The brand of the page.
pub(crate) fn page_brand() -> Arc<PageBrand> {
    SHOWN.try_with(|shown| Arc::clone(&shown.brand.borrow())).unwrap_or_else(|_| PageBrand::postrider())
}

/// Who sends the deliveries, as the page names them. Begins a sentence.
pub(crate) fn sender() -> String {
    page_brand().name.clone().unwrap_or_else(|| "The service".to_owned())
}

/// A document with this body.
pub(crate) fn document(title: &str, body: Markup) -> Markup {
    let brand = page_brand();
    let name = brand.name.as_ref().filter(|_| !in_frame());
    html! {
        (DOCTYPE)
        html lang="en" {
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
