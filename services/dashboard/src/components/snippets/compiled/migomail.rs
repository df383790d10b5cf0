use hmac::{Hmac, KeyInit, Mac}; // cargo add hmac sha2 hex
use sha2::Sha256;

// raw_body: such as axum's Bytes. header: the value of X-Migomail-Signature.
fn verify(raw_body: &[u8], header: &str, secret: &str) -> bool {
    let given = header.strip_prefix("sha256=").and_then(|given| hex::decode(given).ok());
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
    mac.update(raw_body);
    given.is_some_and(|given| mac.verify_slice(&given).is_ok())
}
