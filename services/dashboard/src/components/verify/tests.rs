//! Runs the snippets, filled for each product, with requests that the shipped signer signs.

use std::time::Duration;

use postrider_model::time::UnixMillis;
use postrider_profiles::{Profiles, SignatureScheme};
use postrider_signature::{SignedAttempt, Signer, SigningSecrets};
use postrider_testkit::receivers::{Functions, Language, Request};

use super::*;

const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const OTHER_SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDI=";
const BODY: &str = r#"{"type":"a.b","data":{"name":"Zoë","amount":1.50}}"#;
/// The header that an endpoint chose for its token.
const OWN_HEADER: &str = "X-Own-Token";

#[test]
fn each_product_has_its_own_snippets() {
    let profiles = Profiles::builtin();
    for (name, expected) in [
        ("migma", "headers['x-migma-signature']"),
        ("migomail", "'sha256=' + createHmac"),
        ("metigan", "part.startsWith('t=')"),
        ("magnetite", "headers['x-magnetite-signature']"),
        ("standard", "'webhook-signature'"),
    ] {
        let all = snippets(profiles.get(name).unwrap(), None);
        assert!(all[0].1.contains(expected), "{name}: {}", all[0].1);
        assert!(all.iter().all(|(_, code)| !code.contains('@')), "{name}: every name is replaced");
        assert!(all.iter().all(|(_, code)| code.lines().all(|line| line.len() <= 120)), "{name}: short lines");
    }
    let [(_, node), ..] = snippets(profiles.get("mumara").unwrap(), Some(OWN_HEADER));
    assert!(!node.contains("createHmac") && node.contains("x-own-token"), "{node}");
}

/// The profiles of all products, and two with base64, which no product uses.
fn all_profiles() -> Vec<Profile> {
    let profiles = Profiles::builtin();
    let names = ["migma", "migomail", "metigan", "magnetite", "mumara", "standard"];
    let products = names.map(|name| Profile::clone(profiles.get(name).unwrap()));
    let in_base64 = ["migomail", "metigan"].map(|name| {
        let mut profile = Profile::clone(profiles.get(name).unwrap());
        if let Some(SignatureScheme { kind: SchemeKind::Hmac { encoding, .. }, .. }) = &mut profile.signature {
            *encoding = Encoding::Base64;
        }
        profile
    });
    products.into_iter().chain(in_base64).collect()
}

/// A signed request, as a receiver gets it.
fn signed(profile: &Profile, at: UnixMillis) -> Request {
    let secrets = SigningSecrets::single(SECRET.into());
    let signer = Signer::new(&secrets).unwrap().with_token_header(Some(OWN_HEADER.into()));
    let attempt = SignedAttempt {
        scheme: profile.signature.as_ref(),
        standard_headers: profile.standard_headers,
        event_id: "evt_1",
        at,
        body: BODY.as_bytes(),
    };
    let headers = signer.headers(&attempt).into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
    Request { profile: profile.name.clone(), headers: headers.collect(), body: BODY.into(), secret: SECRET.into() }
}

/// Requests, each with a description and whether it is genuine.
fn cases(profile: &Profile) -> Vec<(&'static str, Request, bool)> {
    let token = profile.sends_token();
    let checks_time = match &profile.signature {
        None => true,
        Some(scheme) => matches!(scheme.kind, SchemeKind::Hmac { signed: SignedContent::TimestampBody, .. }),
    };
    let (now, old) = (UnixMillis::now(), Duration::from_secs(600));
    let genuine = signed(profile, now);
    let past = signed(profile, UnixMillis(now.0 - i64::try_from(old.as_millis()).unwrap()));
    let mut cases = vec![
        ("genuine", genuine.clone(), true),
        ("old", past, !checks_time),
        ("another body", Request { body: format!("{BODY} ").into(), ..genuine.clone() }, token),
        ("another secret", Request { secret: OTHER_SECRET.into(), ..genuine.clone() }, false),
        ("no headers", Request { headers: Vec::new(), ..genuine.clone() }, false),
    ];
    let header = profile.signature.as_ref().map_or("webhook-signature", |scheme| &scheme.header).to_ascii_lowercase();
    let header = if token { OWN_HEADER.to_ascii_lowercase() } else { header };
    let value = genuine.headers.iter().find(|(name, _)| *name == header).unwrap().1.clone();
    for (what, value) in [("not ASCII", "é"), ("no signature", "t=soon,v1=é"), ("cut", &value[..value.len() - 1])] {
        let mut request = genuine.clone();
        request.set(&header, value);
        cases.push((what, request, false));
    }
    cases
}

#[test]
fn the_snippets_accept_signed_requests_and_refuse_others() {
    std::thread::scope(|scope| {
        for language in Language::ALL {
            scope.spawn(move || all_profiles().iter().for_each(|profile| check(profile, language)));
        }
    });
}

fn check(profile: &Profile, language: Language) {
    let snippets = snippets(profile, Some(OWN_HEADER));
    let code = &snippets.iter().find(|(name, _)| *name == language.name()).unwrap().1;
    let functions = if profile.sends_token() { Functions::VerifyToken } else { Functions::Verify };
    let cases = cases(profile);
    let requests: Vec<Request> = cases.iter().map(|(_, request, _)| request.clone()).collect();
    let verdicts = language.verdicts(code, functions, &requests).unwrap();
    for ((what, request, expected), verdict) in cases.iter().zip(verdicts) {
        assert_eq!(
            verdict,
            [*expected],
            "{} for {}: {what} {:?}\n{code}",
            language.name(),
            profile.name,
            request.headers
        );
    }
}

fn value<'a>(request: &'a Request, name: &str) -> &'a str {
    request.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
}

fn header_map(request: &Request) -> http::HeaderMap {
    let header = |(name, value): &(String, String)| {
        (name.parse::<http::HeaderName>().unwrap(), http::HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    request.headers.iter().map(header).collect()
}

/// Defines a module with a compiled snippet and a function that calls it for a request.
macro_rules! compiled {
    ($name:ident, $file:literal, $call:expr) => {
        mod $name {
            include!($file);

            pub(super) const CODE: &str = include_str!($file);

            pub(super) fn call(request: &super::Request) -> bool {
                let call: fn(&super::Request) -> bool = $call;
                call(request)
            }
        }
    };
}

compiled!(migomail, "../snippets/compiled/migomail.rs", |request| {
    verify(&request.body, super::value(request, "x-migomail-signature"), &request.secret)
});
compiled!(metigan, "../snippets/compiled/metigan.rs", |request| {
    verify(&request.body, super::value(request, "x-webhook-signature"), &request.secret)
});
compiled!(mumara, "../snippets/compiled/mumara.rs", |request| {
    verify(super::value(request, "x-own-token"), &request.secret)
});
compiled!(standard, "../snippets/compiled/standard.rs", |request| {
    verify(&request.body, &super::header_map(request), &request.secret)
});

/// A product of each kind.
#[test]
fn the_snippets_in_rust_accept_signed_requests_and_refuse_others() {
    check_compiled("migomail", migomail::CODE, migomail::call);
    check_compiled("metigan", metigan::CODE, metigan::call);
    check_compiled("mumara", mumara::CODE, mumara::call);
    check_compiled("standard", standard::CODE, standard::call);
}

fn check_compiled(name: &str, code: &str, call: fn(&Request) -> bool) {
    let profiles = Profiles::builtin();
    let profile = profiles.get(name).unwrap();
    let snippets = snippets(profile, None);
    let shown = &snippets.iter().find(|(language, _)| *language == "Rust").unwrap().1;
    assert_eq!(shown, code, "snippets/compiled/{name}.rs is what the page shows");
    for (what, request, expected) in cases(profile) {
        assert_eq!(call(&request), expected, "{name}: {what}");
    }
}
