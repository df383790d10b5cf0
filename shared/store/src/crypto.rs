//! Seals secrets for the database, with ChaCha20-Poly1305 and a master key.
//!
//! A sealed value names the key that sealed it, so that keys can be rotated: the first master key seals, and every master key
//! can open. The additional data binds a value to its row and column, so that the value cannot be moved to another row or
//! column.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

const FORMAT: u8 = 1;
const NONCE_BYTES: usize = 12;

/// The master keys are malformed, or cannot open a value. The error never contains key material or plain text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// A key is not `id:base64`.
    #[error("master key {index}: expected <id>:<base64 of 32 bytes>, the id of 1 to 32 letters, digits, '_' or '-'")]
    Malformed {
        /// The position of the key, from 1.
        index: usize,
    },
    /// A key is not 32 bytes long.
    #[error("master key {id:?} has {bytes} bytes; 32 are required")]
    Length {
        /// Its id.
        id: String,
        /// The decoded length in bytes.
        bytes: usize,
    },
    /// Two keys have the same id.
    #[error("master key {id:?} is given twice")]
    Twice {
        /// The id.
        id: String,
    },
    /// A secret must be sealed or opened, but no master key is configured.
    #[error("no master keys are configured: expected <id>:<base64 of 32 bytes>,…")]
    NoKeys,
    /// The value was sealed with a key that is not configured.
    #[error("the value was sealed with master key {id:?}, which is not configured")]
    UnknownKey {
        /// The id of that key.
        id: String,
    },
    /// The value is damaged, or belongs to another row or column.
    #[error("the sealed value is damaged or does not belong here")]
    Damaged,
}

/// The keys that seal secrets. The first key seals; every key can open. Cheap to clone; zeroised when dropped.
#[derive(Clone)]
pub struct MasterKeys(Arc<Vec<MasterKey>>);

struct MasterKey {
    id: String,
    key: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MasterKeys").field(&self.ids()).finish()
    }
}

impl MasterKeys {
    /// No keys, for services that never need a secret (ingest, fan-out, recorder).
    pub fn none() -> Self {
        Self(Arc::new(Vec::new()))
    }

    /// Parses `id:base64,…`, the form of `POSTRIDER_MASTER_KEYS`.
    ///
    /// # Errors
    /// The first key that is malformed, not 32 bytes long, or given twice.
    pub fn parse(text: &str) -> Result<Self, CryptoError> {
        let mut keys: Vec<MasterKey> = Vec::new();
        for (index, part) in text.split(',').map(str::trim).filter(|part| !part.is_empty()).enumerate() {
            let malformed = CryptoError::Malformed { index: index + 1 };
            let Some((id, encoded)) = part.split_once(':') else { return Err(malformed) };
            let legal =
                (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            let Ok(decoded) = STANDARD.decode(encoded.trim()).map(Zeroizing::new) else { return Err(malformed) };
            if !legal {
                return Err(malformed);
            }
            let Ok(key) = <[u8; 32]>::try_from(decoded.as_slice()).map(Zeroizing::new) else {
                return Err(CryptoError::Length { id: id.to_owned(), bytes: decoded.len() });
            };
            if keys.iter().any(|other| other.id == id) {
                return Err(CryptoError::Twice { id: id.to_owned() });
            }
            keys.push(MasterKey { id: id.to_owned(), key });
        }
        if keys.is_empty() { Err(CryptoError::NoKeys) } else { Ok(Self(Arc::new(keys))) }
    }

    /// The ids of the keys, in their order.
    pub(crate) fn ids(&self) -> Vec<&str> {
        self.0.iter().map(|key| key.id.as_str()).collect()
    }

    /// Generates a random key as `id:base64`, for development and tests.
    pub fn generate_text(id: &str) -> String {
        let key = Zeroizing::new(rand::random::<[u8; 32]>());
        format!("{id}:{}", STANDARD.encode(key.as_slice()))
    }

    /// Whether the first key sealed this value.
    pub(crate) fn seals_as(&self, sealed: &[u8]) -> bool {
        self.0.first().is_some_and(|key| sealed_by(sealed) == Some(&key.id))
    }

    /// Seals `plain` and binds it to `context`, which names the row and column.
    ///
    /// # Errors
    /// [`CryptoError::NoKeys`].
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let key = self.0.first().ok_or(CryptoError::NoKeys)?;
        let nonce = rand::random::<[u8; NONCE_BYTES]>();
        let cipher = ChaCha20Poly1305::new(&Key::from(*key.key));
        let payload = Payload { msg: plain, aad: context.as_bytes() };
        let sealed = cipher.encrypt(&Nonce::from(nonce), payload).map_err(|_| CryptoError::Damaged)?;
        let mut out = Vec::with_capacity(2 + key.id.len() + NONCE_BYTES + sealed.len());
        out.push(FORMAT);
        // The cast is exact, because an id has at most 32 bytes.
        out.push(key.id.len() as u8);
        out.extend_from_slice(key.id.as_bytes());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    /// Returns a keyed hash of `plain`, as `<id of the key>:<hex>`: HMAC-SHA256 with the first key over `context`, a zero byte and
    /// `plain`. Without the key nobody can test a guess. Equal values have equal hashes until another key becomes the first.
    ///
    /// # Errors
    /// [`CryptoError::NoKeys`].
    pub fn keyed_hash(&self, context: &str, plain: &[u8]) -> Result<String, CryptoError> {
        let key = self.0.first().ok_or(CryptoError::NoKeys)?;
        let mut mac = Hmac::<Sha256>::new_from_slice(key.key.as_slice()).map_err(|_| CryptoError::Damaged)?;
        mac.update(context.as_bytes());
        mac.update(&[0]);
        mac.update(plain);
        Ok(format!("{}:{}", key.id, hex::encode(mac.finalize().into_bytes())))
    }

    /// Opens a value that [`MasterKeys::seal`] sealed for the same `context`.
    ///
    /// # Errors
    /// The key is not configured, or the value is damaged or bound to another row or column.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let [FORMAT, id_bytes, rest @ ..] = sealed else { return Err(CryptoError::Damaged) };
        let (id, rest) = rest.split_at_checked(usize::from(*id_bytes)).ok_or(CryptoError::Damaged)?;
        let (nonce, cipher_text) = rest.split_at_checked(NONCE_BYTES).ok_or(CryptoError::Damaged)?;
        if self.0.is_empty() {
            return Err(CryptoError::NoKeys);
        }
        let Some(key) = self.0.iter().find(|key| key.id.as_bytes() == id) else {
            return Err(CryptoError::UnknownKey { id: String::from_utf8_lossy(id).into_owned() });
        };
        let nonce = <[u8; NONCE_BYTES]>::try_from(nonce).map_err(|_| CryptoError::Damaged)?;
        let cipher = ChaCha20Poly1305::new(&Key::from(*key.key));
        let payload = Payload { msg: cipher_text, aad: context.as_bytes() };
        cipher.decrypt(&Nonce::from(nonce), payload).map(Zeroizing::new).map_err(|_| CryptoError::Damaged)
    }
}

/// The id of the key that sealed a value.
pub(crate) fn sealed_by(sealed: &[u8]) -> Option<&str> {
    let [FORMAT, id_bytes, rest @ ..] = sealed else { return None };
    std::str::from_utf8(rest.get(..usize::from(*id_bytes))?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_only_where_it_was_sealed_and_with_any_known_key() {
        let (old, new) = (MasterKeys::generate_text("old"), MasterKeys::generate_text("new"));
        let before = MasterKeys::parse(&old).unwrap();
        let sealed = before.seal("row/1", b"whsec_x").unwrap();
        assert!(!sealed.windows(7).any(|w| w == b"whsec_x"));
        let after = MasterKeys::parse(&format!("{new},{old}")).unwrap();
        assert_eq!(after.open("row/1", &sealed).unwrap().as_slice(), b"whsec_x");
        assert_eq!(after.open("row/2", &sealed).unwrap_err(), CryptoError::Damaged);
        let only_new = MasterKeys::parse(&new).unwrap();
        assert_eq!(only_new.open("row/1", &sealed).unwrap_err(), CryptoError::UnknownKey { id: "old".into() });
        assert_ne!(sealed, before.seal("row/1", b"whsec_x").unwrap(), "a nonce is never used twice");
        let mut damaged = sealed.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(after.open("row/1", &damaged).unwrap_err(), CryptoError::Damaged);
        for cut in 0..sealed.len() {
            assert!(after.open("row/1", &sealed[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn a_keyed_hash_depends_on_key_context_and_value() {
        let keys = MasterKeys::parse(KEYS).unwrap();
        let hash = keys.keyed_hash("a", b"jo").unwrap();
        assert!(hash.starts_with("k1:") && hash.len() == 3 + 64, "{hash}");
        assert_eq!(hash, keys.keyed_hash("a", b"jo").unwrap());
        let other = MasterKeys::parse(&MasterKeys::generate_text("k1")).unwrap();
        let others = [keys.keyed_hash("b", b"jo"), keys.keyed_hash("a", b"joe"), other.keyed_hash("a", b"jo")];
        assert!(others.into_iter().all(|other| other.unwrap() != hash));
        assert_eq!(MasterKeys::none().keyed_hash("a", b"jo"), Err(CryptoError::NoKeys));
    }

    const KEYS: &str =
        "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=,k2:HxwdHhsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";

    proptest::proptest! {
        #[test]
        fn bytes_that_nobody_sealed_are_refused_whatever_they_are(
            bytes in postrider_fuzz::bytes([MasterKeys::parse(KEYS).unwrap().seal("here", b"plain").unwrap()]),
        ) {
            if let Ok(plain) = MasterKeys::parse(KEYS).unwrap().open("here", &bytes) {
                proptest::prop_assert_eq!(plain.as_slice(), b"plain");
            }
        }

        #[test]
        fn keys_are_read_or_refused_in_few_words(text in postrider_fuzz::text([KEYS])) {
            let said = MasterKeys::parse(&text).map_or_else(|error| error.to_string(), |keys| format!("{keys:?}"));
            proptest::prop_assert!(said.len() < 200 || text.matches(':').count() > 2, "{}", said);
        }
    }

    #[test]
    fn what_opens_secrets_and_what_they_open_to_is_wiped_when_it_is_let_go() {
        fn wiped(_: &impl zeroize::ZeroizeOnDrop) {}
        let keys = MasterKeys::parse(KEYS).unwrap();
        wiped(&keys.0[0].key);
        wiped(&keys.open("here", &keys.seal("here", b"plain").unwrap()).unwrap());
    }

    #[test]
    fn malformed_keys_are_named_and_never_printed() {
        let cases = ["", "x", "a:%%%", "a:AAAA", "bad id:AAAA"];
        for case in cases {
            assert!(MasterKeys::parse(case).is_err(), "{case}");
        }
        let good = MasterKeys::generate_text("k1");
        assert_eq!(MasterKeys::parse(&format!("{good},{good}")).unwrap_err(), CryptoError::Twice { id: "k1".into() });
        assert_eq!(format!("{:?}", MasterKeys::parse(&good).unwrap()), "MasterKeys([\"k1\"])");
    }
}
