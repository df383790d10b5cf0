//! Measures how long it takes to sign an attempt, for each kind of signature.

use std::hint::black_box;

use criterion::Criterion;
use postrider_model::time::UnixMillis;
use postrider_profiles::{Encoding, SchemeKind, SignatureScheme, SignatureTemplate, SignedContent};
use postrider_signature::{KeyPair, PreviousSecret, SignedAttempt, Signer, SigningSecrets, generate_secret};

/// An attempt's body.
const BODY: [u8; 500] = [b'x'; 500];
const AT: UnixMillis = UnixMillis(1_703_123_456_789);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let secrets = SigningSecrets::single(generate_secret());
    let previous = PreviousSecret { secret: generate_secret(), valid_until: UnixMillis(AT.0 + 1) };
    let overlapping = Signer::new(&SigningSecrets { previous: vec![previous], ..secrets.clone() }).unwrap();
    let pair = SigningSecrets::single(KeyPair::generate().private);
    let (hmac, ed25519) = (Signer::new(&secrets).unwrap(), Signer::ed25519(&pair).unwrap());

    let hex = scheme("sha256={signature}", Encoding::Hex, SignedContent::Body);
    let base64 = scheme("t={timestamp},v1={signature}", Encoding::Base64, SignedContent::TimestampBody);
    let token = SignatureScheme { header: "X-Token".into(), kind: SchemeKind::Token };
    for (name, signer, scheme, standard_headers) in [
        ("webhook-signature, HMAC", &hmac, None, true),
        ("webhook-signature, two secrets", &overlapping, None, true),
        ("webhook-signature, Ed25519", &ed25519, None, true),
        ("body in hex", &hmac, Some(&hex), false),
        ("time and body in base64", &hmac, Some(&base64), false),
        ("token", &hmac, Some(&token), false),
        ("body in hex and webhook-signature", &hmac, Some(&hex), true),
    ] {
        criterion.bench_function(&format!("signing/{name}"), |bencher| {
            let attempt = SignedAttempt { scheme, standard_headers, event_id: "evt_1", at: AT, body: &BODY };
            bencher.iter(|| signer.headers(black_box(&attempt)));
        });
    }
    criterion.bench_function("signing/preparing a secret", |bencher| bencher.iter(|| Signer::new(black_box(&secrets))));
    criterion.final_summary();
}

fn scheme(template: &str, encoding: Encoding, signed: SignedContent) -> SignatureScheme {
    let template = SignatureTemplate::parse(template).unwrap();
    SignatureScheme { header: "X-Signature".into(), kind: SchemeKind::Hmac { encoding, signed, template } }
}
