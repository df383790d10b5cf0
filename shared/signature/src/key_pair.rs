//! Ed25519 keys. Postrider signs with the private key, and the receiver verifies with the public key.
//!
//! The text forms are those of Standard Webhooks ("Asymmetric keys"). A private key is `whsk_` and the base64 of a seed of 32
//! bytes. A public key is `whpk_` and the base64 of its 32 bytes.

use base64::Engine as _;
use ed25519_dalek::{SECRET_KEY_LENGTH, SigningKey};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::encoding::BASE64;

/// The prefix of a private key.
const PRIVATE_PREFIX: &str = "whsk_";
/// The prefix of a public key.
const PUBLIC_PREFIX: &str = "whpk_";

/// An error: the text is not a private key. Postrider generates the keys, so the stored row is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a private key is whsk_ and the base64 of {SECRET_KEY_LENGTH} bytes")]
pub struct InvalidPrivateKey;

/// The keys of an endpoint that signs with Ed25519, as texts.
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// The private key, `whsk_…`. It is redacted in debug output and wiped when dropped.
    pub private: SecretString,
    /// The public key, `whpk_…`.
    pub public: String,
}

impl KeyPair {
    /// Generates a new pair.
    pub fn generate() -> Self {
        let seed = Zeroizing::new(rand::random::<[u8; SECRET_KEY_LENGTH]>());
        Self::from_seed(&seed)
    }

    fn from_seed(seed: &[u8; SECRET_KEY_LENGTH]) -> Self {
        let public = SigningKey::from_bytes(seed).verifying_key();
        let private = Zeroizing::new(BASE64.encode(seed));
        let mut text = String::with_capacity(PRIVATE_PREFIX.len() + private.len());
        text.push_str(PRIVATE_PREFIX);
        text.push_str(&private);
        Self {
            private: SecretString::from(text),
            public: format!("{PUBLIC_PREFIX}{}", BASE64.encode(public.as_bytes())),
        }
    }
}

/// Parses a private key.
pub(crate) fn signing_key(private: &SecretString) -> Result<SigningKey, InvalidPrivateKey> {
    let encoded = private.expose_secret().strip_prefix(PRIVATE_PREFIX).ok_or(InvalidPrivateKey)?;
    let seed = Zeroizing::new(BASE64.decode(encoded).map_err(|_| InvalidPrivateKey)?);
    let seed: &[u8; SECRET_KEY_LENGTH] = seed.as_slice().try_into().map_err(|_| InvalidPrivateKey)?;
    Ok(SigningKey::from_bytes(seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_key_is_that_of_rfc_8032_section_7_1() {
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let pair = KeyPair::from_seed(&hex::decode(seed).unwrap().try_into().unwrap());
        assert_eq!(BASE64.decode(pair.public.strip_prefix("whpk_").unwrap()).unwrap(), hex::decode(public).unwrap());
    }

    #[test]
    fn a_generated_pair_is_new_and_prints_no_private_key() {
        let (one, two) = (KeyPair::generate(), KeyPair::generate());
        assert_ne!(one.public, two.public);
        assert!(signing_key(&one.private).is_ok());
        assert!(!format!("{one:?}").contains("whsk_"));
    }

    #[test]
    fn damaged_private_keys_are_refused() {
        for bad in ["", "whsk_", "whsk_!", "whsk_AAAA", "whsec_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="] {
            assert_eq!(signing_key(&bad.into()).unwrap_err(), InvalidPrivateKey, "{bad}");
        }
    }
}
