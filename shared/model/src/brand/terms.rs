//! The words of a brand: what a product calls its webhooks and endpoints.

use serde::{Deserialize, Serialize};

use crate::limits::BRAND_TERM_BYTES_MAX;
use crate::name::check_name;

/// What a product calls the things on its pages, as the words stand inside a sentence, such as `postback` and `postbacks`. Each
/// word is set together with its plural.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// One webhook, 1 to 40 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "postback"))]
    pub webhook: Option<String>,
    /// Several webhooks, 1 to 40 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "postbacks"))]
    pub webhooks: Option<String>,
    /// The customer's server that a webhook sends to, 1 to 40 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "endpoint"))]
    pub endpoint: Option<String>,
    /// Several of these servers, 1 to 40 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "endpoints"))]
    pub endpoints: Option<String>,
}

impl Terms {
    /// No word is set.
    pub const NONE: Self = Self { webhook: None, webhooks: None, endpoint: None, endpoints: None };
    /// The names of the words, in the order of the struct.
    pub const NAMES: [&'static str; 4] = ["webhook", "webhooks", "endpoint", "endpoints"];

    /// Whether no word is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// The word with this name; `None` if it is not set, or if no word has this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        match name {
            "webhook" => self.webhook.as_deref(),
            "webhooks" => self.webhooks.as_deref(),
            "endpoint" => self.endpoint.as_deref(),
            "endpoints" => self.endpoints.as_deref(),
            _ => None,
        }
    }

    /// Returns these words, with the words of `below` where these are not set.
    #[must_use]
    pub fn over(self, below: &Self) -> Self {
        Self {
            webhook: self.webhook.or_else(|| below.webhook.clone()),
            webhooks: self.webhooks.or_else(|| below.webhooks.clone()),
            endpoint: self.endpoint.or_else(|| below.endpoint.clone()),
            endpoints: self.endpoints.or_else(|| below.endpoints.clone()),
        }
    }

    /// Returns the wrong words in the order of the struct: the name of each, and what is allowed.
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let wrong = |name: &'static str| {
            let other = name.strip_suffix('s').map_or_else(|| format!("{name}s"), str::to_owned);
            match (self.get(name), self.get(&other)) {
                (Some(word), _) => check_term(word).err().map(|detail| (name, detail)),
                (None, Some(_)) => Some((name, format!("must be set together with {other}"))),
                (None, None) => None,
            }
        };
        Self::NAMES.into_iter().filter_map(wrong).collect()
    }
}

fn check_term(word: &str) -> Result<(), String> {
    if word.len() > BRAND_TERM_BYTES_MAX {
        return Err(format!("1 to {BRAND_TERM_BYTES_MAX} bytes"));
    }
    check_name(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(singular: &str, plural: Option<&str>) -> Terms {
        Terms { webhook: Some(singular.to_owned()), webhooks: plural.map(str::to_owned), ..Terms::NONE }
    }

    #[test]
    fn a_word_is_short_and_has_a_plural() {
        assert!(words("postback", Some("postbacks")).mistakes().is_empty() && Terms::NONE.mistakes().is_empty());
        let alone = words("postback", None).mistakes();
        assert_eq!(alone, [("webhooks", "must be set together with webhook".to_owned())]);
        for wrong in ["", " ", "a\nb", "\u{202e}", &"x".repeat(BRAND_TERM_BYTES_MAX + 1)] {
            assert_eq!(words(wrong, Some("postbacks")).mistakes().len(), 1, "{wrong:?}");
        }
    }

    #[test]
    fn every_word_has_its_name() {
        let text = |word: &str| Some(word.to_owned());
        let all = Terms { webhook: text("a"), webhooks: text("b"), endpoint: text("c"), endpoints: text("d") };
        assert_eq!(Terms::NAMES.map(|name| all.get(name)), ["a", "b", "c", "d"].map(Some));
        assert_eq!(all.get("Webhook"), None);
        assert_eq!(words("x", Some("y")).over(&all).get("webhook"), Some("x"));
        assert_eq!(words("x", Some("y")).over(&all).get("endpoint"), Some("c"));
    }
}
