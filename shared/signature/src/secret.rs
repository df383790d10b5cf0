//! What a secret means.
//!
//! A made secret is `whsec_` and base64. Schemes that sign with the secret's *text* use it exactly as shown, prefix and
//! all. `webhook-signature` uses the *decoded* bytes; of an imported secret without the prefix, its UTF-8 bytes.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::pasted::{without_prefix, wrong_form};

/// Marks a secret whose rest is base64 (Standard Webhooks, "Secrets").
pub const PREFIX: &str = "whsec_";
/// Most characters of a secret.
pub const SECRET_CHARACTERS_MAX: usize = 256;
/// Fewest bytes of a secret: a shorter one can be guessed.
pub const SECRET_BYTES_MIN: usize = 16;
/// Most bytes behind `whsec_` (Standard Webhooks, "Secrets").
pub const WHSEC_BYTES_MAX: usize = 64;
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
    /// Too few bytes, or too many behind `whsec_`.
    #[error(
        "a secret has at least {SECRET_BYTES_MIN} bytes; whsec_ and base64 stand for {SECRET_BYTES_MIN} to {WHSEC_BYTES_MAX}"
    )]
    Bytes,
    /// A form in which the text is not the secret that a receiver has.
    #[error("{0}")]
    Form(&'static str),
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

/// Whether a customer may bring this secret. `only_standard`: `webhook-signature` is all that is signed with it. Secrets that were
/// brought before these rules sign on.
///
/// # Errors
/// What is wrong with it; never the secret itself.
pub fn check_imported(secret: &str, only_standard: bool) -> Result<(), InvalidSecret> {
    if !(1..=SECRET_CHARACTERS_MAX).contains(&secret.chars().count()) {
        return Err(InvalidSecret::Length);
    }
    if secret.chars().any(char::is_control) {
        return Err(InvalidSecret::Control);
    }
    if let Some(form) = wrong_form(secret) {
        return Err(InvalidSecret::Form(form));
    }
    let bytes = standard_key(secret)?.len();
    let encoded = secret.starts_with(PREFIX);
    if bytes < SECRET_BYTES_MIN || (encoded && bytes > WHSEC_BYTES_MAX) {
        return Err(InvalidSecret::Bytes);
    }
    if only_standard && !encoded {
        return Err(InvalidSecret::Form(without_prefix(secret)));
    }
    Ok(())
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
        assert_eq!(check_imported(one.expose_secret(), true), Ok(()));
        assert_eq!(standard_key(one.expose_secret()).unwrap().len(), MADE_BYTES);
        assert!(one.expose_secret().starts_with(PREFIX));
    }

    #[test]
    fn imports_have_sixteen_bytes_and_no_form_that_cannot_be_meant() {
        let whsec = |bytes: usize| format!("whsec_{}", BASE64.encode(vec![7; bytes]));
        for good in ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &whsec(16), &whsec(64), "whsec_QUJDREVGR0hJSktMTU5PUA"] {
            assert_eq!((check_imported(good, false), check_imported(good, true)), (Ok(()), Ok(())), "{good}");
        }
        for plain in ["pässwörd with spaces", "sixteen bytes ok", &"xy".repeat(128)] {
            assert_eq!(check_imported(plain, false), Ok(()), "{plain}");
            assert!(matches!(check_imported(plain, true), Err(InvalidSecret::Form(_))), "{plain}");
        }
        assert_eq!(check_imported("", false), Err(InvalidSecret::Length));
        assert_eq!(check_imported(&"xy".repeat(129), false), Err(InvalidSecret::Length));
        assert_eq!(check_imported("a\nb", false), Err(InvalidSecret::Control));
        for bad in ["whsec_", "whsec_!!!", "whsec_A"] {
            assert_eq!(check_imported(bad, false), Err(InvalidSecret::NotBase64), "{bad}");
        }
        for bad in ["fifteen bytes..", "x7", "whsec_AAAA", &whsec(15), &whsec(65)] {
            assert_eq!(check_imported(bad, false), Err(InvalidSecret::Bytes), "{bad}");
        }
        let bare = check_imported("QUJDREVGR0hJSktMTU5PUA==", true).unwrap_err().to_string();
        assert!(bare.contains("base64 without the prefix"), "{bare}");
    }

    #[test]
    fn the_prefix_decides_what_the_key_is() {
        assert_eq!(standard_key("whsec_YWJj").unwrap().as_slice(), b"abc");
        assert_eq!(standard_key("YWJj").unwrap().as_slice(), b"YWJj");
    }
}
