//! HTTP headers of attempts, as JSON text in messages and in the history.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

/// Headers in order, as JSON text: `[["name", "value"], ...]`. Copying one text is cheaper than copying forty strings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HeaderList(Box<RawValue>);

impl HeaderList {
    /// A list of these headers.
    pub fn of<'a>(pairs: impl IntoIterator<Item = (&'a str, Cow<'a, str>)>) -> Self {
        let pairs: Vec<_> = pairs.into_iter().collect();
        // Serializing pairs of strings never fails.
        Self(to_raw_value(&pairs).unwrap_or_default())
    }

    /// The JSON text. It contains no raw control characters: NUL is written as `\u0000`.
    pub fn as_json(&self) -> &str {
        self.0.get()
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        matches!(self.as_json(), "[]" | "null")
    }

    /// The names and values, in order.
    pub fn pairs(&self) -> Vec<(String, String)> {
        serde_json::from_str(self.as_json()).unwrap_or_default()
    }
}

impl Default for HeaderList {
    fn default() -> Self {
        Self::of([])
    }
}

impl PartialEq for HeaderList {
    fn eq(&self, other: &Self) -> bool {
        self.as_json() == other.as_json()
    }
}

impl From<&[(String, String)]> for HeaderList {
    fn from(pairs: &[(String, String)]) -> Self {
        Self::of(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str().into())))
    }
}

impl<const N: usize> From<[(&str, &str); N]> for HeaderList {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self::of(pairs.map(|(name, value)| (name, value.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_the_wire() {
        let headers = HeaderList::from([("a", "nul \0"), ("b", "\"é\u{7f}")]);
        let text = serde_json::to_string(&headers).unwrap();
        assert!(text.starts_with(r#"[["a","nul \u0000"],["#), "{text}");
        let back: HeaderList = serde_json::from_str(&text).unwrap();
        assert_eq!(back, headers);
        assert_eq!(back.pairs()[1], ("b".into(), "\"é\u{7f}".into()));
        assert!(!back.is_empty() && HeaderList::default().is_empty());
    }
}
