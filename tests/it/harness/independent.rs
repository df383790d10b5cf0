//! Signatures checked by independent code: the `standardwebhooks` crate, ring, and Node's `crypto` and Python's `hmac` in one
//! process for many requests.

use std::process::Stdio;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};
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

/// Checks `webhook-signature`, `webhook-id` and `webhook-timestamp` with the crate `standardwebhooks`.
#[track_caller]
pub(crate) fn check_with_crate(secret: &str, request: &Received) {
    verify(&Webhook::new(secret).expect("a secret of Standard Webhooks"), request);
}

/// Checks the same with a secret without prefix, whose bytes are the key.
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

/// For each `v1a` signature of `webhook-signature`, whether ring verifies it with a `whpk_` key.
pub(crate) fn verified_by_ed25519(public_key: &str, request: &Received) -> Vec<bool> {
    let key = BASE64_STANDARD.decode(public_key.strip_prefix("whpk_").expect("a public key")).expect("base64");
    let key = UnparsedPublicKey::new(&ED25519, key);
    let message = format!("{}.{}.", request.header("webhook-id"), request.header("webhook-timestamp"));
    let message = [message.as_bytes(), &request.body].concat();
    let signatures = request.header("webhook-signature").split(' ');
    let decode = |text: &str| BASE64_STANDARD.decode(text.strip_prefix("v1a,").expect("v1a")).expect("base64");
    signatures.map(|signature| key.verify(&message, &decode(signature)).is_ok()).collect()
}

/// HMAC-SHA256 keyed with the secret's text, in hex, by Python.
pub(crate) async fn python_hmac_hex(secret: &str, message: &[u8]) -> String {
    python("hex", secret, message).await
}

/// HMAC-SHA256 keyed with the secret's text, in base64, by Python.
pub(crate) async fn python_hmac_base64(secret: &str, message: &[u8]) -> String {
    python("base64", secret, message).await
}

/// HMAC-SHA256 keyed with the decoded bytes of a `whsec_` secret, in base64, by Python.
pub(crate) async fn python_hmac_base64_of_whsec(secret: &str, message: &[u8]) -> String {
    python("whsec", secret, message).await
}

async fn python(form: &str, secret: &str, message: &[u8]) -> String {
    let input = [secret.as_bytes(), b"\n", message].concat();
    run("python3", &["-c", PYTHON, form], input).await.trim().to_owned()
}

/// Runs a program to its end and returns what it printed.
async fn run(program: &str, arguments: &[&str], input: Vec<u8>) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} is needed, it checks signatures independently: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    let feeding = tokio::spawn(async move { stdin.write_all(&input).await });
    let output = child.wait_with_output().await.expect("it ends");
    assert!(output.status.success(), "{program}: {}", output.status);
    feeding.await.expect("no panic").expect("it reads everything");
    String::from_utf8(output.stdout).expect("text")
}

/// A language that receivers are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// Node.js
    JavaScript,
    /// CPython
    Python,
}

impl Language {
    /// Whether each request passes the product's own check with its secret, in one process.
    pub(crate) async fn verify(self, product: &str, cases: &[Case]) -> Vec<bool> {
        let lines: Vec<u8> = cases.iter().flat_map(Case::line).collect();
        let printed = match self {
            Self::JavaScript => run("node", &["-e", include_str!("../verifiers/verify.js"), product], lines).await,
            Self::Python => run("python3", &["-c", include_str!("../verifiers/verify.py"), product], lines).await,
        };
        let verdicts: Vec<bool> = printed.lines().map(|line| line == "true").collect();
        assert_eq!(verdicts.len(), cases.len(), "{self:?}: {printed}");
        verdicts
    }

    /// Reads and writes JSON texts in the language: each parsed and printed again, compactly.
    pub(crate) async fn reprint(self, texts: &[String]) -> Vec<String> {
        let lines = texts.iter().flat_map(|text| [json!(text).to_string(), "\n".into()]).collect::<String>();
        let printed = match self {
            Self::JavaScript => run("node", &["-e", REPRINT_JAVASCRIPT], lines.into_bytes()).await,
            Self::Python => run("python3", &["-c", REPRINT_PYTHON], lines.into_bytes()).await,
        };
        printed.lines().map(|line| serde_json::from_str(line).expect("a string")).collect()
    }
}

/// Each line of stdin is a text as a JSON string; so is each line of output.
const REPRINT_JAVASCRIPT: &str = r#"
for (const line of require('node:fs').readFileSync(0, 'utf8').split('\n').filter(Boolean))
  console.log(JSON.stringify(JSON.stringify(JSON.parse(JSON.parse(line)))));
"#;
const REPRINT_PYTHON: &str = r#"
import json, sys
for line in sys.stdin:
    print(json.dumps(json.dumps(json.loads(json.loads(line)), separators=(",", ":"))))
"#;

/// A request and the secret to check it with.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    secret: String,
    headers: Value,
    body: Vec<u8>,
}

impl Case {
    /// The request.
    pub(crate) fn of(secret: &str, request: &Received) -> Self {
        let headers: serde_json::Map<_, _> =
            request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), json!(value))).collect();
        Self { secret: secret.into(), headers: headers.into(), body: request.body.clone() }
    }

    fn line(&self) -> Vec<u8> {
        let body = BASE64_STANDARD.encode(&self.body);
        let mut line = json!({"secret": self.secret, "headers": self.headers, "body": body}).to_string().into_bytes();
        line.push(b'\n');
        line
    }

    /// The same case with another first letter in the name of the body's first member.
    fn forged(&self) -> Self {
        let mut forged = self.clone();
        forged.body[2] ^= 1;
        forged
    }
}

/// Checks in both languages that every request passes its product's check and that of Standard Webhooks, and that none passes
/// with another secret or another body. (A token does not cover the body.)
pub(crate) async fn check_all(product: &str, secret: &str, requests: &[Received]) {
    let cases: Vec<Case> = requests.iter().map(|request| Case::of(secret, request)).collect();
    let other = match secret.strip_prefix("whsec_") {
        Some(encoded) => format!("whsec_AAAA{encoded}"),
        None => format!("x{secret}"),
    };
    let strange: Vec<Case> = cases.iter().map(|case| Case { secret: other.clone(), ..case.clone() }).collect();
    let forged: Vec<Case> = cases.iter().map(Case::forged).collect();
    let all = [cases, strange, forged].concat();
    for language in [Language::JavaScript, Language::Python] {
        for rule in [product, "standard"] {
            let verdicts = language.verify(rule, &all).await;
            let (genuine, rest) = verdicts.split_at(requests.len());
            let (strange, forged) = rest.split_at(requests.len());
            let token = rule == "mumara";
            assert!(genuine.iter().all(|passes| *passes), "{language:?} refuses {rule}: {genuine:?}");
            assert!(strange.iter().all(|passes| !passes), "{language:?} takes another secret ({rule}): {strange:?}");
            assert!(forged.iter().all(|passes| *passes == token), "{language:?}, another body ({rule}): {forged:?}");
        }
    }
}

/// Checks the form of W3C Trace Context, section 3.2: `00-<32 hex>-<16 hex>-<2 hex>`.
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
