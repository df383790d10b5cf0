//! The check of an ID token (OpenID Connect Core 1.0, section 3.1.3.7).

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{DecodingKey, Header, Validation, decode, decode_header};
use postrider_model::limits::OIDC_ID_TOKEN_BYTES_MAX;
use postrider_model::time::UnixMillis;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;

use crate::signature::ACCEPTED;

/// How far the clocks of the provider and of this machine may differ, in seconds.
const CLOCK_SKEW_SECONDS: u32 = 60;
/// Maximum number of keys that are tried for a token that names no key.
const KEYS_TRIED_MAX: usize = 16;
/// Maximum number of characters of a subject (OpenID Connect Core 1.0, section 2).
const SUBJECT_CHARACTERS_MAX: usize = 255;

/// The claims of a token.
pub(crate) type Claims = Map<String, Value>;

/// What a token must say.
pub(crate) struct Expected<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) nonce: &'a str,
}

/// Why a token is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    /// None of the keys can have signed it. There may be a new key.
    #[error("it is signed with a key that the provider does not publish")]
    UnknownKey,
    #[error("{0}")]
    Invalid(String),
}

fn invalid(reason: impl Into<String>) -> TokenError {
    TokenError::Invalid(reason.into())
}

/// Checks a token and returns its claims.
pub(crate) fn verify(token: &str, keys: &JwkSet, expected: &Expected<'_>) -> Result<Claims, TokenError> {
    if token.len() > OIDC_ID_TOKEN_BYTES_MAX {
        return Err(invalid(format!("it has {} bytes; at most {OIDC_ID_TOKEN_BYTES_MAX} are read", token.len())));
    }
    let header = decode_header(token).map_err(|error| invalid(format!("its header cannot be read: {error}")))?;
    if !ACCEPTED.contains(&header.alg) {
        return Err(invalid(format!("its algorithm {:?} is not accepted; accepted are {ACCEPTED:?}", header.alg)));
    }
    let claims = decode_with_any(token, keys, &header, &validation(&header, expected))?;
    check(&claims, expected)?;
    Ok(claims)
}

/// Verifies the signature with each key that the header may mean.
fn decode_with_any(token: &str, keys: &JwkSet, header: &Header, validation: &Validation) -> Result<Claims, TokenError> {
    for key in keys.keys.iter().filter(|key| may_sign(key, header)).take(KEYS_TRIED_MAX) {
        let Ok(key) = DecodingKey::from_jwk(key) else { continue };
        match decode::<Claims>(token, &key, validation) {
            Ok(data) => return Ok(data.claims),
            // A key of another type, or another key of this type.
            Err(error) if matches!(error.kind(), ErrorKind::InvalidKeyFormat | ErrorKind::InvalidAlgorithm) => {}
            Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) && header.kid.is_none() => {}
            Err(error) => return Err(invalid(error.to_string())),
        }
    }
    Err(TokenError::UnknownKey)
}

/// Whether a key may have signed a token with this header.
fn may_sign(key: &Jwk, header: &Header) -> bool {
    let named = header.kid.is_none() || key.common.key_id == header.kid;
    let for_signing = !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption));
    let own = key.common.key_algorithm.as_ref().is_none_or(|own| own.to_string() == format!("{:?}", header.alg));
    named && for_signing && own
}

/// The checks of `jsonwebtoken`: signature, issuer, audience, and times.
fn validation(header: &Header, expected: &Expected<'_>) -> Validation {
    let mut validation = Validation::new(header.alg);
    validation.set_issuer(&[expected.issuer]);
    validation.set_audience(&[expected.client_id]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.leeway = CLOCK_SKEW_SECONDS.into();
    validation.validate_nbf = true;
    validation
}

/// The checks that `jsonwebtoken` does not make.
fn check(claims: &Claims, expected: &Expected<'_>) -> Result<(), TokenError> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let nonce = text("nonce").ok_or_else(|| invalid("it has no nonce"))?;
    if !bool::from(nonce.as_bytes().ct_eq(expected.nonce.as_bytes())) {
        return Err(invalid("its nonce is that of another sign-in"));
    }
    let several = claims.get("aud").and_then(Value::as_array).is_some_and(|audiences| audiences.len() > 1);
    match text("azp") {
        Some(party) if party != expected.client_id => return Err(invalid("it was issued to another client (azp)")),
        None if several => {
            return Err(invalid("it has several audiences and does not say to which it was issued (azp)"));
        }
        _ => {}
    }
    let issued_at =
        claims.get("iat").and_then(Value::as_f64).ok_or_else(|| invalid("it has no time of issue (iat)"))?;
    let latest = UnixMillis::now().as_seconds() + i64::from(CLOCK_SKEW_SECONDS);
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are exact in a f64")]
    if issued_at > latest as f64 {
        return Err(invalid("it was issued in the future (iat)"));
    }
    let subject = text("sub").unwrap_or_default();
    if subject.is_empty() || subject.chars().count() > SUBJECT_CHARACTERS_MAX {
        return Err(invalid("its subject (sub) has no or more than 255 characters"));
    }
    Ok(())
}
