//! A stand-in for an OpenID Connect provider, on a port of this machine: discovery, keys, authorization, token and user info.
//!
//! It checks what a provider checks: the client and its secret, the redirect URL, that a code is used once, and the PKCE
//! verifier. A [`Script`] makes it misbehave.

pub(crate) mod keys;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Json, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tower::ServiceExt;

use self::keys::{SigningKey, hmac_token, unsigned_token};

pub(crate) const CLIENT: &str = "postrider";
pub(crate) const SECRET: &str = "secret of the client: a/b+c%";

/// How the ID token is signed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// With the current key.
    Key,
    /// Not at all: the algorithm is `none`.
    Not,
    /// With HMAC and the client's secret.
    Hmac,
    /// With a key that the provider does not publish.
    Unpublished,
    /// With another key under the id of the published one.
    Forged,
}

/// What the provider does at the next sign-in.
pub(crate) struct Script {
    /// Claims that replace those of the ID token; `null` removes a claim.
    pub(crate) claims: Value,
    pub(crate) sign: Sign,
    /// The claims of the user info.
    pub(crate) user_info: Value,
    /// The error with which the browser returns, instead of a code.
    pub(crate) refuse: Option<&'static str>,
    /// The secret that the token endpoint expects.
    pub(crate) secret: &'static str,
}

/// A code that was given to a browser.
struct Grant {
    redirect_uri: String,
    challenge: String,
    nonce: String,
}

struct Provider {
    issuer: String,
    script: Mutex<Script>,
    key: Mutex<SigningKey>,
    grants: Mutex<HashMap<String, Grant>>,
    requests: Mutex<HashMap<&'static str, usize>>,
}

/// The stand-in. It ends with the test's runtime.
#[derive(Clone)]
pub(crate) struct StandIn {
    provider: Arc<Provider>,
    router: Router,
}

type Parameters = HashMap<String, String>;

impl StandIn {
    /// Starts a provider whose tokens have this algorithm.
    pub(crate) async fn start(alg: &'static str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let script = Script {
            claims: json!({}),
            sign: Sign::Key,
            user_info: json!({"sub": "subject-1"}),
            refuse: None,
            secret: SECRET,
        };
        let provider = Arc::new(Provider {
            issuer: format!("http://{}", listener.local_addr().unwrap()),
            script: Mutex::new(script),
            key: Mutex::new(SigningKey::new(alg, "key-1")),
            grants: Mutex::default(),
            requests: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(published_keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/userinfo", get(user_info))
            .with_state(Arc::clone(&provider));
        let served = router.clone();
        tokio::spawn(async move { axum::serve(listener, served).await });
        Self { provider, router }
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.provider.issuer
    }

    /// Changes what the provider does.
    pub(crate) fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.provider.script.lock().unwrap());
    }

    /// Replaces the key. The old one is no longer published.
    pub(crate) fn rotate(&self, alg: &'static str, kid: &str) {
        *self.provider.key.lock().unwrap() = SigningKey::new(alg, kid);
    }

    /// How often this path was requested.
    pub(crate) fn requests(&self, path: &str) -> usize {
        self.provider.requests.lock().unwrap().get(path).copied().unwrap_or_default()
    }

    /// Opens the provider's sign-in page as a browser, and returns the address to which the provider redirects it.
    pub(crate) async fn visit(&self, url: &str) -> String {
        let path = url.strip_prefix(self.issuer()).expect("an address of the provider");
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::SEE_OTHER, "{url}");
        response.headers()[header::LOCATION].to_str().unwrap().to_owned()
    }
}

impl Provider {
    fn count(&self, path: &'static str) {
        *self.requests.lock().unwrap().entry(path).or_default() += 1;
    }

    fn id_token(&self, nonce: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({
            "iss": self.issuer, "aud": CLIENT, "sub": "subject-1", "nonce": nonce, "iat": now, "exp": now + 300,
            "email": "jane@example.com", "email_verified": true, "name": "Jane",
        });
        let script = self.script.lock().unwrap();
        for (name, value) in script.claims.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        let key = self.key.lock().unwrap();
        match script.sign {
            Sign::Key => key.token(&claims),
            Sign::Not => unsigned_token(&claims),
            Sign::Hmac => hmac_token(SECRET, &claims),
            Sign::Unpublished => SigningKey::new("ES256", "unpublished").token(&claims),
            Sign::Forged => SigningKey::new("ES256", &key.kid).token(&claims),
        }
    }
}

async fn discovery(State(provider): State<Arc<Provider>>) -> Json<Value> {
    provider.count("/.well-known/openid-configuration");
    let at = |path: &str| format!("{}{path}", provider.issuer);
    Json(json!({
        "issuer": provider.issuer, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
        "jwks_uri": at("/keys"), "userinfo_endpoint": at("/userinfo"), "response_types_supported": ["code"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256", "ES256"],
    }))
}

async fn published_keys(State(provider): State<Arc<Provider>>) -> Json<Value> {
    provider.count("/keys");
    let key = provider.key.lock().unwrap().jwk();
    // Providers publish keys for other purposes and of unknown types too.
    let other = json!({"kty": "AKP", "kid": "post-quantum", "alg": "ML-DSA-44", "pub": "AA"});
    Json(json!({"keys": [other, key]}))
}

async fn authorize(State(provider): State<Arc<Provider>>, Query(asked): Query<Parameters>) -> Response {
    provider.count("/authorize");
    let is = |name: &str, value: &str| asked.get(name).is_some_and(|asked| asked == value);
    let scopes = asked["scope"].split(' ').any(|scope| scope == "openid");
    if !(is("client_id", CLIENT) && is("response_type", "code") && is("code_challenge_method", "S256") && scopes) {
        return (StatusCode::BAD_REQUEST, format!("{asked:?}")).into_response();
    }
    let (redirect_uri, state) = (asked["redirect_uri"].clone(), asked["state"].clone());
    let mut back = url::Url::parse(&redirect_uri).unwrap();
    if let Some(error) = provider.script.lock().unwrap().refuse {
        back.query_pairs_mut().append_pair("error", error).append_pair("error_description", "no");
    } else {
        let mut grants = provider.grants.lock().unwrap();
        let code = format!("code-{}-{}", grants.len(), asked["nonce"]);
        let (challenge, nonce) = (asked["code_challenge"].clone(), asked["nonce"].clone());
        grants.insert(code.clone(), Grant { redirect_uri, challenge, nonce });
        back.query_pairs_mut().append_pair("code", &code);
    }
    back.query_pairs_mut().append_pair("state", &state).append_pair("iss", &provider.issuer);
    Redirect::to(back.as_str()).into_response()
}

async fn token(State(provider): State<Arc<Provider>>, headers: HeaderMap, body: String) -> Response {
    provider.count("/token");
    let form: Parameters = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let refused = |status: StatusCode, error: &str| (status, Json(json!({"error": error}))).into_response();
    let secret = provider.script.lock().unwrap().secret;
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(CLIENT), encoded(secret))));
    if headers.get(header::AUTHORIZATION).is_none_or(|sent| sent.as_bytes() != basic.as_bytes()) {
        return refused(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    let Some(grant) = provider.grants.lock().unwrap().remove(&form["code"]) else {
        return refused(StatusCode::BAD_REQUEST, "invalid_grant");
    };
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, form["code_verifier"].as_bytes()));
    if challenge != grant.challenge || form["redirect_uri"] != grant.redirect_uri {
        return refused(StatusCode::BAD_REQUEST, "invalid_grant");
    }
    let id_token = provider.id_token(&grant.nonce);
    Json(json!({"id_token": id_token, "access_token": "access-1", "token_type": "Bearer"})).into_response()
}

async fn user_info(State(provider): State<Arc<Provider>>, headers: HeaderMap) -> Response {
    provider.count("/userinfo");
    if headers.get(header::AUTHORIZATION).is_none_or(|sent| sent != "Bearer access-1") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    Json(provider.script.lock().unwrap().user_info.clone()).into_response()
}
