//! Checks that a form comes from a page of this server.
//!
//! Each form of a session contains a token that is derived from the session's token, so the form's token need not be stored. A
//! form without a session (sign-in) is checked by the headers that browsers send.

use axum::http::HeaderMap;
use maud::{Markup, Render, html};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The form field with the token of the session's forms.
pub(crate) const CSRF_FIELD: &str = "csrf";
/// The form field with the one-time token of the page.
pub(crate) const ONCE_FIELD: &str = "once";

/// The tokens of a page's forms. They render as hidden fields.
#[derive(Clone)]
pub(crate) struct FormTokens {
    /// Proves that the form is from a page of this session.
    pub(crate) csrf: String,
    /// Differs for each page view, so that a form that is sent twice is recognised.
    pub(crate) once: String,
}

impl Render for FormTokens {
    fn render(&self) -> Markup {
        html! {
            input type="hidden" name=(CSRF_FIELD) value=(self.csrf);
            input type="hidden" name=(ONCE_FIELD) value=(self.once);
        }
    }
}

/// The token of a session's forms. It cannot be computed without the session's token and does not reveal it.
pub(crate) fn token(session: &str) -> String {
    hex::encode(Sha256::new().chain_update(b"postrider form ").chain_update(session).finalize())
}

/// Whether `sent` is the token of the session's forms.
pub(crate) fn is_valid(session: &str, sent: &str) -> bool {
    token(session).as_bytes().ct_eq(sent.as_bytes()).into()
}

/// Whether a request comes from a page of this server, according to the headers that the browser sends.
pub(crate) fn is_same_origin(headers: &HeaderMap) -> bool {
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
    fn a_request_from_another_site_is_recognised_by_its_headers() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs.iter().map(|(n, v)| (axum::http::HeaderName::from_static(n), v.parse().unwrap())).collect()
        };
        assert!(is_same_origin(&headers(&[("sec-fetch-site", "same-origin")])));
        assert!(!is_same_origin(&headers(&[("sec-fetch-site", "cross-site"), ("origin", "http://a"), ("host", "a")])));
        assert!(!is_same_origin(&headers(&[("sec-fetch-site", "same-site")])));
        assert!(is_same_origin(&headers(&[("origin", "https://hooks.example:8443"), ("host", "hooks.example:8443")])));
        assert!(!is_same_origin(&headers(&[("origin", "null"), ("host", "a")])));
        assert!(!is_same_origin(&headers(&[("origin", "https://evil.example"), ("host", "hooks.example")])));
        assert!(is_same_origin(&headers(&[("host", "a")])));
    }
}
