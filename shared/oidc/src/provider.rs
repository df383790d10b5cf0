//! The provider: its sign-in page, and the exchange of a code for a person.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use jsonwebtoken::jwk::JwkSet;
use postrider_model::limits::OIDC_EXCHANGES_MAX;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Semaphore;
use url::{Url, form_urlencoded};

use crate::cached::Cached;
use crate::client::Client;
use crate::endpoints::{ClientProof, Endpoints};
use crate::error::{ProviderError, SignInError, shown};
use crate::flow::Flow;
use crate::id_token::{self, Claims, Expected, TokenError};
use crate::identity::{Identity, completed};
use crate::keys::Keys;
use crate::rule::OperatorRule;
use crate::signature;

/// How long the provider's configuration is used before it is read again.
const ENDPOINTS_KEPT: Duration = Duration::from_secs(3_600);
/// Maximum number of bytes of a code.
const CODE_BYTES_MAX: usize = 4_096;
/// Errors of the token endpoint that mean a wrong or used code, not wrong settings (RFC 6749, section 5.2).
const CODE_REFUSED: &str = "invalid_grant";

/// The settings of a provider.
#[derive(Debug, Clone)]
pub struct ProviderConfig {
    /// The issuer, exactly as the provider writes it.
    pub issuer: String,
    /// The id of this client at the provider.
    pub client_id: String,
    /// The secret of this client; `None` for a public client.
    pub client_secret: Option<SecretString>,
    /// The scopes to request, separated by spaces.
    pub scopes: String,
    /// The URL to which the provider redirects a browser.
    pub redirect_url: Url,
    /// A PEM file of root certificates that are trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// Decides who is an operator.
    pub rule: OperatorRule,
    /// The name of the provider on the sign-in page.
    pub label: String,
}

/// A provider that signs operators in.
pub struct Provider {
    config: ProviderConfig,
    client: Client,
    endpoints: Cached<Endpoints>,
    keys: Keys,
    exchanges: Semaphore,
}

/// The answer of the token endpoint.
#[derive(Deserialize)]
struct Tokens {
    id_token: Option<String>,
    access_token: Option<String>,
}

/// The error of the token endpoint.
#[derive(Deserialize)]
struct TokenFailure {
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Provider {
    /// Creates the client of a provider, without a request.
    ///
    /// # Errors
    /// The file of root certificates cannot be used.
    pub fn new(config: ProviderConfig) -> Result<Self, ProviderError> {
        signature::install();
        let client = Client::new(config.ca_file.as_deref())?;
        let exchanges = Semaphore::new(OIDC_EXCHANGES_MAX);
        Ok(Self { config, client, endpoints: Cached::default(), keys: Keys::default(), exchanges })
    }

    /// The name of the provider on the sign-in page.
    pub fn label(&self) -> &str {
        &self.config.label
    }

    /// The issuer.
    pub fn issuer(&self) -> &str {
        &self.config.issuer
    }

    /// The rule for operators.
    pub fn rule(&self) -> &OperatorRule {
        &self.config.rule
    }

    /// Returns the address of the provider's sign-in page for a flow.
    ///
    /// # Errors
    /// The provider is not available, or its configuration cannot be used.
    pub async fn sign_in_url(&self, flow: &Flow) -> Result<Url, SignInError> {
        let mut url = self.endpoints().await?.authorization_endpoint.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.config.client_id)
            .append_pair("redirect_uri", self.config.redirect_url.as_str())
            .append_pair("scope", &self.config.scopes)
            .append_pair("state", &flow.state())
            .append_pair("nonce", &flow.nonce())
            .append_pair("code_challenge", &flow.challenge())
            .append_pair("code_challenge_method", "S256");
        Ok(url)
    }

    /// Exchanges the code with which the browser returned for the person who signed in. `issuer` is the parameter `iss` of the
    /// return, if there is one. The caller has checked the state.
    ///
    /// # Errors
    /// The code or the provider's ID token is not valid, or the provider is not available.
    pub async fn identify(&self, flow: &Flow, code: &str, issuer: Option<&str>) -> Result<Identity, SignInError> {
        if issuer.is_some_and(|issuer| issuer != self.config.issuer) {
            return Err(SignInError::Invalid("the browser returns from another issuer (iss)".to_owned()));
        }
        if code.is_empty() || code.len() > CODE_BYTES_MAX {
            return Err(SignInError::Invalid(
                "the browser returned without a code, or with one that is too long".to_owned(),
            ));
        }
        let _permit = self.exchanges.try_acquire().map_err(|_| SignInError::Busy)?;
        let endpoints = self.endpoints().await?;
        let tokens = self.exchange(&endpoints, flow, code).await?;
        let token = tokens.id_token.ok_or_else(|| SignInError::Invalid("the provider sent no ID token".to_owned()))?;
        let claims = self.verify(&endpoints, &token, flow).await?;
        let identity = Identity::new(&self.config.issuer, &claims, &self.config.rule);
        let is_operator = self.config.rule.admits(identity.email.as_deref(), &identity.claims);
        let (Some(info), Some(access)) = (&endpoints.userinfo_endpoint, &tokens.access_token) else {
            return Ok(identity);
        };
        if is_operator && identity.email.is_some() {
            return Ok(identity);
        }
        // Providers may tell some claims at this endpoint only.
        match self.user_info(info, access, &identity.subject).await {
            Ok(more) => Ok(Identity::new(&self.config.issuer, &completed(claims, more), &self.config.rule)),
            Err(error) if is_operator => {
                tracing::warn!(%error, "cannot read the user info of an operator; continuing with the ID token");
                Ok(identity)
            }
            Err(error) => Err(error),
        }
    }

    async fn endpoints(&self) -> Result<Arc<Endpoints>, SignInError> {
        self.endpoints.get(ENDPOINTS_KEPT, self.fetch_endpoints()).await
    }

    async fn fetch_endpoints(&self) -> Result<Endpoints, SignInError> {
        let address = Endpoints::address(&self.config.issuer);
        let address = Url::parse(&address).map_err(|error| SignInError::Misconfigured(error.to_string()))?;
        self.client.get::<Endpoints>(&address, None).await?.checked(&self.config.issuer)
    }

    async fn fetch_keys(&self, endpoints: &Endpoints) -> Result<JwkSet, SignInError> {
        self.client.get(&endpoints.jwks_uri, None).await
    }

    /// Sends the code to the token endpoint.
    async fn exchange(&self, endpoints: &Endpoints, flow: &Flow, code: &str) -> Result<Tokens, SignInError> {
        let answer = self.client.send(self.token_request(endpoints, flow, code)?).await?;
        if answer.status == StatusCode::OK {
            let unusable =
                |_| SignInError::Unavailable("the token endpoint's answer is not the expected JSON".to_owned());
            return serde_json::from_slice(&answer.body).map_err(unusable);
        }
        Err(refusal(answer.status, &answer.body))
    }

    fn token_request(
        &self,
        endpoints: &Endpoints,
        flow: &Flow,
        code: &str,
    ) -> Result<Request<Full<Bytes>>, SignInError> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", self.config.redirect_url.as_str())
            .append_pair("code_verifier", &flow.verifier());
        let mut request = Request::post(endpoints.token_endpoint.as_str())
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        match (&self.config.client_secret, endpoints.client_proof()) {
            (Some(secret), ClientProof::Basic) => {
                request = request.header(header::AUTHORIZATION, basic(&self.config.client_id, secret));
            }
            (Some(secret), ClientProof::Post) => {
                form.append_pair("client_id", &self.config.client_id);
                form.append_pair("client_secret", secret.expose_secret());
            }
            (None, _) => {
                form.append_pair("client_id", &self.config.client_id);
            }
        }
        let body = Full::new(Bytes::from(form.finish()));
        request.body(body).map_err(|error| SignInError::Misconfigured(error.to_string()))
    }

    async fn verify(&self, endpoints: &Endpoints, token: &str, flow: &Flow) -> Result<Claims, SignInError> {
        let nonce = flow.nonce();
        let expected =
            Expected { issuer: &self.config.issuer, client_id: &self.config.client_id, nonce: nonce.as_str() };
        let refused = |error: TokenError| SignInError::Invalid(format!("the ID token is refused: {error}"));
        let keys = self.keys.current(self.fetch_keys(endpoints)).await?;
        match id_token::verify(token, &keys, &expected) {
            Err(TokenError::UnknownKey) => match self.keys.search(self.fetch_keys(endpoints)).await? {
                Some(keys) => id_token::verify(token, &keys, &expected).map_err(refused),
                // Another sign-in has searched a moment ago, and may have found the key.
                None => {
                    let keys = self.keys.current(self.fetch_keys(endpoints)).await?;
                    id_token::verify(token, &keys, &expected).map_err(refused)
                }
            },
            verified => verified.map_err(refused),
        }
    }

    /// Reads the UserInfo endpoint (OpenID Connect Core 1.0, section 5.3).
    async fn user_info(&self, url: &Url, access_token: &str, subject: &str) -> Result<Claims, SignInError> {
        let claims: Claims = self.client.get(url, Some(access_token)).await?;
        if claims.get("sub").and_then(|sub| sub.as_str()) != Some(subject) {
            return Err(SignInError::Invalid("the user info is about another subject".to_owned()));
        }
        Ok(claims)
    }
}

/// The header that proves the client's identity (RFC 6749, section 2.3.1).
fn basic(client_id: &str, secret: &SecretString) -> String {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encoded(client_id), encoded(secret.expose_secret()));
    format!("Basic {}", STANDARD.encode(pair))
}

/// The error in an answer of the token endpoint.
fn refusal(status: StatusCode, body: &[u8]) -> SignInError {
    match serde_json::from_slice::<TokenFailure>(body) {
        Ok(TokenFailure { error, error_description }) => {
            let text = format!("{} ({})", shown(&error), shown(&error_description));
            if error == CODE_REFUSED {
                SignInError::Invalid(format!("the provider refuses the code: {text}"))
            } else {
                SignInError::Misconfigured(text)
            }
        }
        Err(_) => SignInError::Unavailable(format!("the token endpoint answers {status}")),
    }
}
