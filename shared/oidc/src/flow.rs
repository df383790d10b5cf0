//! One sign-in, from the redirect to the provider to the return of the browser.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The number of characters of a secret: 256 bits as URL-safe base64.
const SECRET_CHARACTERS: usize = 43;

/// One sign-in. The browser keeps the secret in a cookie. State, nonce and PKCE verifier derive from the secret and do not reveal
/// it, so that the server stores nothing about a sign-in that may never be completed.
pub struct Flow(Zeroizing<String>);

impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Flow(…)")
    }
}

impl Flow {
    /// Begins a sign-in, with a new secret.
    pub fn begin() -> Self {
        let random = Zeroizing::new(rand::random::<[u8; 32]>());
        Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(random.as_slice())))
    }

    /// Reads the secret of a flow; `None` if it does not have the form of a secret.
    pub fn of_secret(text: &str) -> Option<Self> {
        let valid = text.len() == SECRET_CHARACTERS && URL_SAFE_NO_PAD.decode(text).is_ok();
        valid.then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The secret, for the cookie of the browser.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Whether `sent` is the state of this flow.
    pub fn has_state(&self, sent: &str) -> bool {
        self.state().as_bytes().ct_eq(sent.as_bytes()).into()
    }

    pub(crate) fn state(&self) -> String {
        self.derive("state")
    }

    pub(crate) fn nonce(&self) -> String {
        self.derive("nonce")
    }

    /// The PKCE verifier (RFC 7636, section 4.1).
    pub(crate) fn verifier(&self) -> String {
        self.derive("verifier")
    }

    /// The PKCE challenge of the method S256 (RFC 7636, section 4.2).
    pub(crate) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier()))
    }

    fn derive(&self, purpose: &str) -> String {
        let hash = Sha256::new().chain_update("postrider sign-in ").chain_update(purpose).chain_update(" ");
        URL_SAFE_NO_PAD.encode(hash.chain_update(self.0.as_bytes()).finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_has_its_own_state_and_keeps_it_in_its_secret() {
        let (flow, other) = (Flow::begin(), Flow::begin());
        let again = Flow::of_secret(flow.secret()).unwrap();
        assert!(again.has_state(&flow.state()) && !other.has_state(&flow.state()) && !flow.has_state(""));
        let values = [flow.state(), flow.nonce(), flow.verifier(), flow.challenge(), flow.secret().to_owned()];
        let distinct: std::collections::BTreeSet<&String> = values.iter().collect();
        assert_eq!(distinct.len(), values.len());
        assert!((43..=128).contains(&flow.verifier().len()), "RFC 7636, section 4.1");
    }

    #[test]
    fn text_that_is_not_a_secret_is_refused() {
        for wrong in ["", "short", &"x".repeat(44), &"ü".repeat(21), &" ".repeat(43)] {
            assert!(Flow::of_secret(wrong).is_none(), "{wrong:?}");
        }
    }
}
