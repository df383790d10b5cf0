//! Export of traces over OTLP (HTTP with protobuf), on a separate thread.
//!
//! The SDK exports in batches from a thread without a runtime. Requests run on a small runtime that lives as long as the
//! exporter, so that a flush at the end of `main` is sent. The operator configures the collector, so the address guard does not
//! check it. The exporter does not share its connections with deliveries.

use std::time::Duration;

use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::{Builder, Handle, Runtime};

use super::TelemetryError;

/// Maximum duration of one export, unless `OTEL_EXPORTER_OTLP_TIMEOUT` (milliseconds) is shorter.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum duration of the last flush.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of characters of an invalid value that an error shows.
const SHOWN_MAX: usize = 60;
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";

/// The exporter, its thread, and the provider of tracers.
#[derive(Debug)]
pub(super) struct Exporter {
    provider: SdkTracerProvider,
    _runtime: Background,
}

impl Exporter {
    /// Creates an exporter if the environment configures a collector; otherwise returns `None`.
    pub(super) fn from_env(service: &'static str, version: &'static str) -> Result<Option<Self>, TelemetryError> {
        let disabled = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let named = [ENDPOINT, TRACES_ENDPOINT].into_iter().filter_map(|name| Some((name, set(name)?)));
        let named: Vec<(&str, String)> = named.collect();
        if disabled || named.is_empty() {
            return Ok(None);
        }
        named.iter().try_for_each(|(name, value)| check_endpoint(name, value))?;
        let failed = |error: &dyn std::fmt::Display| TelemetryError::Exporter(error.to_string());
        let connector = connector()?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("otlp-export")
            .enable_all()
            .build()
            .map_err(|error| failed(&error))?;
        // From this point on, the guard drops the runtime, even if a later step fails.
        let runtime = Background(Some(runtime));
        let client = Client { inner: HyperClient::new(connector, REQUEST_TIMEOUT, None), handle: runtime.handle()? };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .build()
            .map_err(|error| failed(&error))?;
        let mut resource = Resource::builder().with_attribute(KeyValue::new("service.version", version));
        if set("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name(format!("postrider-{service}"));
        }
        let provider =
            SdkTracerProvider::builder().with_resource(resource.build()).with_batch_exporter(exporter).build();
        Ok(Some(Self { provider, _runtime: runtime }))
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.provider.tracer("postrider")
    }

    /// Exports the remaining spans, for at most `SHUTDOWN_TIMEOUT`.
    pub(super) fn shut_down(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(SHUTDOWN_TIMEOUT) {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

/// A runtime that may be dropped within another runtime, where waiting for its threads would panic.
#[derive(Debug)]
struct Background(Option<Runtime>);

impl Background {
    fn handle(&self) -> Result<Handle, TelemetryError> {
        let runtime = self.0.as_ref().ok_or_else(|| TelemetryError::Exporter("the runtime has ended".into()))?;
        Ok(runtime.handle().clone())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Returns the value of a variable; `None` if it is not set or blank.
fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// Returns the beginning of a value for an error, because a value may have any length.
fn cut(value: &str) -> String {
    value.chars().take(SHOWN_MAX).collect()
}

/// Requires an absolute URL. `collector:4318` without a scheme would be read as a URL with the scheme `collector`.
fn check_endpoint(name: &str, value: &str) -> Result<(), TelemetryError> {
    match url::Url::parse(value.trim()) {
        Ok(url) if ["http", "https"].contains(&url.scheme()) && url.has_host() => Ok(()),
        _ => {
            let (shown, expected) = (cut(value), "expected http://host:4318 or https://host:4318");
            Err(TelemetryError::Exporter(format!("{name}: `{shown}` is not a URL; {expected}")))
        }
    }
}

/// A client that runs each request on the exporter's runtime. It may be called from any thread.
#[derive(Debug)]
struct Client {
    inner: HyperClient<HttpsConnector<HttpConnector>>,
    handle: Handle,
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let inner = self.inner.clone();
        self.handle.spawn(async move { inner.send_bytes(request).await }).await?
    }
}

/// A connector for http, and for https with the system's root certificates and those in `OTEL_EXPORTER_OTLP_CERTIFICATE`.
fn connector() -> Result<HttpsConnector<HttpConnector>, TelemetryError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = set(CERTIFICATE) {
        use rustls::pki_types::pem::PemObject;
        let certificates = rustls::pki_types::CertificateDer::pem_file_iter(&path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| {
                TelemetryError::Exporter(format!("{CERTIFICATE}: cannot read the file {}: {error}", cut(&path)))
            })?;
        if roots.add_parsable_certificates(certificates).0 == 0 {
            return Err(TelemetryError::Exporter(format!(
                "{CERTIFICATE}: there is no certificate in the file {}",
                cut(&path)
            )));
        }
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TelemetryError::Exporter(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build())
}
