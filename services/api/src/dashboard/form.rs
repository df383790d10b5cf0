//! The fields that a form sent, and whether it came from a page of this server.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, Uri};
use bytes::Bytes;
use postrider_http::problem::Problem;
use url::form_urlencoded;

use super::Dashboard;
use super::failure::Failure;
use super::once::RESULT;
use crate::request::Params;

/// The hidden field that every form carries.
pub(super) const CSRF_FIELD: &str = "csrf";

/// Fields by name, in the order they came; of a form, or of an address.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(super) fn read(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// Those of an address.
    pub(super) fn of(uri: &Uri) -> Self {
        Self::read(uri.query().unwrap_or_default().as_bytes())
    }

    /// The first of this name, without spaces around it; empty when there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value.trim())
    }

    /// The first of this name, unless it is empty.
    pub(super) fn given(&self, name: &str) -> Option<String> {
        Some(self.get(name)).filter(|value| !value.is_empty()).map(str::to_owned)
    }

    /// All of this name that are not empty.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(n, value)| n == name && !value.is_empty()).map(|(_, value)| value.clone()).collect()
    }

    /// Whether a box of this name was ticked.
    pub(super) fn ticked(&self, name: &str) -> bool {
        !self.get(name).is_empty()
    }

    /// Those of these names as parameters of the API.
    pub(super) fn params(&self, names: &[&str]) -> Params {
        let wanted = |(name, _): &&(String, String)| names.contains(&name.as_str());
        Params::of(self.0.iter().filter(wanted).map(|(name, value)| (name.clone(), value.trim().to_owned())))
    }

    /// All fields but these, URL-encoded.
    pub(super) fn without(&self, names: &[&str]) -> String {
        let rest = self.0.iter().filter(|(name, value)| !names.contains(&name.as_str()) && !value.is_empty());
        form_urlencoded::Serializer::new(String::new()).extend_pairs(rest).finish()
    }

    /// These fields with one set to something else (`None`: without it).
    pub(super) fn with(&self, name: &str, value: Option<&str>) -> Self {
        Self::read(self.query_with(name, value).as_bytes())
    }

    /// The query string with one field set to something else (`None`: without it).
    pub(super) fn query_with(&self, name: &str, value: Option<&str>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.0.iter().filter(|(n, v)| n != name && n != "notice" && n != RESULT && !v.is_empty()));
        if let Some(value) = value {
            query.append_pair(name, value);
        }
        query.finish()
    }
}

/// The fields of a form. [`once`](super::once) has checked that it is from a page of the visitor's session.
pub(super) struct Form(pub(super) Fields);

impl FromRequest<Arc<Dashboard>> for Form {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &Arc<Dashboard>) -> Result<Self, Failure> {
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|_| Problem::payload_too_large("a form has at most 256 KiB"))?;
        Ok(Self(Fields::read(&body)))
    }
}

/// Whether a request comes from a page of this very server, as far as the browser says: for forms of visitors who have no
/// session yet.
pub(super) fn is_own(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match (text("sec-fetch-site"), text("origin"), text("host")) {
        (Some(site), _, _) => site == "same-origin" || site == "none",
        (None, Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, rest)| rest == host),
        (None, None, _) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_page_is_told_by_what_the_browser_says() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs.iter().map(|(n, v)| (axum::http::HeaderName::from_static(n), v.parse().unwrap())).collect()
        };
        assert!(is_own(&headers(&[("sec-fetch-site", "same-origin")])));
        assert!(!is_own(&headers(&[("sec-fetch-site", "cross-site"), ("origin", "http://a"), ("host", "a")])));
        assert!(!is_own(&headers(&[("sec-fetch-site", "same-site")])));
        assert!(is_own(&headers(&[("origin", "https://hooks.example:8443"), ("host", "hooks.example:8443")])));
        assert!(!is_own(&headers(&[("origin", "null"), ("host", "a")])));
        assert!(!is_own(&headers(&[("origin", "https://evil.example"), ("host", "hooks.example")])));
        assert!(is_own(&headers(&[("host", "a")])));
    }

    #[test]
    fn fields_become_addresses_without_the_empty_ones() {
        let fields = Fields::read(b"status=failed&type=&cursor=abc&notice=deleted");
        assert_eq!(fields.query_with("cursor", None), "status=failed");
        assert_eq!(fields.query_with("cursor", Some("d&e")), "status=failed&cursor=d%26e");
    }
}
