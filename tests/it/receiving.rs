//! The receivers of docs/receiving.md, unchanged, with real deliveries.

use std::path::Path;

use postrider_testkit::receivers::{Functions, Language, Request};
use serde_json::json;

use crate::harness::{Deployment, Received, Receiver};

/// Every profile with its own signature header.
const PRODUCTS: [&str; 5] = ["migma", "migomail", "magnetite", "metigan", "mumara"];

/// The documented code in a language.
fn documented(language: Language) -> String {
    match language {
        Language::Node => snippets("js"),
        Language::Python => snippets("python"),
        Language::Php => include_str!("../../docs/examples/verify.php").to_owned(),
        Language::Go => include_str!("../../docs/examples/verify.go").to_owned(),
        Language::Ruby => include_str!("../../docs/examples/verify.rb").to_owned(),
        Language::Java => include_str!("../../docs/examples/WebhookSignature.java").to_owned(),
    }
}

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
    request: Request,
    expected: [bool; 2],
}

fn cases(profile: &'static str, secret: &str, received: &Received) -> Vec<Case> {
    let headers = received.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    let request = Request { profile: profile.into(), headers, body: received.body.clone(), secret: secret.into() };
    let product = PRODUCTS.contains(&profile);
    let mut cases = vec![Case { what: "unchanged", request: request.clone(), expected: [true, product] }];
    let mut add = |what, product_passes: bool, change: &dyn Fn(&mut Request)| {
        let mut request = request.clone();
        change(&mut request);
        cases.push(Case { what, request, expected: [false, product && product_passes] });
    };
    let token = profile == "mumara";
    add("another body", token, &|request| request.body.push(b' '));
    add("another secret", false, &|request| {
        let other = if request.secret.as_bytes()[8] == b'A' { "B" } else { "A" };
        request.secret.replace_range(8..9, other);
    });
    add("no secret", false, &|request| request.secret = String::new());
    add("no headers", false, &|request| request.headers.clear());
    add("another id", true, &|request| request.set("webhook-id", "evt_other"));
    add("an old attempt", true, &|request| request.set("webhook-timestamp", "1700000000"));
    add("no time", true, &|request| request.set("webhook-timestamp", "soon"));
    add("a signature that is no text of ours", true, &|request| request.set("webhook-signature", "v1,é v2,x"));
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
    let requests: Vec<Request> = all.iter().map(|case| case.request.clone()).collect();
    for language in Language::ALL {
        let verdicts = language.verdicts(&documented(language), Functions::Documented, &requests);
        for (case, verdict) in all.iter().zip(verdicts.expect("verdicts")) {
            let Case { what, request, expected } = case;
            // A product's own rule may ignore id, time and `webhook-signature`.
            assert_eq!(verdict, expected, "{}: {}: {what} {:?}", language.name(), request.profile, request.headers);
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
