//! The client with a stand-in for a provider: which ID tokens, codes and answers it accepts.

mod stand_in;

use std::time::{SystemTime, UNIX_EPOCH};

use postrider_oidc::{Flow, Identity, OperatorRule, Provider, ProviderConfig, SignInError};
use serde_json::{Value, json};

use crate::stand_in::{CLIENT, SECRET, Sign, StandIn};

fn config(issuer: &str) -> ProviderConfig {
    ProviderConfig {
        issuer: issuer.to_owned(),
        client_id: CLIENT.to_owned(),
        client_secret: Some(SECRET.into()),
        scopes: "openid email profile".to_owned(),
        redirect_url: "https://hooks.example.com/dashboard/sign-in/oidc/callback".parse().unwrap(),
        ca_file: None,
        rule: OperatorRule { emails: "jane@example.com".parse().unwrap(), claim: "groups=operators".parse().ok() },
        label: "Example".to_owned(),
    }
}

/// A provider and its client.
async fn both(alg: &'static str) -> (StandIn, Provider) {
    let stand_in = StandIn::start(alg).await;
    let provider = Provider::new(config(stand_in.issuer())).unwrap();
    (stand_in, provider)
}

/// Signs in at the provider, and returns the code.
async fn code(stand_in: &StandIn, provider: &Provider, flow: &Flow) -> String {
    let page = provider.sign_in_url(flow).await.unwrap();
    let back: url::Url = stand_in.visit(page.as_str()).await.parse().unwrap();
    let parameter = |name: &str| back.query_pairs().find(|(found, _)| found == name).unwrap().1.into_owned();
    assert!(flow.has_state(&parameter("state")));
    assert_eq!(parameter("iss"), stand_in.issuer());
    parameter("code")
}

/// Signs in once.
async fn sign_in(stand_in: &StandIn, provider: &Provider) -> Result<Identity, SignInError> {
    let flow = Flow::begin();
    let code = code(stand_in, provider, &flow).await;
    provider.identify(&flow, &code, Some(stand_in.issuer())).await
}

#[track_caller]
fn assert_refused(answer: Result<Identity, SignInError>, words: &str) {
    match answer {
        Err(SignInError::Invalid(reason)) => assert!(reason.contains(words), "{reason:?} lacks {words:?}"),
        other => panic!("expected a refusal with {words:?}, got {other:?}"),
    }
}

#[tokio::test]
async fn a_person_is_identified_with_each_kind_of_key() {
    for alg in ["ES256", "RS256", "PS256", "EdDSA"] {
        let (stand_in, provider) = both(alg).await;
        let identity = sign_in(&stand_in, &provider).await.unwrap_or_else(|error| panic!("{alg}: {error}"));
        assert_eq!((identity.subject.as_str(), identity.email.as_deref()), ("subject-1", Some("jane@example.com")));
        assert_eq!((identity.issuer.as_str(), identity.name.as_str()), (stand_in.issuer(), "jane@example.com"));
        sign_in(&stand_in, &provider).await.unwrap();
        assert_eq!((stand_in.requests("/keys"), stand_in.requests("/.well-known/openid-configuration")), (1, 1));
    }
}

#[tokio::test]
async fn a_token_with_a_wrong_claim_is_refused() {
    let (stand_in, provider) = both("ES256").await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let other = "https://other.example";
    let cases: [(Value, &str); 17] = [
        (json!({"nonce": "another"}), "nonce"),
        (json!({"nonce": null}), "nonce"),
        (json!({"aud": "another client"}), "InvalidAudience"),
        (json!({"aud": ["another client"]}), "InvalidAudience"),
        (json!({"aud": null}), "aud"),
        (json!({"aud": [CLIENT, "another client"]}), "azp"),
        (json!({"azp": "another client"}), "azp"),
        (json!({"iss": other}), "InvalidIssuer"),
        (json!({"iss": null}), "iss"),
        (json!({"exp": now - 120}), "ExpiredSignature"),
        (json!({"exp": null}), "exp"),
        (json!({"nbf": now + 120}), "ImmatureSignature"),
        (json!({"iat": now + 120}), "iat"),
        (json!({"iat": null}), "iat"),
        (json!({"sub": null}), "sub"),
        (json!({"sub": ""}), "sub"),
        (json!({"sub": "x".repeat(256)}), "sub"),
    ];
    for (claims, words) in cases {
        stand_in.script(|script| script.claims = claims.clone());
        let answer = sign_in(&stand_in, &provider).await;
        assert!(answer.is_err(), "{claims}");
        assert_refused(answer, words);
    }
    for good in [json!({"aud": [CLIENT, "b"], "azp": CLIENT}), json!({"exp": now - 30}), json!({"iat": now + 30})] {
        stand_in.script(|script| script.claims = good.clone());
        assert!(sign_in(&stand_in, &provider).await.is_ok(), "{good}");
    }
}

#[tokio::test]
async fn a_token_without_a_valid_signature_is_refused() {
    let (stand_in, provider) = both("ES256").await;
    let cases = [
        (Sign::Not, "header cannot be read"),
        (Sign::Hmac, "its algorithm HS256 is not accepted"),
        (Sign::Unpublished, "a key that the provider does not publish"),
        (Sign::Forged, "InvalidSignature"),
    ];
    for (sign, words) in cases {
        stand_in.script(|script| script.sign = sign);
        assert_refused(sign_in(&stand_in, &provider).await, words);
    }
    stand_in.script(|script| script.claims = json!({"pad": "x".repeat(70_000)}));
    stand_in.script(|script| script.sign = Sign::Key);
    assert_refused(sign_in(&stand_in, &provider).await, "at most 65536 are read");
}

#[tokio::test]
async fn a_new_key_is_found_and_unknown_keys_cause_one_request_a_minute() {
    let (stand_in, provider) = both("ES256").await;
    sign_in(&stand_in, &provider).await.unwrap();
    stand_in.rotate("RS256", "key-2");
    sign_in(&stand_in, &provider).await.unwrap();
    assert_eq!(stand_in.requests("/keys"), 2);
    stand_in.rotate("ES256", "key-3");
    assert_refused(sign_in(&stand_in, &provider).await, "does not publish");
    assert_eq!(stand_in.requests("/keys"), 2, "no second search within a minute");
}

#[tokio::test]
async fn a_code_works_once_and_with_its_own_flow_only() {
    let (stand_in, provider) = both("ES256").await;
    let (flow, other) = (Flow::begin(), Flow::begin());
    let used = code(&stand_in, &provider, &flow).await;
    provider.identify(&flow, &used, None).await.unwrap();
    assert_refused(provider.identify(&flow, &used, None).await, "invalid_grant");
    let stolen = code(&stand_in, &provider, &flow).await;
    assert_refused(provider.identify(&other, &stolen, None).await, "invalid_grant");
    let mine = code(&stand_in, &provider, &flow).await;
    assert_refused(provider.identify(&flow, &mine, Some("https://other.example")).await, "another issuer");
}

#[tokio::test]
async fn claims_that_the_token_lacks_come_from_the_user_info() {
    let (stand_in, provider) = both("ES256").await;
    stand_in.script(|script| {
        script.claims = json!({"email": null, "email_verified": null});
        script.user_info = json!({"sub": "subject-1", "email": "jane@example.com", "email_verified": true});
    });
    assert_eq!(sign_in(&stand_in, &provider).await.unwrap().email.as_deref(), Some("jane@example.com"));
    stand_in.script(|script| script.user_info = json!({"sub": "subject-1", "groups": ["operators"]}));
    let identity = sign_in(&stand_in, &provider).await.unwrap();
    assert_eq!((identity.email, identity.claims), (None, json!({"groups": ["operators"]})));
    stand_in.script(|script| script.user_info = json!({"sub": "subject-2", "groups": ["operators"]}));
    assert_refused(sign_in(&stand_in, &provider).await, "another subject");
}

#[tokio::test]
async fn wrong_settings_and_a_provider_that_is_away_are_told_apart() {
    let (stand_in, provider) = both("ES256").await;
    stand_in.script(|script| script.secret = "another");
    let answer = sign_in(&stand_in, &provider).await;
    assert!(matches!(&answer, Err(SignInError::Misconfigured(why)) if why.contains("invalid_client")), "{answer:?}");

    let slash = Provider::new(config(&format!("{}/", stand_in.issuer()))).unwrap();
    let answer = slash.sign_in_url(&Flow::begin()).await;
    assert!(
        matches!(&answer, Err(SignInError::Misconfigured(why)) if why.contains("POSTRIDER_OIDC_ISSUER")),
        "{answer:?}"
    );

    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let away = Provider::new(config(&format!("http://{closed}"))).unwrap();
    let answer = away.sign_in_url(&Flow::begin()).await;
    assert!(matches!(&answer, Err(SignInError::Unavailable(why)) if why.contains("127.0.0.1")), "{answer:?}");
    let text = format!("{answer:?}");
    assert!(!text.contains(SECRET), "{text}");
}
