//! Verification of deliveries by code that is not Postrider's: the `standardwebhooks` crate, and each product's own rule,
//! written here from its documentation.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::HeaderMap;
use sha2::Sha256;
use standardwebhooks::Webhook;

/// How old a signed timestamp may be, where a product signs one.
const TOLERANCE_SECONDS: u64 = 300;

/// The header that a product's own rule reads; `None` for a profile that this module does not know.
pub fn product_header(profile: &str) -> Option<&'static str> {
    Some(match profile {
        "migma" => "x-migma-signature",
        "migomail" => "x-migomail-signature",
        "metigan" => "x-webhook-signature",
        "magnetite" => "x-magnetite-signature",
        "mumara" => "x-mumara-token",
        _ => return None,
    })
}

/// The product's own rule, keyed with the secret's text; nothing to check for a profile without one.
///
/// # Errors
/// The product's header is missing, malformed, or does not fit.
pub fn product(profile: &str, secret: &str, headers: &HeaderMap, body: &[u8]) -> Result<()> {
    let Some(name) = product_header(profile) else { return Ok(()) };
    let value = headers.get(name).with_context(|| format!("{name} is missing"))?.to_str()?;
    match profile {
        "mumara" => ensure!(value == secret, "{name} is not the secret token"),
        "metigan" => {
            let parts = value.strip_prefix("t=").and_then(|rest| rest.split_once(",v1="));
            let (timestamp, signature) = parts.with_context(|| format!("{name} is not t=…,v1=…"))?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
            let age = now.saturating_sub(timestamp.parse().context("t= is not Unix seconds")?);
            ensure!(age <= TOLERANCE_SECONDS, "{name} is {age} s old");
            fits(name, signature, secret, &[timestamp.as_bytes(), b".", body])?;
        }
        "migma" => fits(name, value, secret, &[body])?,
        _ => {
            let signature =
                value.strip_prefix("sha256=").with_context(|| format!("{name} does not begin with sha256="))?;
            fits(name, signature, secret, &[body])?;
        }
    }
    Ok(())
}

fn fits(name: &str, signature: &str, secret: &str, message: &[&[u8]]) -> Result<()> {
    let signature = hex::decode(signature).with_context(|| format!("{name} is not hex"))?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).context("an HMAC takes any key")?;
    message.iter().for_each(|part| mac.update(part));
    if mac.verify_slice(&signature).is_err() {
        bail!("{name} does not fit the body");
    }
    Ok(())
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// printf body | openssl dgst -sha256 -hmac secret
    const HEX: &str = "dc46983557fea127b43af721467eb9b3fde2338fe3e14f51952aa8478c13d355";

    #[track_caller]
    fn check(profile: &str, value: &str) {
        let header = product_header(profile).unwrap();
        let headers = HeaderMap::from_iter([(header.parse().unwrap(), value.parse().unwrap())]);
        assert!(product(profile, "secret", &headers, b"body").is_ok(), "{profile}");
        assert!(product(profile, "Secret", &headers, b"body").is_err(), "{profile}");
        assert_eq!(product(profile, "secret", &headers, b"bodY").is_ok(), profile == "mumara", "{profile}");
        assert!(product(profile, "secret", &HeaderMap::new(), b"body").is_err(), "{profile}");
    }

    #[test]
    fn each_products_rule_takes_its_own_form_and_notices_a_changed_byte() {
        check("migma", HEX);
        check("migomail", &format!("sha256={HEX}"));
        check("magnetite", &format!("sha256={HEX}"));
        check("mumara", "secret");
        assert!(product("standard", "secret", &HeaderMap::new(), b"body").is_ok(), "has no header of its own");
    }

    #[test]
    fn metigans_time_is_signed_and_must_be_fresh() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let signed = |time: u64| {
            let mut mac = Hmac::<Sha256>::new_from_slice(b"secret").unwrap();
            mac.update(format!("{time}.body").as_bytes());
            format!("t={time},v1={}", hex::encode(mac.finalize().into_bytes()))
        };
        check("metigan", &signed(now));
        let late = HeaderMap::from_iter([("x-webhook-signature".parse().unwrap(), signed(now - 400).parse().unwrap())]);
        assert!(product("metigan", "secret", &late, b"body").is_err());
    }
}
