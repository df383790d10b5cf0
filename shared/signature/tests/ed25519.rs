//! Compares Ed25519 signatures with another implementation, ring.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postrider_model::time::UnixMillis;
use postrider_profiles::{Encoding, SchemeKind, SignatureScheme, SignatureTemplate, SignedContent};
use postrider_signature::{KeyPair, NextSecret, PreviousSecret, SignedAttempt, Signer, SigningSecrets};
use ring::signature::{ED25519, UnparsedPublicKey};

const AT: UnixMillis = UnixMillis(1_703_123_456_789);
const BODY: &[u8] = r#"{"type":"email.sent","data":{"name":"Zoë ☃"}}"#.as_bytes();
const ATTEMPT: SignedAttempt<'static, 'static> =
    SignedAttempt { scheme: None, standard_headers: true, event_id: "evt_1", at: AT, body: BODY };

/// Returns whether each signature of the header verifies with the public key.
fn verifies(pair: &KeyPair, header: &str, body: &[u8]) -> Vec<bool> {
    let public = STANDARD.decode(pair.public.strip_prefix("whpk_").unwrap()).unwrap();
    let message = [b"evt_1.1703123456.", body].concat();
    let one = |signature: &str| {
        let signature = STANDARD.decode(signature.strip_prefix("v1a,").unwrap()).unwrap();
        UnparsedPublicKey::new(&ED25519, &public).verify(&message, &signature).is_ok()
    };
    header.split(' ').map(one).collect()
}

fn header(secrets: &SigningSecrets) -> String {
    let signer = Signer::ed25519(secrets).unwrap();
    let headers = signer.headers(&ATTEMPT);
    let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["webhook-id", "webhook-timestamp", "webhook-signature"]);
    headers[2].1.clone()
}

#[test]
fn ring_verifies_our_signatures_and_no_forgery() {
    let (pair, other) = (KeyPair::generate(), KeyPair::generate());
    let header = header(&SigningSecrets::single(pair.private.clone()));
    assert_eq!(verifies(&pair, &header, BODY), [true]);
    assert_eq!(verifies(&pair, &header, b"{}"), [false]);
    assert_eq!(verifies(&other, &header, BODY), [false]);
}

#[test]
fn while_a_rotation_overlaps_both_keys_sign() {
    let (old, new, next) = (KeyPair::generate(), KeyPair::generate(), KeyPair::generate());
    let mut secrets = SigningSecrets {
        current: new.private.clone(),
        previous: vec![PreviousSecret { secret: old.private.clone(), valid_until: UnixMillis(AT.0 + 1) }],
        next: Some(NextSecret {
            secret: next.private.clone(),
            effective_at: UnixMillis(AT.0 + 1),
            overlap_until: UnixMillis(AT.0 + 1),
        }),
    };
    let both = header(&secrets);
    assert_eq!(verifies(&new, &both, BODY), [true, false]);
    assert_eq!(verifies(&old, &both, BODY), [false, true]);
    assert_eq!(verifies(&next, &both, BODY), [false, false]);

    secrets.previous.clear();
    secrets.next = Some(NextSecret { secret: next.private.clone(), effective_at: AT, overlap_until: AT });
    assert_eq!(verifies(&next, &header(&secrets), BODY), [true]);
}

#[test]
fn a_private_key_signs_no_header_of_a_product() {
    let template = SignatureTemplate::parse("{signature}").unwrap();
    let kind = SchemeKind::Hmac { encoding: Encoding::Hex, signed: SignedContent::Body, template };
    let scheme = SignatureScheme { header: "X-Signature".into(), kind };
    let signer = Signer::ed25519(&SigningSecrets::single(KeyPair::generate().private)).unwrap();
    assert_eq!(signer.headers(&SignedAttempt { scheme: Some(&scheme), standard_headers: false, ..ATTEMPT }), []);
    assert!(Signer::ed25519(&SigningSecrets::single("whsec_c2VjcmV0".into())).is_err());
}
