//! Payloads, pretty or raw, with a link that copies the whole payload or opens it as plain text.

use maud::{Markup, html};

use super::json::folded;
use crate::components::listing;
use crate::format::{bytes, pretty_json};
use crate::language::t;
use crate::session::Visitor;

/// Maximum number of bytes of a payload that a page shows. The link to the whole payload has no such limit.
const SHOWN_BYTES_MAX: usize = 64 * 1_024;
/// The query parameter that selects the raw view.
const VIEW: &str = "view";

/// A payload on a page.
pub(crate) struct Payload<'a> {
    /// The id of the HTML element.
    pub(crate) id: &'a str,
    /// What the payload is, such as "Request body".
    pub(crate) label: &'a str,
    pub(crate) text: &'a str,
    /// The address of the whole payload as plain text.
    pub(crate) whole: &'a str,
}

impl Payload<'_> {
    /// The payload with its links. `?view=raw` shows the text unchanged.
    pub(crate) fn show(&self, visitor: &Visitor) -> Markup {
        let raw = visitor.query.get(VIEW) == "raw";
        let to = |view| format!("?{}#{}", visitor.query.query_with(VIEW, view), self.id);
        html! { div.payload id=(self.id) {
            div.payload-bar {
                nav.views aria-label=(t!("View of {label}", label = self.label)) {
                    a href=(to(None)) aria-current=[(!raw).then_some("true")] { (t!("Pretty")) }
                    a href=(to(Some("raw"))) aria-current=[raw.then_some("true")] { (t!("Raw")) }
                }
                span.faint { (bytes(self.text.len())) }
                a.button.quiet href=(self.whole) data-copy-url { (t!("Open as text")) span.unseen { " " (self.label) } }
            }
            @if self.text.len() > SHOWN_BYTES_MAX {
                (listing(self.label, start(self.text)))
                p.faint {
                    (t!("The first {bytes}.", bytes = bytes(SHOWN_BYTES_MAX))) " "
                    a href=(self.whole) { (t!("Open the whole {bytes}", bytes = bytes(self.text.len()))) }
                }
            } @else if raw { (listing(self.label, self.text)) }
            @else if let Some(tree) = tree(self.label, self.text) { (tree) }
            @else { (listing(self.label, &pretty_json(self.text))) }
        } }
    }
}

/// JSON as a folded tree; `None` for other text.
fn tree(label: &str, text: &str) -> Option<Markup> {
    let tree = folded(text)?;
    Some(html! { div.listing tabindex="0" role="region" aria-label=(label) { (tree) } })
}

/// JSON as a folded tree, other text unchanged.
pub(crate) fn json_or_text(label: &str, text: &str) -> Markup {
    tree(label, text).unwrap_or_else(|| listing(label, text))
}

/// The first [`SHOWN_BYTES_MAX`] bytes or slightly less, because the cut is between two characters.
fn start(text: &str) -> &str {
    let end = (0..=SHOWN_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    &text[..end]
}
