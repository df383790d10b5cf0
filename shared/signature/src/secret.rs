//! What a secret means.
//!
//! A made secret is `whsec_` and base64. Schemes that sign with the secret's *text* use it exactly as shown, prefix and
//! all. `webhook-signature` uses the *decoded* bytes; of an imported secret without the prefix, its UTF-8 bytes.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::SecretString;
use zeroize::Zeroizing;

/// Marks a secret whose rest is base64 (Standard Webhooks, "Secrets").
pub const PREFIX: &str = "whsec_";
/// Most characters of a secret.
pub const SECRET_CHARACTERS_MAX: usize = 256;
/// Bytes of a made secret; Standard Webhooks asks for 24 to 64.
const MADE_BYTES: usize = 32;

/// Standard alphabet, padding optional: some products leave it out.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The text cannot be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// Empty or too long.
    #[error("a secret has 1 to {SECRET_CHARACTERS_MAX} characters")]
    Length,
    /// A control character, which no header or environment variable would carry.
    #[error("a secret has no control characters")]
    Control,
    /// It begins with `whsec_`, and the rest is no base64 of at least one byte.
    #[error("a secret that begins with whsec_ goes on in base64")]
    NotBase64,
}

/// A new secret: `whsec_` and the base64 of 32 random bytes.
pub fn generate_secret() -> SecretString {
    let bytes = Zeroizing::new(rand::random::<[u8; MADE_BYTES]>());
    let mut text = String::with_capacity(PREFIX.len() + MADE_BYTES.div_ceil(3) * 4);
    text.push_str(PREFIX);
    BASE64.encode_string(bytes.as_slice(), &mut text);
    SecretString::from(text)
}

/// Whether a customer may bring this secret.
///
/// # Errors
/// What is wrong with it; never the secret itself.
pub fn check_imported(secret: &str) -> Result<(), InvalidSecret> {
    if !(1..=SECRET_CHARACTERS_MAX).contains(&secret.chars().count()) {
        return Err(InvalidSecret::Length);
    }
    if secret.chars().any(char::is_control) {
        return Err(InvalidSecret::Control);
    }
    standard_key(secret).map(drop)
}

/// The key of `webhook-signature`.
pub(crate) fn standard_key(secret: &str) -> Result<Zeroizing<Vec<u8>>, InvalidSecret> {
    let Some(encoded) = secret.strip_prefix(PREFIX) else {
        return Ok(Zeroizing::new(secret.as_bytes().to_vec()));
    };
    let key = BASE64.decode(encoded).map(Zeroizing::new).map_err(|_| InvalidSecret::NotBase64)?;
    if key.is_empty() { Err(InvalidSecret::NotBase64) } else { Ok(key) }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_made_secret_is_importable_and_never_twice_the_same() {
        let (one, two) = (generate_secret(), generate_secret());
        assert_ne!(one.expose_secret(), two.expose_secret());
        assert_eq!(check_imported(one.expose_secret()), Ok(()));
        assert_eq!(standard_key(one.expose_secret()).unwrap().len(), MADE_BYTES);
        assert!(one.expose_secret().starts_with(PREFIX));
    }

    #[test]
    fn imports_take_any_text_but_a_whsec_that_does_not_decode() {
        for good in ["x", "pässwörd with spaces", "whsec_AAAA", "whsec_AAA=", "whsec_AAA", &"x".repeat(256)] {
            assert_eq!(check_imported(good), Ok(()), "{good}");
        }
        assert_eq!(check_imported(""), Err(InvalidSecret::Length));
        assert_eq!(check_imported(&"x".repeat(257)), Err(InvalidSecret::Length));
        assert_eq!(check_imported("a\nb"), Err(InvalidSecret::Control));
        for bad in ["whsec_", "whsec_!!!", "whsec_A"] {
            assert_eq!(check_imported(bad), Err(InvalidSecret::NotBase64), "{bad}");
        }
    }

    #[test]
    fn the_prefix_decides_what_the_key_is() {
        assert_eq!(standard_key("whsec_YWJj").unwrap().as_slice(), b"abc");
        assert_eq!(standard_key("YWJj").unwrap().as_slice(), b"YWJj");
    }
}
