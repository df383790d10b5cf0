//! Verification of deliveries by code that is not Postrider's: the `standardwebhooks` crate, and an HMAC written here
//! from the product's documentation.

use anyhow::{Context, Result, bail};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::HeaderMap;
use sha2::Sha256;
use standardwebhooks::Webhook;

/// `webhook-id`, `webhook-timestamp` and `webhook-signature`, as Standard Webhooks 1.0.0 has them.
///
/// # Errors
/// A header is missing, the time is off by over five minutes, or no signature fits.
pub fn standard(secret: &str, headers: &HeaderMap, body: &[u8]) -> Result<()> {
    let webhook = match secret.strip_prefix("whsec_") {
        Some(_) => Webhook::new(secret)?,
        None => Webhook::from_bytes(secret.as_bytes().to_vec())?,
    };
    webhook.verify(body, headers).context("webhook-signature")
}

/// `X-Magnetite-Signature: sha256=<hex>` over the body, keyed with the secret's text.
///
/// # Errors
/// The header is missing or does not fit.
pub fn magnetite(secret: &str, headers: &HeaderMap, body: &[u8]) -> Result<()> {
    let header = headers.get("x-magnetite-signature").context("X-Magnetite-Signature is missing")?.to_str()?;
    let signature = header.strip_prefix("sha256=").context("X-Magnetite-Signature does not begin with sha256=")?;
    let signature = hex::decode(signature).context("X-Magnetite-Signature is not hex")?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).context("an HMAC takes any key")?;
    mac.update(body);
    if mac.verify_slice(&signature).is_err() {
        bail!("X-Magnetite-Signature does not fit the body");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_is_noticed() {
        // printf body | openssl dgst -sha256 -hmac secret
        let hex = "dc46983557fea127b43af721467eb9b3fde2338fe3e14f51952aa8478c13d355";
        let mut headers = HeaderMap::new();
        headers.insert("x-magnetite-signature", format!("sha256={hex}").parse().unwrap());
        magnetite("secret", &headers, b"body").unwrap();
        assert!(magnetite("secret", &headers, b"bodY").is_err());
        assert!(magnetite("Secret", &headers, b"body").is_err());
    }
}
