//! The receivers of docs/receiving.md, unchanged, with real deliveries.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::{Deployment, Received, Receiver};

/// Every profile with its own signature header.
const PRODUCTS: [&str; 5] = ["migma", "migomail", "magnetite", "metigan", "mumara"];

/// Reads [profile, headers, body, secret] from each line and prints the results of the two functions.
const DRIVE_JS: &str = r"
for (const line of require('node:fs').readFileSync(process.argv[1], 'utf8').split('\n').filter(Boolean)) {
  const [profile, headers, body, secret] = JSON.parse(line);
  const bytes = Buffer.from(body, 'base64');
  console.log(JSON.stringify([verify(headers, bytes, secret), verifyProduct(profile, headers, bytes, secret)]));
}";

const DRIVE_PYTHON: &str = r"
import json, sys
for line in open(sys.argv[1]):
    profile, headers, body, secret = json.loads(line)
    body = base64.b64decode(body)
    print(json.dumps([verify(headers, body, secret), verify_product(profile, headers, body, secret)]))
";

/// The blocks of the documentation in one language, one after the other.
fn snippets(language: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/receiving.md");
    let text = std::fs::read_to_string(path).expect("the documentation");
    let blocks = text.split("```").skip(1).step_by(2);
    let blocks: Vec<&str> = blocks.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect();
    assert!(!blocks.is_empty(), "no block in {language}");
    blocks.concat()
}

/// A delivery, unchanged or with a change, and the expected verdicts of `verify` and of the product's own rule.
struct Case {
    what: &'static str,
    profile: &'static str,
    headers: Value,
    body: Vec<u8>,
    secret: String,
    expected: (bool, bool),
}

fn cases(profile: &'static str, secret: &str, request: &Received) -> Vec<Case> {
    let headers: Value = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let case = |what, expected| {
        let (headers, body, secret) = (headers.clone(), request.body.clone(), secret.to_owned());
        Case { what, profile, headers, body, secret, expected }
    };
    let product = PRODUCTS.contains(&profile);
    let mut cases = vec![case("unchanged", (true, product))];
    let mut add = |what, product_passes: bool, change: &dyn Fn(&mut Case)| {
        let mut changed = case(what, (false, product && product_passes));
        change(&mut changed);
        cases.push(changed);
    };
    let token = profile == "mumara";
    add("another body", token, &|case| case.body.push(b' '));
    add("another secret", false, &|case| {
        let other = if case.secret.as_bytes()[8] == b'A' { "B" } else { "A" };
        case.secret.replace_range(8..9, other);
    });
    add("no secret", false, &|case| case.secret = String::new());
    add("no headers", false, &|case| case.headers = json!({}));
    add("another id", true, &|case| case.headers["webhook-id"] = json!("evt_other"));
    add("an old attempt", true, &|case| case.headers["webhook-timestamp"] = json!("1700000000"));
    add("no time", true, &|case| case.headers["webhook-timestamp"] = json!("soon"));
    add("a signature that is no text of ours", true, &|case| case.headers["webhook-signature"] = json!("v1,é v2,x"));
    cases
}

/// Guarantee (What deliveries look like): The documented receivers accept deliveries and refuse forgeries.
#[tokio::test]
async fn the_documented_receivers_accept_deliveries_and_refuse_forgeries() {
    let deployment = Deployment::start("receiving").await;
    let mut all = Vec::new();
    for profile in PRODUCTS.into_iter().chain(["standard"]) {
        let (tenant, receiver) = (deployment.tenant(profile).await, Receiver::start().await);
        for secret in [None, Some("our-own secret, without a prefix")] {
            let mut endpoint = json!({"name": "hook", "url": receiver.url("/"), "event_types": ["*"]});
            if let Some(secret) = secret {
                if profile == "standard" {
                    // The only signature of `standard` requires a secret of `whsec_` and base64.
                    continue;
                }
                endpoint["secret"] = json!(secret);
            }
            let endpoint = tenant.endpoint(endpoint).await;
            tenant.post(&format!("/v1/endpoints/{}/test", endpoint.id()), &json!({})).await;
            let request = receiver.next().await;
            check_rust(endpoint.secret(), &request);
            all.extend(cases(profile, endpoint.secret(), &request));
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let lines = folder.path().join("cases");
    let line = |case: &Case| {
        json!([case.profile, case.headers, BASE64_STANDARD.encode(&case.body), case.secret]).to_string() + "\n"
    };
    std::fs::write(&lines, all.iter().map(line).collect::<String>()).expect("a file");
    for (program, flag, source) in
        [("node", "-e", snippets("js") + DRIVE_JS), ("python3", "-c", snippets("python") + DRIVE_PYTHON)]
    {
        let output = Command::new(program).args([flag, &source]).arg(&lines).output().await.expect(program);
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        let printed = String::from_utf8(output.stdout).expect("text");
        let verdicts: Vec<(bool, bool)> =
            printed.lines().map(|line| serde_json::from_str(line).expect("a pair")).collect();
        assert_eq!(verdicts.len(), all.len(), "{program}: {printed}");
        for (case, verdict) in all.iter().zip(verdicts) {
            // A product's own rule may ignore id, time and `webhook-signature`.
            assert_eq!(verdict, case.expected, "{program}: {}: {} {}", case.profile, case.what, case.headers);
        }
    }
}

include!("../../docs/examples/verify.rs");

fn check_rust(secret: &str, request: &Received) {
    let headers = request.header_map();
    assert!(verify(&headers, &request.body, secret));
    assert!(!verify(&headers, &[&request.body[..], b" "].concat(), secret));
    assert!(!verify(&HeaderMap::new(), &request.body, secret));
}

#[test]
fn the_documented_rust_receiver_is_the_compiled_one() {
    assert_eq!(snippets("rust"), include_str!("../../docs/examples/verify.rs"));
}
