//! EchoedSecrets that a receiver echoes: they are not put on record.
//!
//! Request inspectors and misconfigured servers answer with the request that they got. An endpoint's own headers and its token
//! are credentials that only its owner writes, while answers are read by everybody who may read the log. So their values are hidden
//! in what is kept of an answer. A value that was changed on the way (encoded, split) is not recognised.

use bytes::Bytes;
use postrider_egress::{Headers, Response};

use crate::attempt::headers::MASK;
use crate::endpoint::PreparedEndpoint;

/// Shorter values are no secrets, and would be found everywhere.
const SECRET_BYTES_MIN: usize = 8;

/// The secret values of one request, the longest first.
#[derive(Debug)]
pub(crate) struct EchoedSecrets(Vec<Vec<u8>>);

impl EchoedSecrets {
    /// Those among these headers. Of `Bearer abc` the part after the scheme is one, too.
    pub(crate) fn of(endpoint: &PreparedEndpoint, headers: &Headers) -> Self {
        let values = headers.iter().filter(|(name, _)| endpoint.masks(name)).map(|(_, value)| value.as_bytes());
        let parts = values.flat_map(|value| [Some(value), value.rsplit(|byte| *byte == b' ').next()]).flatten();
        let mut secrets: Vec<Vec<u8>> =
            parts.filter(|part| part.len() >= SECRET_BYTES_MIN).map(<[u8]>::to_vec).collect();
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
        Self(secrets)
    }

    /// Hides them in what is kept of an answer.
    pub(crate) fn hide_in(&self, response: &mut Response) {
        for secret in &self.0 {
            if let Some(hidden) = hide(&response.excerpt, secret) {
                response.excerpt = Bytes::from(hidden);
            }
            for (_, value) in &mut response.headers {
                if let Some(hidden) = hide(value.as_bytes(), secret) {
                    *value = String::from_utf8_lossy(&hidden).into_owned();
                }
            }
        }
    }
}

/// `text` with a mask in the place of `secret`; `None` when it is not there. The end of a text that was cut may be the beginning
/// of one.
fn hide(text: &[u8], secret: &[u8]) -> Option<Vec<u8>> {
    let mut hidden = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(secret.len()).position(|window| window == secret) {
        hidden.extend_from_slice(&rest[..at]);
        hidden.extend_from_slice(MASK.as_bytes());
        rest = &rest[at + secret.len()..];
    }
    let cut = (SECRET_BYTES_MIN..secret.len()).rev().find(|length| rest.ends_with(&secret[..*length]));
    if hidden.is_empty() && cut.is_none() {
        return None;
    }
    hidden.extend_from_slice(&rest[..rest.len() - cut.unwrap_or_default()]);
    if cut.is_some() {
        hidden.extend_from_slice(MASK.as_bytes());
    }
    Some(hidden)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use postrider_model::attempt::Outcome;
    use postrider_profiles::Profiles;

    use super::*;
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
    fn own_headers_that_come_back_are_hidden() {
        let mut endpoint = testing::endpoint("mumara");
        endpoint.private.headers =
            vec![("Authorization".into(), "Bearer s3cret-of-a-customer".into()), ("X-Team".into(), "7".into())];
        endpoint.secrets.current = "the token itself".into();
        let endpoint = PreparedEndpoint::new(endpoint, &Profiles::builtin(), &testing::pushover_url()).unwrap();
        let headers = crate::attempt::headers::request(&endpoint, &testing::task(), testing::NOW, b"{}", None);
        let secrets = EchoedSecrets::of(&endpoint, &headers);

        let mut response =
            answered(r#"{"authorization":"Bearer s3cret-of-a-customer","token":"the token itself","x-team":"7"}"#);
        secrets.hide_in(&mut response);
        assert_eq!(response.excerpt, r#"{"authorization":"***","token":"***","x-team":"7"}"#);
        assert_eq!(response.headers[0].1, "got ***");

        let mut response = answered("alone: s3cret-of-a-customer; cut: s3cret-of-a-c");
        secrets.hide_in(&mut response);
        assert_eq!(response.excerpt, "alone: ***; cut: ***");

        let mut response = answered("nothing of the kind");
        secrets.hide_in(&mut response);
        assert_eq!(response.excerpt, "nothing of the kind");
    }
}
