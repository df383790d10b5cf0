//! The secret or key pair of an endpoint.

use postrider_model::endpoint::SignatureKey;
use postrider_profiles::{Profile, is_header_value};
use postrider_signature::{KeyPair, SecretUsage, check_imported, generate_secret};
use secrecy::{ExposeSecret, SecretString};

use crate::error::Mistakes;

/// The key that signs an endpoint's deliveries.
pub(super) struct NewKey {
    pub(super) secret: SecretString,
    /// The public key that receivers verify with. `None` if they verify with the secret.
    pub(super) public: Option<String>,
}

impl NewKey {
    /// Uses the secret that the customer gave, or generates a secret or key pair.
    pub(super) fn new(kind: SignatureKey, given: Option<String>, profile: &Profile, mistakes: &mut Mistakes) -> Self {
        match (kind, given) {
            (SignatureKey::Hmac, None) => Self { secret: generate_secret(), public: None },
            (SignatureKey::Hmac, Some(given)) => {
                if let Err(invalid) = check_imported(&given, SecretUsage::of(profile)) {
                    mistakes.add("/secret", invalid.to_string());
                } else if profile.sends_token() && !is_header_value(&given) {
                    let detail = "the tenant's profile sends the secret in a header, so it must be visible ASCII without spaces around it";
                    mistakes.add("/secret", detail);
                }
                Self { secret: SecretString::from(given), public: None }
            }
            (SignatureKey::Ed25519, given) => {
                if given.is_some() {
                    mistakes
                        .add("/secret", "the keys of an ed25519 endpoint are always generated; leave the secret out");
                }
                let KeyPair { private, public } = KeyPair::generate();
                Self { secret: private, public: Some(public) }
            }
        }
    }

    /// The secret that the answer shows once. `None` if the answer shows a public key instead.
    pub(super) fn shown_once(&self) -> Option<String> {
        self.public.is_none().then(|| self.secret.expose_secret().to_owned())
    }
}
