//! The texts of the scripts. A page in another language has their translations in the attribute `data-texts` of its `html`
//! element; `text.js` reads it.

use std::collections::BTreeMap;

use super::{filled, key};
use crate::document::page_brand;

/// The texts of the scripts. `{shown}` and the like are filled by the scripts.
const TEXTS: [&str; 18] = [
    key!("Copied"),
    key!("Copy"),
    key!("The server does not answer. Retrying."),
    key!("Too many requests. Retrying."),
    key!("Refreshing waits while you use this part of the page."),
    key!("Resume refreshing"),
    key!("Pause refreshing"),
    key!("Your session has ended. Reload the page to continue."),
    key!("Your session has ended. {link} to continue."),
    key!("Sign in again"),
    key!("This page is no longer available. Reload it."),
    key!("Updated."),
    key!("{shown} of {total} match"),
    key!("{number} selected"),
    key!("You are offline, so nothing was sent. Your input is kept: send it again when you are online."),
    key!("The sample has changed."),
    key!("in < 1 min"),
    key!("just now"),
];

/// The texts of the scripts as a JSON object, by their English texts; `None` for a page whose texts are those of the source.
pub(crate) fn script_texts() -> Option<String> {
    if page_brand().words.is_default() {
        return None;
    }
    let texts: BTreeMap<&str, _> = TEXTS.into_iter().map(|english| (english, filled(english, &[]))).collect();
    serde_json::to_string(&texts).ok()
}
