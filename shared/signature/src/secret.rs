//! The meaning of a secret's text.
//!
//! A generated secret is `whsec_` and base64. Product schemes sign with the secret's *text*, including the prefix.
//! `webhook-signature` uses the *decoded* bytes. For an imported secret without the prefix, it uses the UTF-8 bytes.

use base64::Engine as _;
use postrider_profiles::Profile;
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::encoding::BASE64;
use crate::pasted::{without_prefix, wrong_form};

pub use crate::encoding::PREFIX;

/// Maximum number of characters of a secret.
pub const SECRET_CHARACTERS_MAX: usize = 256;
/// Minimum number of bytes of a secret. A shorter secret can be guessed.
pub const SECRET_BYTES_MIN: usize = 16;
/// Maximum number of bytes of the decoded base64 after `whsec_` (Standard Webhooks, "Secrets").
pub const WHSEC_BYTES_MAX: usize = 64;
/// Number of random bytes in a generated secret. Standard Webhooks requires 24 to 64.
const MADE_BYTES: usize = 32;

/// Why a text cannot be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// The secret is empty or too long.
    #[error("a secret has 1 to {SECRET_CHARACTERS_MAX} characters")]
    Length,
    /// The secret has too few bytes, or too many bytes after `whsec_`.
    #[error(
        "a secret has at least {SECRET_BYTES_MIN} bytes; whsec_ and base64 stand for {SECRET_BYTES_MIN} to {WHSEC_BYTES_MAX}"
    )]
    Bytes,
    /// The text has a form that cannot be the receiver's secret.
    #[error("{0}")]
    Form(&'static str),
    /// The secret has a control character, which headers and environment variables cannot contain.
    #[error("a secret has no control characters")]
    Control,
    /// The secret begins with `whsec_`, but the rest is not base64 of at least one byte.
    #[error("a secret that begins with whsec_ continues in base64")]
    NotBase64,
}

/// The headers that an endpoint's secret signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretUsage {
    /// The secret signs `webhook-signature` only.
    StandardOnly,
    /// The secret also signs a product's own header.
    ProductHeader,
}

impl SecretUsage {
    /// Returns the headers that the secrets of a profile's endpoints sign.
    pub fn of(profile: &Profile) -> Self {
        if profile.only_standard_signature() { Self::StandardOnly } else { Self::ProductHeader }
    }
}

/// Generates a secret: `whsec_` and the base64 of 32 random bytes.
pub fn generate_secret() -> SecretString {
    let bytes = Zeroizing::new(rand::random::<[u8; MADE_BYTES]>());
    let mut text = String::with_capacity(PREFIX.len() + MADE_BYTES.div_ceil(3) * 4);
    text.push_str(PREFIX);
    BASE64.encode_string(bytes.as_slice(), &mut text);
    SecretString::from(text)
}

/// Checks whether a customer may import this secret for `usage`. Secrets that were already imported remain valid.
///
/// # Errors
/// The secret is refused. The error contains the reason and never the secret.
pub fn check_imported(secret: &str, usage: SecretUsage) -> Result<(), InvalidSecret> {
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
    if usage == SecretUsage::StandardOnly && !encoded {
        return Err(InvalidSecret::Form(without_prefix(secret)));
    }
    Ok(())
}

/// Returns the key of `webhook-signature`.
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
    fn a_generated_secret_is_new_and_importable() {
        let (one, two) = (generate_secret(), generate_secret());
        assert_ne!(one.expose_secret(), two.expose_secret());
        assert_eq!(check_imported(one.expose_secret(), SecretUsage::StandardOnly), Ok(()));
        assert_eq!(standard_key(one.expose_secret()).unwrap().len(), MADE_BYTES);
        assert!(one.expose_secret().starts_with(PREFIX));
    }

    #[test]
    fn imports_have_sixteen_bytes_and_a_possible_form() {
        let whsec = |bytes: usize| format!("whsec_{}", BASE64.encode(vec![7; bytes]));
        for good in ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &whsec(16), &whsec(64), "whsec_QUJDREVGR0hJSktMTU5PUA"] {
            assert_eq!(
                (check_imported(good, SecretUsage::ProductHeader), check_imported(good, SecretUsage::StandardOnly)),
                (Ok(()), Ok(())),
                "{good}"
            );
        }
        for plain in ["pässwörd with spaces", "sixteen bytes ok", &"xy".repeat(128)] {
            assert_eq!(check_imported(plain, SecretUsage::ProductHeader), Ok(()), "{plain}");
            assert!(matches!(check_imported(plain, SecretUsage::StandardOnly), Err(InvalidSecret::Form(_))), "{plain}");
        }
        assert_eq!(check_imported("", SecretUsage::ProductHeader), Err(InvalidSecret::Length));
        assert_eq!(check_imported(&"xy".repeat(129), SecretUsage::ProductHeader), Err(InvalidSecret::Length));
        assert_eq!(check_imported("a\nb", SecretUsage::ProductHeader), Err(InvalidSecret::Control));
        for bad in ["whsec_", "whsec_!!!", "whsec_A"] {
            assert_eq!(check_imported(bad, SecretUsage::ProductHeader), Err(InvalidSecret::NotBase64), "{bad}");
        }
        for bad in ["fifteen bytes..", "x7", "whsec_AAAA", &whsec(15), &whsec(65)] {
            assert_eq!(check_imported(bad, SecretUsage::ProductHeader), Err(InvalidSecret::Bytes), "{bad}");
        }
        let bare = check_imported("QUJDREVGR0hJSktMTU5PUA==", SecretUsage::StandardOnly).unwrap_err().to_string();
        assert!(bare.contains("base64 without the prefix"), "{bare}");
    }

    #[test]
    fn the_prefix_decides_how_the_key_is_read() {
        assert_eq!(standard_key("whsec_YWJj").unwrap().as_slice(), b"abc");
        assert_eq!(standard_key("YWJj").unwrap().as_slice(), b"YWJj");
    }
}
