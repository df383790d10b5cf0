//! The headers of a request, in order of insertion and with the spelling of their names.
//!
//! Header names are case-insensitive (RFC 9110 section 5.1), but some receivers look up the documented spelling in a
//! case-sensitive map. Therefore the client sends a name in the spelling of the configuration.

use std::borrow::Cow;

use http::HeaderValue;

/// Headers with the spelling of their names. Names that differ only in case name the same header. Names are borrowed if
/// possible.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Headers<'a>(Vec<(Cow<'a, str>, HeaderValue)>);

/// An error: the text is not a header name (RFC 9110 section 5.6.2: a token).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a header name")]
pub struct InvalidHeaderName;

impl<'a> Headers<'a> {
    /// Creates an empty list with room for `capacity` headers.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// Sets a header. A header with the same name is replaced, including its spelling.
    ///
    /// # Errors
    /// `name` is not a token.
    pub fn insert(
        &mut self,
        name: impl Into<Cow<'a, str>>,
        value: impl Into<HeaderValue>,
    ) -> Result<(), InvalidHeaderName> {
        let name = name.into();
        if !is_token(&name) {
            return Err(InvalidHeaderName);
        }
        let value = value.into();
        match self.0.iter_mut().find(|(present, _)| present.eq_ignore_ascii_case(&name)) {
            Some(present) => *present = (name, value),
            None => self.0.push((name, value)),
        }
        Ok(())
    }

    /// Returns the value of a header. The case of letters in `name` does not matter.
    pub fn get(&self, name: &str) -> Option<&HeaderValue> {
        self.0.iter().find(|(present, _)| present.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Returns the names in their spelling, and the values, in order of insertion.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }
}

/// Whether a text is a token (RFC 9110 section 5.6.2).
fn is_token(text: &str) -> bool {
    let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_spelling_and_is_one_header_in_any_case() {
        let mut headers = Headers::default();
        headers.insert("X-Api-KEY", HeaderValue::from_static("1")).unwrap();
        headers.insert("webhook-id", HeaderValue::from_static("2")).unwrap();
        headers.insert("x-api-key".to_owned(), HeaderValue::from_static("3")).unwrap();
        let names: Vec<_> = headers.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["x-api-key", "webhook-id"]);
        assert_eq!(headers.get("X-API-Key").unwrap(), "3");
        for bad in ["", "a b", "a:b", "a\r\nb", "ü"] {
            assert_eq!(headers.insert(bad, HeaderValue::from_static("v")), Err(InvalidHeaderName), "{bad:?}");
        }
    }
}
