//! Verifies signatures like a receiver, in constant time, for the demo receiver and tests.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::Mac as _;
use postrider_model::time::UnixMillis;
use postrider_profiles::{Encoding, SchemeKind, SignatureScheme, TemplatePart};
use subtle::ConstantTimeEq as _;

use crate::secret::{self, InvalidSecret};
use crate::signer::{WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, keyed, scheme_mac, standard_mac};

/// Maximum difference of an attempt's time from now, in both directions (Standard Webhooks, "Verifying webhook authenticity").
pub const TOLERANCE: Duration = Duration::from_secs(300);

/// Why a request is not verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotVerified {
    /// A required header is missing.
    #[error("the header {0} is missing")]
    MissingHeader(String),
    /// A header does not have the scheme's form.
    #[error("the header {header} is malformed: {detail}")]
    Malformed {
        /// The header.
        header: String,
        /// The expected form.
        detail: &'static str,
    },
    /// The attempt's time is too far from now.
    #[error("the timestamp is {seconds} s away from now, at most {} are allowed", TOLERANCE.as_secs())]
    Stale {
        /// The difference in seconds; positive if the attempt's time is in the past.
        seconds: i64,
    },
    /// No signature matches, because the secret or the bytes differ.
    #[error("no signature matches this body and secret")]
    WrongSignature,
    /// The receiver's own secret is invalid.
    #[error(transparent)]
    Secret(#[from] InvalidSecret),
}

/// Verifies `webhook-id`, `webhook-timestamp` and `webhook-signature`. `header` returns a header's value by its lowercase name.
///
/// # Errors
/// The first check that failed.
pub fn standard<'h>(
    secret: &str,
    header: impl Fn(&str) -> Option<&'h str>,
    body: &[u8],
    now: UnixMillis,
) -> Result<(), NotVerified> {
    let get = |name: &str| header(name).ok_or_else(|| NotVerified::MissingHeader(name.into()));
    let (id, seconds, signatures) = (get(WEBHOOK_ID)?, get(WEBHOOK_TIMESTAMP)?, get(WEBHOOK_SIGNATURE)?);
    fresh(WEBHOOK_TIMESTAMP, seconds, now)?;
    let key = keyed(&secret::standard_key(secret)?)?;
    let expected = standard_mac(&key, id, seconds, body).finalize().into_bytes();
    let expected = STANDARD.encode(expected);
    let fits = signatures
        .split(' ')
        .filter_map(|signature| signature.strip_prefix("v1,"))
        .fold(subtle::Choice::from(0), |any, candidate| any | candidate.as_bytes().ct_eq(expected.as_bytes()));
    if bool::from(fits) { Ok(()) } else { Err(NotVerified::WrongSignature) }
}

/// Verifies a product's own signature header. `header` returns the value of a header by its lowercase name.
///
/// # Errors
/// The first check that failed.
pub fn scheme<'h>(
    scheme: &SignatureScheme,
    secret: &str,
    header: impl Fn(&str) -> Option<&'h str>,
    body: &[u8],
    now: UnixMillis,
) -> Result<(), NotVerified> {
    let name = &scheme.header;
    let value = header(&name.to_ascii_lowercase()).ok_or_else(|| NotVerified::MissingHeader(name.clone()))?;
    let fits = match &scheme.kind {
        SchemeKind::Token => value.as_bytes().ct_eq(secret.as_bytes()),
        SchemeKind::Hmac { encoding, signed, template } => {
            let malformed = || NotVerified::Malformed { header: name.clone(), detail: "not of the profile's template" };
            let (signature, seconds) = take_apart(template.parts(), value).ok_or_else(malformed)?;
            if let Some(seconds) = seconds {
                fresh(name, seconds, now)?;
            }
            let mac = scheme_mac(keyed(secret.as_bytes())?, *signed, seconds.unwrap_or_default(), body);
            let expected = mac.finalize().into_bytes();
            let expected = match encoding {
                Encoding::Hex => hex::encode(expected),
                Encoding::Base64 => STANDARD.encode(expected),
            };
            signature.as_bytes().ct_eq(expected.as_bytes())
        }
    };
    if bool::from(fits) { Ok(()) } else { Err(NotVerified::WrongSignature) }
}

fn fresh(header: &str, seconds: &str, now: UnixMillis) -> Result<(), NotVerified> {
    let malformed = || NotVerified::Malformed { header: header.into(), detail: "expected Unix seconds" };
    let sent: i64 = seconds.parse().map_err(|_| malformed())?;
    let away = now.as_seconds().saturating_sub(sent);
    if away.unsigned_abs() > TOLERANCE.as_secs() { Err(NotVerified::Stale { seconds: away }) } else { Ok(()) }
}

/// Returns the signature and, if the template has a timestamp, the timestamp in a header's `value`. Returns `None` if `value`
/// does not match the template.
fn take_apart<'v>(parts: &[TemplatePart], mut value: &'v str) -> Option<(&'v str, Option<&'v str>)> {
    let (mut signature, mut timestamp) = (None, None);
    for (index, part) in parts.iter().enumerate() {
        if let TemplatePart::Text(text) = part {
            value = value.strip_prefix(text.as_str())?;
            continue;
        }
        let length = match parts.get(index + 1) {
            Some(TemplatePart::Text(next)) => value.find(next.as_str())?,
            Some(_) => return None,
            None => value.len(),
        };
        let (taken, rest) = value.split_at(length);
        value = rest;
        match part {
            TemplatePart::Signature => signature = Some(taken),
            _ => timestamp = Some(taken),
        }
    }
    value.is_empty().then_some(())?;
    Some((signature?, timestamp))
}
