//! The HTTP client for requests to the provider.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use postrider_model::limits::{OIDC_ANSWER_BYTES_MAX, OIDC_REQUEST_TIMEOUT};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::de::DeserializeOwned;
use url::Url;

use crate::error::{ProviderError, SignInError};

/// The client. It follows no redirects, and has a timeout and a maximum number of bytes for each answer.
pub(crate) struct Client(HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// An answer of the provider.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Client {
    /// Creates the client. `ca_file` adds root certificates to the system's.
    pub(crate) fn new(ca_file: Option<&Path>) -> Result<Self, ProviderError> {
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls(ca_file)?)
            .https_or_http()
            .enable_http1()
            .build();
        // A sign-in is rare. A connection that was kept since the last one is often closed already.
        Ok(Self(HyperClient::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector)))
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, SignInError> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let failed = |reason: String| SignInError::Unavailable(format!("{host}: {reason}"));
        let answered = tokio::time::timeout(OIDC_REQUEST_TIMEOUT, async {
            let response = self.0.request(request).await.map_err(|error| failed(chain(&error)))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), OIDC_ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| failed(chain(&*error)))?.to_bytes();
            Ok(Answer { status, body })
        });
        answered.await.unwrap_or_else(|_| Err(failed(format!("no answer within {} s", OIDC_REQUEST_TIMEOUT.as_secs()))))
    }

    /// Reads a JSON document of the provider. `bearer` is the access token to send, if there is one.
    pub(crate) async fn get<T: DeserializeOwned>(&self, url: &Url, bearer: Option<&str>) -> Result<T, SignInError> {
        let mut request = Request::get(url.as_str()).header(header::ACCEPT, "application/json");
        if let Some(token) = bearer {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let unusable = |reason: String| SignInError::Unavailable(format!("GET {}: {reason}", without_query(url)));
        let request = request.body(Full::default()).map_err(|error| unusable(error.to_string()))?;
        let answer = self.send(request).await?;
        if answer.status != StatusCode::OK {
            return Err(unusable(format!("the status is {}", answer.status)));
        }
        serde_json::from_slice(&answer.body).map_err(|error| unusable(error.to_string()))
    }
}

/// A URL for an error.
fn without_query(url: &Url) -> &str {
    &url[..url::Position::AfterPath]
}

fn tls(ca_file: Option<&Path>) -> Result<rustls::ClientConfig, ProviderError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let failed = |reason: String| ProviderError::CaFile { path: path.to_owned(), reason };
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| failed(error.to_string()))?;
        if roots.add_parsable_certificates(certificates).0 == 0 {
            return Err(failed("it has no certificate".to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ProviderError::Tls(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
