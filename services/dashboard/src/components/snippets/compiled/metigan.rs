use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac}; // cargo add hmac sha2 hex
use sha2::Sha256;

// raw_body: such as axum's Bytes. header: the value of X-Webhook-Signature.
fn verify(raw_body: &[u8], header: &str, secret: &str) -> bool {
    let part = |lead: &str| header.split(',').find_map(|part| part.strip_prefix(lead));
    let (Some(time), Some(given)) = (part("t="), part("v1=")) else { return false };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let fresh = time.parse::<u64>().is_ok_and(|time| now.abs_diff(time) < 300);
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
    mac.update(format!("{time}.").as_bytes());
    mac.update(raw_body);
    fresh && hex::decode(given).is_ok_and(|given| mac.verify_slice(&given).is_ok())
}
