//! Compares signatures with Python's hmac and the `standardwebhooks` crate, and verifies them with this crate's verifier.

use http::HeaderMap;
use postrider_model::time::UnixMillis;
use postrider_profiles::{Encoding, SchemeKind, SignatureScheme, SignatureTemplate, SignedContent};
use postrider_signature::verify::{self, NotVerified};
use postrider_signature::{NextSecret, PreviousSecret, SignedAttempt, Signer, SigningSecrets, generate_secret};
use proptest::prelude::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const BODY: &[u8] = r#"{"type":"email.sent","data":{"name":"Zoë ☃"}}"#.as_bytes();
const AT: UnixMillis = UnixMillis(1_703_123_456_789);
const ATTEMPT: SignedAttempt<'static, 'static> =
    SignedAttempt { scheme: None, standard_headers: true, event_id: "evt_123", at: AT, body: BODY };

fn hmac(template: &str, encoding: Encoding, signed: SignedContent) -> SignatureScheme {
    let template = SignatureTemplate::parse(template).unwrap();
    SignatureScheme { header: "X-Signature".into(), kind: SchemeKind::Hmac { encoding, signed, template } }
}

fn token() -> SignatureScheme {
    SignatureScheme { header: "X-Token".into(), kind: SchemeKind::Token }
}

fn signer(secret: &str) -> Signer {
    Signer::new(&SigningSecrets::single(secret.into())).unwrap()
}

/// Returns the signature headers of an attempt.
fn signed(signer: &Signer, attempt: &SignedAttempt<'_, '_>) -> Vec<(String, String)> {
    signer.headers(attempt).into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn value(headers: &[(String, String)], name: &str) -> Option<String> {
    headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
}

/// Signs with one product scheme and checks the value. This crate's verifier must accept the value and refuse another secret.
#[track_caller]
fn check_scheme(scheme: &SignatureScheme, expected: &str) {
    let headers = signed(&signer(SECRET), &SignedAttempt { scheme: Some(scheme), standard_headers: false, ..ATTEMPT });
    assert_eq!(headers, [(scheme.header.clone(), expected.to_owned())]);
    let lookup = |name: &str| (name == scheme.header.to_ascii_lowercase()).then_some(expected);
    assert_eq!(verify::scheme(scheme, SECRET, lookup, BODY, AT), Ok(()));
    assert_eq!(verify::scheme(scheme, "other", lookup, BODY, AT), Err(NotVerified::WrongSignature));
}

// The expected values come from Python 3: `hmac.new(key, message, hashlib.sha256)`.
#[test]
fn product_schemes_sign_with_the_secrets_text() {
    use Encoding::{Base64, Hex};
    use SignedContent::{Body, TimestampBody};
    let hex = "3ad1246f38246793f443ce19c3cd3b14a2bbbaaafd9e11637b82fd9dac9ce4ae";
    check_scheme(&hmac("{signature}", Hex, Body), hex);
    check_scheme(&hmac("sha256={signature}", Hex, Body), &format!("sha256={hex}"));
    check_scheme(
        &hmac("t={timestamp},v1={signature}", Hex, TimestampBody),
        "t=1703123456,v1=206d4462f368596043b334b8d695c29b6a5c007a99c38fceae98ad772836019d",
    );
    check_scheme(&hmac("{signature}", Base64, Body), "OtEkbzgkZ5P0Q84Zw807FKK7uqr9nhFje4L9nayc5K4=");
    check_scheme(&token(), SECRET);
}

#[test]
fn webhook_signature_decodes_whsec_secrets_and_uses_other_texts() {
    let signature = |secret: &str| {
        let headers = signed(&signer(secret), &ATTEMPT);
        assert_eq!(
            headers[..2],
            [("webhook-id".into(), "evt_123".into()), ("webhook-timestamp".into(), "1703123456".into())]
        );
        assert_eq!(headers.len(), 3);
        value(&headers, "webhook-signature").unwrap()
    };
    assert_eq!(signature(SECRET), "v1,cwJYtO9iQcaOnp4u9rT8A6LF4oH3KJdj6F6yvq71bCA=");
    assert_eq!(signature("plain secret"), "v1,WG+a9u2DbO/j07rcB3DiVhRKkPsIiYDEAO+qZnXDNko=");
}

#[test]
fn an_endpoint_can_choose_the_header_of_its_token() {
    let signer = signer("tok").with_token_header(Some("X-My-Token".into()));
    let token = token();
    let headers = signed(&signer, &SignedAttempt { scheme: Some(&token), standard_headers: false, ..ATTEMPT });
    assert_eq!(headers, [("X-My-Token".into(), "tok".into())]);
}

#[test]
fn every_active_secret_signs_the_standard_header_in_a_rotation() {
    let secrets = SigningSecrets {
        current: "new".into(),
        previous: vec![
            PreviousSecret { secret: "old".into(), valid_until: UnixMillis(AT.0 + 1) },
            PreviousSecret { secret: "older".into(), valid_until: UnixMillis(AT.0 + 15) },
        ],
        next: Some(NextSecret {
            secret: "later".into(),
            effective_at: UnixMillis(AT.0 + 10),
            overlap_until: UnixMillis(AT.0 + 20),
        }),
    };
    let signer = Signer::new(&secrets).unwrap();
    let scheme = hmac("{signature}", Encoding::Hex, SignedContent::Body);
    let at = |offset: i64| {
        let now = UnixMillis(AT.0 + offset);
        let headers = signed(&signer, &SignedAttempt { scheme: Some(&scheme), at: now, ..ATTEMPT });
        let get = |name: &str| headers.iter().find(|(n, _)| n.to_ascii_lowercase() == name).map(|(_, v)| v.as_str());
        let takes = |secret: &&str| {
            (verify::standard(secret, get, BODY, now).is_ok(), verify::scheme(&scheme, secret, get, BODY, now).is_ok())
        };
        ["older", "old", "new", "later"].iter().map(takes).collect::<Vec<_>>()
    };
    let (no, both, standard_only) = ((false, false), (true, true), (true, false));
    assert_eq!(at(0), [standard_only, standard_only, both, no]);
    assert_eq!(at(1), [standard_only, no, both, no]);
    assert_eq!(at(10), [standard_only, no, standard_only, both]);
    assert_eq!(at(15), [no, no, standard_only, both]);
    assert_eq!(at(20), [no, no, no, both]);
}

#[test]
fn verification_says_what_is_wrong() {
    let headers = signed(&signer(SECRET), &ATTEMPT);
    let without = |absent: &'static str| {
        let headers = &headers;
        move |name: &str| headers.iter().find(|(n, _)| n == name && n != absent).map(|(_, v)| v.as_str())
    };
    assert_eq!(verify::standard(SECRET, without(""), BODY, AT), Ok(()));
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let expected = Err(NotVerified::MissingHeader(name.into()));
        assert_eq!(verify::standard(SECRET, without(name), BODY, AT), expected);
    }
    assert_eq!(verify::standard(SECRET, without(""), b"{}", AT), Err(NotVerified::WrongSignature));
    let later = |seconds: i64| verify::standard(SECRET, without(""), BODY, UnixMillis(AT.0 + seconds * 1000));
    assert_eq!(later(300), Ok(()));
    assert_eq!(later(301), Err(NotVerified::Stale { seconds: 301 }));
    assert_eq!(later(-301), Err(NotVerified::Stale { seconds: -301 }));

    let stamped = hmac("t={timestamp},v1={signature}", Encoding::Hex, SignedContent::TimestampBody);
    let malformed = |value: &'static str| verify::scheme(&stamped, SECRET, move |_| Some(value), BODY, AT);
    assert!(matches!(malformed("v1=00"), Err(NotVerified::Malformed { .. })));
    assert!(matches!(malformed("t=soon,v1=00"), Err(NotVerified::Malformed { .. })));
    assert!(matches!(malformed("t=1,v1=00"), Err(NotVerified::Stale { .. })));
}

#[test]
fn nothing_prints_a_secret() {
    let secrets = SigningSecrets {
        current: "current-secret".into(),
        previous: vec![PreviousSecret { secret: "previous-secret".into(), valid_until: AT }],
        next: Some(NextSecret { secret: "next-secret".into(), effective_at: AT, overlap_until: AT }),
    };
    let printed = format!("{secrets:?} {:?}", Signer::new(&secrets).unwrap());
    assert!(!printed.contains("-secret"), "{printed}");
}

#[test]
fn the_standardwebhooks_crate_accepts_our_signatures() {
    use secrecy::ExposeSecret as _;
    let secret = generate_secret();
    let signer = Signer::new(&SigningSecrets::single(secret.clone())).unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in signed(&signer, &SignedAttempt { at: UnixMillis::now(), ..ATTEMPT }) {
        headers.insert(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
    }
    let webhook = standardwebhooks::Webhook::new(secret.expose_secret()).unwrap();
    webhook.verify(BODY, &headers).unwrap();
    assert!(webhook.verify(b"{}", &headers).is_err());
}

proptest! {
    #[test]
    fn our_signatures_equal_those_of_the_standardwebhooks_crate(key in prop::collection::vec(any::<u8>(), 1..64), body in ".{0,200}", seconds in 0..4_000_000_000_i64) {
        use base64::Engine as _;
        let secret = format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(&key));
        let at = UnixMillis(seconds * 1000 + 999);
        let headers = signed(&signer(&secret), &SignedAttempt { event_id: "evt_1", at, body: body.as_bytes(), ..ATTEMPT });
        let theirs = standardwebhooks::Webhook::from_bytes(key).unwrap().sign("evt_1", seconds, body.as_bytes()).unwrap();
        prop_assert_eq!(value(&headers, "webhook-signature").unwrap(), theirs);
    }

    #[test]
    fn any_change_of_the_body_is_detected(body in prop::collection::vec(any::<u8>(), 1..100), at in any::<prop::sample::Index>(), by in 1..=255_u8) {
        let scheme = hmac("sha256={signature}", Encoding::Hex, SignedContent::Body);
        let headers = signed(&signer(SECRET), &SignedAttempt { scheme: Some(&scheme), body: &body, ..ATTEMPT });
        let get = |name: &str| headers.iter().find(|(n, _)| n.to_ascii_lowercase() == name).map(|(_, v)| v.as_str());
        let mut other = body.clone();
        other[at.index(body.len())] ^= by;
        prop_assert_eq!(verify::standard(SECRET, get, &body, AT), Ok(()));
        prop_assert_eq!(verify::standard(SECRET, get, &other, AT), Err(NotVerified::WrongSignature));
        prop_assert_eq!(verify::scheme(&scheme, SECRET, get, &other, AT), Err(NotVerified::WrongSignature));
    }
}
