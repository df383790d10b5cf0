//! An endpoint's own headers, and the header that carries its token.

use postrider_model::json::pointer_token;
use postrider_model::limits::{ENDPOINT_HEADER_VALUE_BYTES_MAX, ENDPOINT_HEADERS_MAX};
use postrider_profiles::{is_header_name, is_header_value, is_reserved_header};
use postrider_store::config::EndpointDraft;
use secrecy::{ExposeSecret, SecretString};

use super::Rules;
use crate::endpoints::request::{EditEndpoint, MASK};
use crate::error::Mistakes;

impl Rules<'_> {
    pub(super) fn headers(&self, headers: &[(String, SecretString)], mistakes: &mut Mistakes) {
        if headers.len() > ENDPOINT_HEADERS_MAX {
            mistakes.add("/headers", format!("at most {ENDPOINT_HEADERS_MAX} headers, got {}", headers.len()));
        }
        for (index, (name, value)) in headers.iter().enumerate() {
            let pointer = || format!("/headers/{}", pointer_token(name));
            let value = value.expose_secret();
            if !is_header_name(name) {
                mistakes.add(pointer(), "not a header name");
            } else if is_reserved_header(name) || self.is_profiles_own(name) {
                mistakes.add(pointer(), "a header that every delivery has of its own");
            } else if headers[..index].iter().any(|(before, _)| before.eq_ignore_ascii_case(name)) {
                mistakes.add(pointer(), "given twice (case does not count)");
            }
            if value == MASK {
                mistakes.add(
                    pointer(),
                    "******** only stands for a stored value, and this header has none; give the value itself",
                );
            } else if !is_header_value(value) || value.len() > ENDPOINT_HEADER_VALUE_BYTES_MAX {
                mistakes.add(
                    pointer(),
                    format!("a value has at most {ENDPOINT_HEADER_VALUE_BYTES_MAX} bytes of visible ASCII"),
                );
            }
        }
    }

    fn is_profiles_own(&self, name: &str) -> bool {
        let signature = self.profile.signature.as_ref().map(|scheme| scheme.header.as_str());
        let mut own = self.profile.headers.iter().map(|header| header.name.as_str()).chain(signature);
        own.any(|header| header.eq_ignore_ascii_case(name))
    }

    pub(super) fn token_header(&self, name: &str, own: &[(String, SecretString)], mistakes: &mut Mistakes) {
        if !self.profile.sends_token() {
            mistakes.add("/token_header", "the tenant's profile sends a signature and no token; leave it out");
        } else if own.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            mistakes.add("/token_header", "one of the endpoint's own headers");
        } else if !is_header_name(name) || is_reserved_header(name) {
            mistakes.add("/token_header", "not a header name, or a header that every delivery has of its own");
        }
    }
}

/// Refuses an edit that keeps header values but changes the scheme, host or port of the URL, because the values were given for
/// the old URL.
pub(in crate::endpoints) fn refuse_kept_headers(
    request: &EditEndpoint,
    old_url: Option<&str>,
    draft: &EndpointDraft,
    mistakes: &mut Mistakes,
) {
    let server = |url: &str| url::Url::parse(url).ok().map(|url| url.origin());
    let (Some(old), Some(new)) = (old_url.and_then(server), draft.document.url.as_deref().and_then(server)) else {
        return;
    };
    let keeps = match &request.headers {
        None => !draft.private.headers.is_empty(),
        Some(given) => given.values().any(|value| value == MASK),
    };
    if old != new && keeps {
        let detail = "the URL has another scheme, host or port: give the header values again, \
                      kept values stay with the server they were given for";
        mistakes.add("/headers", detail);
    }
}
