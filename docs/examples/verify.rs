use reqwest::header::HeaderMap;
use standardwebhooks::Webhook;

/// `body`: the received bytes. `secret`: as it was shown, with its prefix.
fn verify(headers: &HeaderMap, body: &[u8], secret: &str) -> bool {
    let webhook = match secret.strip_prefix("whsec_") {
        Some(_) => Webhook::new(secret),
        None => Webhook::from_bytes(secret.as_bytes().to_vec()),
    };
    webhook.is_ok_and(|webhook| webhook.verify(body, headers).is_ok())
}
