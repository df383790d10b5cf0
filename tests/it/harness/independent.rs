//! Signatures checked by code that is not ours: the `standardwebhooks` crate, ring, and Python's `hmac` as a process.

use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, UnparsedPublicKey};
use standardwebhooks::Webhook;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::Received;

/// Reads a secret on the first line and the message after it; prints the HMAC. `whsec` decodes the secret first.
const PYTHON: &str = r#"
import base64, hashlib, hmac, sys
form = sys.argv[1]
secret, message = sys.stdin.buffer.read().split(b"\n", 1)
key = base64.b64decode(secret.removeprefix(b"whsec_")) if form == "whsec" else secret
mac = hmac.new(key, message, hashlib.sha256)
print(mac.hexdigest() if form == "hex" else base64.b64encode(mac.digest()).decode())
"#;

/// `webhook-signature`, `webhook-id` and `webhook-timestamp` as the crate `standardwebhooks` checks them.
#[track_caller]
pub(crate) fn check_with_crate(secret: &str, request: &Received) {
    verify(&Webhook::new(secret).expect("a secret of Standard Webhooks"), request);
}

/// The same for a secret without prefix, whose bytes are the key.
#[track_caller]
pub(crate) fn check_with_crate_bytes(secret: &[u8], request: &Received) {
    verify(&Webhook::from_bytes(secret.to_vec()).expect("any bytes are a key"), request);
}

#[track_caller]
fn verify(webhook: &Webhook, request: &Received) {
    let headers = request.header_map();
    webhook.verify(&request.body, &headers).unwrap_or_else(|error| panic!("{error}: {headers:?}"));
    let mut forged = request.body.clone();
    forged.push(b' ');
    assert!(webhook.verify(&forged, &headers).is_err(), "another body must not pass");
}

/// Which of the `v1a` signatures of `webhook-signature` ring verifies with a `whpk_` key.
pub(crate) fn verified_by_ed25519(public_key: &str, request: &Received) -> Vec<bool> {
    let key = STANDARD.decode(public_key.strip_prefix("whpk_").expect("a public key")).expect("base64");
    let key = UnparsedPublicKey::new(&ED25519, key);
    let message = format!("{}.{}.", request.header("webhook-id"), request.header("webhook-timestamp"));
    let message = [message.as_bytes(), &request.body].concat();
    let signatures = request.header("webhook-signature").split(' ');
    let decode = |text: &str| STANDARD.decode(text.strip_prefix("v1a,").expect("v1a")).expect("base64");
    signatures.map(|signature| key.verify(&message, &decode(signature)).is_ok()).collect()
}

/// HMAC-SHA256 keyed with the secret's text, in hex, by Python.
pub(crate) async fn python_hmac_hex(secret: &str, message: &[u8]) -> String {
    python("hex", secret, message).await
}

/// HMAC-SHA256 keyed with the decoded bytes of a `whsec_` secret, in base64, by Python.
pub(crate) async fn python_hmac_base64_of_whsec(secret: &str, message: &[u8]) -> String {
    python("whsec", secret, message).await
}

async fn python(form: &str, secret: &str, message: &[u8]) -> String {
    let mut child = Command::new("python3")
        .args(["-c", PYTHON, form])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is needed: it checks signatures independently");
    let input = [secret.as_bytes(), b"\n", message].concat();
    child.stdin.take().expect("piped").write_all(&input).await.expect("python3 reads");
    let output = child.wait_with_output().await.expect("python3 ends");
    assert!(output.status.success(), "python3: {}", output.status);
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// W3C Trace Context, section 3.2: `00-<32 hex>-<16 hex>-<2 hex>`.
#[track_caller]
pub(crate) fn check_traceparent(value: &str) {
    let parts: Vec<_> = value.split('-').collect();
    let lengths: Vec<_> = parts.iter().map(|part| part.len()).collect();
    assert_eq!(lengths, [2, 32, 16, 2], "{value}");
    assert!(parts.iter().all(|part| part.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())), "{value}");
    assert_eq!(parts[0], "00", "{value}");
}

#[tokio::test]
async fn python_computes_the_vector_of_rfc_4231_section_4_3() {
    let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(python_hmac_hex("Jefe", b"what do ya want for nothing?").await, expected);
}
