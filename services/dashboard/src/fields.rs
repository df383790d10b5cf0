//! The fields of a form or of an address's query.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use axum::http::Uri;
use bytes::Bytes;
use postrider_http::problem::Problem;
use postrider_model::time::UnixMillis;
use postrider_operations::page::PageQuery;
use postrider_operations::{Error, FieldError};
use url::form_urlencoded;

use crate::Dashboard;
use crate::failure::{Answer, Failure};
use crate::format::utc;

/// Maximum number of bytes of a form.
pub(crate) const FORM_BYTES_MAX: usize = 256 * 1_024;
/// The query parameter that names the notice of a page.
pub(crate) const NOTICE: &str = "notice";
/// The query parameter that names the kept result of a form.
pub(crate) const RESULT: &str = "result";

/// Names and values of fields, in the order in which they were sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads URL-encoded fields.
    pub(crate) fn read(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// The query of an address.
    pub(crate) fn of(uri: &Uri) -> Self {
        Self::read(uri.query().unwrap_or_default().as_bytes())
    }

    /// The first value with this name, trimmed; empty if there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value.trim())
    }

    /// The first value with this name, trimmed; `None` if it is absent or empty.
    pub(crate) fn optional(&self, name: &str) -> Option<String> {
        Some(self.get(name)).filter(|value| !value.is_empty()).map(str::to_owned)
    }

    /// The value of a text field, trimmed, with `\n` as the line ending.
    pub(crate) fn lines(&self, name: &str) -> String {
        self.get(name).replace("\r\n", "\n")
    }

    /// All non-empty values with this name.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(n, value)| n == name && !value.is_empty()).map(|(_, value)| value.clone()).collect()
    }

    /// The names and values of all fields, in the order in which they were sent.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether the checkbox with this name is checked.
    pub(crate) fn is_checked(&self, name: &str) -> bool {
        !self.get(name).is_empty()
    }

    /// Adds a field, unless its value is empty.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        let value = value.to_string();
        if !value.is_empty() {
            self.0.push((name.to_owned(), value));
        }
        self
    }

    /// Adds a field, unless its value is `None` or empty.
    #[must_use]
    pub(crate) fn with_some(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds several fields with the same name.
    #[must_use]
    pub(crate) fn with_all(self, name: &str, values: impl IntoIterator<Item = impl ToString>) -> Self {
        values.into_iter().fold(self, |fields, value| fields.with(name, value))
    }

    /// The non-empty fields whose names begin with `prefix`. The map's keys are the names without the prefix, such as `bridge`
    /// for the field `attributes.bridge`.
    pub(crate) fn by_suffix(&self, prefix: &str) -> BTreeMap<String, String> {
        let named = self.0.iter().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, value.trim())));
        named.filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// The page of a list that the field `cursor` selects.
    pub(crate) fn page_query(&self) -> PageQuery {
        PageQuery { cursor: self.optional("cursor"), ..PageQuery::default() }
    }

    /// All non-empty fields except `names`, URL-encoded.
    pub(crate) fn without(&self, names: &[&str]) -> String {
        let rest = self.0.iter().filter(|(name, value)| !names.contains(&name.as_str()) && !value.is_empty());
        form_urlencoded::Serializer::new(String::new()).extend_pairs(rest).finish()
    }

    /// The query with another value of the field `name`, for an address. `None` removes the field.
    pub(crate) fn query_with(&self, name: &str, value: Option<&str>) -> String {
        let mut query = self.without(&[name, NOTICE, RESULT]);
        if let Some(value) = value {
            let separator = if query.is_empty() { "" } else { "&" };
            let pair = form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
            query.extend([separator, &pair]);
        }
        query
    }
}

/// The fields of a form that was sent. [`submit_once`](super::submit_once) checks that the form comes from a page of the
/// visitor's session.
pub(crate) struct Sent(pub(crate) Fields);

impl FromRequest<Arc<Dashboard>> for Sent {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &Arc<Dashboard>) -> Answer<Self> {
        let body = Bytes::from_request(request, state).await.map_err(|_| too_large())?;
        Ok(Self(Fields::read(&body)))
    }
}

/// Parses the values of fields and collects the errors of all of them. A pointer such as `/limits/endpoints` names the field
/// `endpoints`.
pub(crate) struct FieldReader<'a> {
    fields: &'a Fields,
    errors: Vec<FieldError>,
}

impl<'a> FieldReader<'a> {
    pub(crate) fn new(fields: &'a Fields) -> Self {
        Self { fields, errors: Vec::new() }
    }

    /// Returns the parsed value. After an error, stores the error and returns the default.
    pub(crate) fn take<T: Default>(&mut self, parsed: Result<T, FieldError>) -> T {
        parsed.unwrap_or_else(|error| {
            self.errors.push(error);
            T::default()
        })
    }

    /// Parses the field with the `FromStr` of the type; `None` for an empty field.
    pub(crate) fn parse<T: FromStr<Err: Display>>(&mut self, pointer: &str) -> Option<T> {
        self.parse_text(pointer, self.text(pointer))
    }

    /// Like [`parse`](Self::parse), for text that is derived from a field.
    pub(crate) fn parse_text<T: FromStr<Err: Display>>(&mut self, pointer: &str, text: &str) -> Option<T> {
        if text.is_empty() {
            return None;
        }
        self.take(text.parse().map(Some).map_err(|error: T::Err| FieldError::new(pointer, error.to_string())))
    }

    /// A number; `None` for an empty field.
    pub(crate) fn number<T: FromStr>(&mut self, pointer: &str) -> Option<T> {
        self.number_text(pointer, self.text(pointer))
    }

    /// Like [`number`](Self::number), for the text of a field whose name differs from the pointer.
    pub(crate) fn number_text<T: FromStr>(&mut self, pointer: &str, text: &str) -> Option<T> {
        if text.is_empty() {
            return None;
        }
        // Refuses `inf` and `NaN`, which `f64` parses.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit() || b".-".contains(&byte));
        let number = text.parse().ok().filter(|_| digits);
        self.take(number.map(Some).ok_or_else(|| FieldError::new(pointer, format!("expected a number, got “{text}”"))))
    }

    /// Parses a time: the value of a `datetime-local` field, which is in UTC, or an RFC 3339 time.
    pub(crate) fn time(&mut self, pointer: &str) -> Option<UnixMillis> {
        self.parse_text(pointer, &utc(self.text(pointer)))
    }

    fn text(&self, pointer: &str) -> &'a str {
        self.fields.get(pointer.rsplit('/').next().unwrap_or_default())
    }

    /// Returns `value`, or all errors if there are any.
    pub(crate) fn finish<T>(self, value: T) -> Result<T, Error> {
        if self.errors.is_empty() { Ok(value) } else { Err(Error::Invalid(self.errors)) }
    }
}

/// The refusal of a form with more than [`FORM_BYTES_MAX`] bytes.
pub(crate) fn too_large() -> Failure {
    Problem::payload_too_large(format!("a form has at most {} KiB", FORM_BYTES_MAX / 1_024)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_become_addresses_without_the_empty_ones() {
        let fields = Fields::read(b"status=failed&type=&cursor=abc&notice=deleted");
        assert_eq!(fields.query_with("cursor", None), "status=failed");
        assert_eq!(fields.query_with("cursor", Some("d&e")), "status=failed&cursor=d%26e");
    }
}
