//! Creates the signature headers of an attempt.
//!
//! A [`Signer`] is created once per endpoint and configuration version. Hashing the key is half the cost of a short HMAC, so
//! the signer stores keyed states and clones them for each attempt.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use postrider_model::time::UnixMillis;
use postrider_profiles::{Encoding, SchemeKind, SignatureScheme, SignedContent, TemplatePart};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

use crate::key_pair::{InvalidPrivateKey, signing_key};
use crate::secret::{self, InvalidSecret};
use crate::secrets::{SecretSlot, SigningSecrets, active};

/// Header with the event's id.
pub const WEBHOOK_ID: &str = "webhook-id";
/// Header with the attempt's time in Unix seconds.
pub const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";
/// Header with one or more `v1,<base64>` (HMAC) or `v1a,<base64>` (Ed25519), separated by spaces.
pub const WEBHOOK_SIGNATURE: &str = "webhook-signature";

/// A keyed HMAC-SHA256. Its state is wiped when dropped.
pub(crate) type Keyed = Hmac<Sha256>;

/// Creates a keyed HMAC. A key may have any length, because a long key is hashed first (RFC 2104, section 2).
pub(crate) fn keyed(key: &[u8]) -> Result<Keyed, InvalidSecret> {
    Keyed::new_from_slice(key).map_err(|_| InvalidSecret::Length)
}

/// A key, ready to sign.
#[derive(Clone)]
enum Key {
    Hmac(HmacKey),
    Ed25519(SigningKey),
}

/// A secret, ready to sign.
#[derive(Clone)]
struct HmacKey {
    secret: SecretString,
    /// HMAC keyed with the secret's text, for the product's header.
    text: Keyed,
    /// HMAC keyed for `webhook-signature`.
    standard: Keyed,
}

impl HmacKey {
    fn new(secret: &SecretString) -> Result<Self, InvalidSecret> {
        let text = secret.expose_secret();
        Ok(Self {
            secret: secret.clone(),
            text: keyed(text.as_bytes())?,
            standard: keyed(&secret::standard_key(text)?)?,
        })
    }
}

/// An attempt to be signed.
#[derive(Debug, Clone, Copy)]
pub struct SignedAttempt<'s, 'a> {
    /// The product's own scheme, if it has one.
    pub scheme: Option<&'s SignatureScheme>,
    /// Whether the headers of Standard Webhooks are sent.
    pub standard_headers: bool,
    /// The event's id.
    pub event_id: &'a str,
    /// The attempt's time. Each attempt of a delivery has its own signature.
    pub at: UnixMillis,
    /// The body, with exactly the bytes that are sent.
    pub body: &'a [u8],
}

/// Signs the attempts of one endpoint. The debug output contains no secrets. Secrets are wiped when dropped.
#[derive(Clone)]
pub struct Signer {
    current: Key,
    previous: Vec<(Key, UnixMillis)>,
    next: Option<(Key, UnixMillis, UnixMillis)>,
    token_header: Option<String>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("token_header", &self.token_header).finish_non_exhaustive()
    }
}

impl Signer {
    /// Prepares an endpoint's secrets.
    ///
    /// # Errors
    /// A `whsec_` secret is not base64. The import checks this, so the stored row is damaged.
    pub fn new(secrets: &SigningSecrets) -> Result<Self, InvalidSecret> {
        Self::with_keys(secrets, |secret| HmacKey::new(secret).map(Key::Hmac))
    }

    /// Prepares an endpoint whose secrets are private keys; see [`KeyPair`](crate::KeyPair). They sign only
    /// `webhook-signature`. A product's own header is omitted.
    ///
    /// # Errors
    /// A private key is invalid. Postrider generates the keys, so the stored row is damaged.
    pub fn ed25519(secrets: &SigningSecrets) -> Result<Self, InvalidPrivateKey> {
        Self::with_keys(secrets, |private| signing_key(private).map(Key::Ed25519))
    }

    fn with_keys<E>(secrets: &SigningSecrets, key: impl Fn(&SecretString) -> Result<Key, E>) -> Result<Self, E> {
        let previous = secrets.previous.iter();
        let next = secrets.next.as_ref();
        Ok(Self {
            current: key(&secrets.current)?,
            previous: previous.map(|p| key(&p.secret).map(|key| (key, p.valid_until))).collect::<Result<_, _>>()?,
            next: next.map(|n| key(&n.secret).map(|key| (key, n.effective_at, n.overlap_until))).transpose()?,
            token_header: None,
        })
    }

    /// Sets the name of the header that the endpoint chose for its token. Only profiles that send tokens use this name.
    #[must_use]
    pub fn with_token_header(self, token_header: Option<String>) -> Self {
        Self { token_header, ..self }
    }

    /// Returns the signature headers of an attempt: first the product's own header, then the standard headers.
    pub fn headers<'s>(&'s self, attempt: &SignedAttempt<'s, '_>) -> Vec<(&'s str, String)> {
        let SignedAttempt { scheme, standard_headers, event_id, at, body } = *attempt;
        let previous = self.previous.iter().map(|(_, valid_until)| *valid_until);
        let next = self.next.as_ref().map(|(_, effective_at, overlap_until)| (*effective_at, *overlap_until));
        let active = active(previous, next, at);
        let primary = self.key(active.primary);

        let mut headers = Vec::with_capacity(4);
        let seconds = at.as_seconds().to_string();
        if let (Some(scheme), Key::Hmac(primary)) = (scheme, primary) {
            headers.push(match &scheme.kind {
                SchemeKind::Token => {
                    let name = self.token_header.as_ref().unwrap_or(&scheme.header);
                    (name.as_str(), primary.secret.expose_secret().to_owned())
                }
                SchemeKind::Hmac { .. } => {
                    (scheme.header.as_str(), scheme_value(scheme, primary.text.clone(), &seconds, body))
                }
            });
        }
        if standard_headers {
            let mut value = standard_value(primary, event_id, &seconds, body);
            for also in active.also {
                value.push(' ');
                value.push_str(&standard_value(self.key(also), event_id, &seconds, body));
            }
            headers.push((WEBHOOK_ID, event_id.into()));
            headers.push((WEBHOOK_TIMESTAMP, seconds));
            headers.push((WEBHOOK_SIGNATURE, value));
        }
        headers
    }

    /// Returns the key in a slot. The slot exists, because [`active`] returns only existing slots.
    fn key(&self, slot: SecretSlot) -> &Key {
        let found = match slot {
            SecretSlot::Current => None,
            SecretSlot::Previous(index) => self.previous.get(index).map(|(key, _)| key),
            SecretSlot::Next => self.next.as_ref().map(|(key, _, _)| key),
        };
        found.unwrap_or(&self.current)
    }
}

/// Returns `v1,<base64>` or `v1a,<base64>`, which signs `id.seconds.body` (Standard Webhooks, "Signature scheme").
fn standard_value(key: &Key, event_id: &str, seconds: &str, body: &[u8]) -> String {
    match key {
        Key::Hmac(key) => {
            let signature = standard_mac(&key.standard, event_id, seconds, body).finalize().into_bytes();
            format!("v1,{}", STANDARD.encode(signature))
        }
        Key::Ed25519(key) => {
            let signature = key.sign(&standard_content(event_id, seconds, body).concat());
            format!("v1a,{}", STANDARD.encode(signature.to_bytes()))
        }
    }
}

/// Returns the content that is signed, in parts.
fn standard_content<'a>(event_id: &'a str, seconds: &'a str, body: &'a [u8]) -> [&'a [u8]; 5] {
    [event_id.as_bytes(), b".", seconds.as_bytes(), b".", body]
}

pub(crate) fn standard_mac(key: &Keyed, event_id: &str, seconds: &str, body: &[u8]) -> Keyed {
    let mut mac = key.clone();
    for part in standard_content(event_id, seconds, body) {
        mac.update(part);
    }
    mac
}

pub(crate) fn scheme_mac(mut mac: Keyed, signed: SignedContent, seconds: &str, body: &[u8]) -> Keyed {
    if signed == SignedContent::TimestampBody {
        mac.update(seconds.as_bytes());
        mac.update(b".");
    }
    mac.update(body);
    mac
}

/// Returns the value of a product's HMAC header, or an empty text if its scheme is a token.
fn scheme_value(scheme: &SignatureScheme, mac: Keyed, seconds: &str, body: &[u8]) -> String {
    let SchemeKind::Hmac { encoding, signed, template } = &scheme.kind else { return String::new() };
    let signature = scheme_mac(mac, *signed, seconds, body).finalize().into_bytes();
    let mut value = String::with_capacity(96);
    for part in template.parts() {
        match part {
            TemplatePart::Text(text) => value.push_str(text),
            TemplatePart::Timestamp => value.push_str(seconds),
            TemplatePart::Signature => match encoding {
                Encoding::Hex => value.push_str(&hex::encode(signature)),
                Encoding::Base64 => STANDARD.encode_string(signature, &mut value),
            },
        }
    }
    value
}
