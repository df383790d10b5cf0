//! Masks the secrets that a receiver sends back in its response.
//!
//! Request inspectors and misconfigured servers echo the request. An endpoint's own headers and its token are credentials of
//! the endpoint's owner, but everybody who reads the history sees the responses. Therefore these values are masked in the
//! recorded part of a response. A value is not recognized if the receiver encoded or split it.

use bytes::Bytes;
use postrider_egress::{Headers, Response};
use postrider_model::attempt::SECRET_MASK;
use secrecy::ExposeSecret;

use crate::endpoint::PreparedEndpoint;

/// Minimum length of a secret that is masked. A shorter value would match too much of an ordinary response.
const SECRET_BYTES_MIN: usize = 8;

/// The secret values of a request, in order of decreasing length.
#[derive(Debug)]
pub(crate) struct EchoedSecrets(Vec<Vec<u8>>);

impl EchoedSecrets {
    /// Collects the secrets among the headers, and those of the URL of a chat service. For the value `Bearer abc`, both the whole
    /// value and `abc` are secrets.
    pub(crate) fn of(endpoint: &PreparedEndpoint, headers: &Headers<'_>) -> Self {
        let values = headers.iter().filter(|(name, _)| endpoint.masks(name)).map(|(_, value)| value.as_bytes());
        let parts = values.flat_map(|value| [Some(value), value.rsplit(|byte| *byte == b' ').next()]).flatten();
        let of_url = endpoint.messenger.iter().flat_map(|messenger| &messenger.secrets);
        let parts = parts.chain(of_url.map(|secret| secret.expose_secret().as_bytes()));
        let mut secrets: Vec<Vec<u8>> =
            parts.filter(|part| part.len() >= SECRET_BYTES_MIN).map(<[u8]>::to_vec).collect();
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
        Self(secrets)
    }

    /// Masks the secrets in the recorded part of a response and in its error.
    pub(crate) fn mask_in(&self, response: &mut Response) {
        for secret in &self.0 {
            if let Some(masked) = mask(&response.excerpt, secret) {
                response.excerpt = Bytes::from(masked);
            }
            if let Some(error) = &mut response.error
                && let Some(masked) = mask(error.as_bytes(), secret)
            {
                *error = String::from_utf8_lossy(&masked).into_owned();
            }
            for (_, value) in &mut response.headers {
                if let Some(masked) = mask(value.as_bytes(), secret) {
                    *value = String::from_utf8_lossy(&masked).into_owned();
                }
            }
        }
    }
}

/// Masks `secret` in `text`, and also the first part of a secret at the end of a text that was cut. Returns `None` if `text`
/// contains neither.
fn mask(text: &[u8], secret: &[u8]) -> Option<Vec<u8>> {
    let mut masked = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(secret.len()).position(|window| window == secret) {
        masked.extend_from_slice(&rest[..at]);
        masked.extend_from_slice(SECRET_MASK.as_bytes());
        rest = &rest[at + secret.len()..];
    }
    let cut = (SECRET_BYTES_MIN..secret.len()).rev().find(|length| rest.ends_with(&secret[..*length]));
    if masked.is_empty() && cut.is_none() {
        return None;
    }
    masked.extend_from_slice(&rest[..rest.len() - cut.unwrap_or_default()]);
    if cut.is_some() {
        masked.extend_from_slice(SECRET_MASK.as_bytes());
    }
    Some(masked)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use postrider_model::attempt::Outcome;
    use postrider_profiles::Profiles;

    use super::*;
    use crate::attempt::headers::Subject;
    use crate::testing;

    fn answered(excerpt: &'static str) -> Response {
        Response {
            outcome: Outcome::Success,
            status_code: Some(200),
            headers: vec![("x-echo".into(), "got Bearer s3cret-of-a-customer".into())],
            excerpt: Bytes::from_static(excerpt.as_bytes()),
            retry_after: None,
            first_byte: None,
            duration: Duration::ZERO,
            incomplete: false,
            error: None,
        }
    }

    #[test]
    fn own_headers_in_a_response_are_masked() {
        let mut endpoint = testing::endpoint("mumara");
        endpoint.private.headers =
            vec![("Authorization".into(), "Bearer s3cret-of-a-customer".into()), ("X-Team".into(), "7".into())];
        endpoint.secrets.current = "the token itself".into();
        let endpoint = PreparedEndpoint::new(endpoint, &Profiles::builtin(), &testing::service_urls()).unwrap();
        let task = testing::task();
        let subject = Subject::Delivery(&task);
        let headers = crate::attempt::headers::request(&endpoint, subject, testing::NOW, b"{}", None);
        let secrets = EchoedSecrets::of(&endpoint, &headers);

        let mut response =
            answered(r#"{"authorization":"Bearer s3cret-of-a-customer","token":"the token itself","x-team":"7"}"#);
        secrets.mask_in(&mut response);
        assert_eq!(response.excerpt, r#"{"authorization":"***","token":"***","x-team":"7"}"#);
        assert_eq!(response.headers[0].1, "got ***");

        let mut response = answered("alone: s3cret-of-a-customer; cut: s3cret-of-a-c");
        secrets.mask_in(&mut response);
        assert_eq!(response.excerpt, "alone: ***; cut: ***");

        let mut response = answered("nothing of the kind");
        secrets.mask_in(&mut response);
        assert_eq!(response.excerpt, "nothing of the kind");
    }
}
