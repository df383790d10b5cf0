use standardwebhooks::Webhook; // cargo add standardwebhooks http

// raw_body: such as axum's Bytes. headers: an http::HeaderMap, such as axum's HeaderMap.
fn verify(raw_body: &[u8], headers: &http::HeaderMap, secret: &str) -> bool {
    Webhook::new(secret).is_ok_and(|webhook| webhook.verify(raw_body, headers).is_ok())
}
