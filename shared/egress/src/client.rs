//! One request to an endpoint, from its headers and bytes to an outcome.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::HeaderMap;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, RETRY_AFTER, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use ipnet::IpNet;
use postrider_model::attempt::Outcome;
use reqwest::{Client, Method, Proxy, redirect, retry};
use url::{Host, Url};

use crate::classify::{classify, of_resolving};
use crate::guard::{AddressGuard, UrlRefused};
use crate::resolver::GuardedResolver;
use crate::response::{Excerpt, bounded_headers};
use crate::retry_after::retry_after;
use crate::tls;

/// Idle connections kept to one host: as many as a dispatcher can have requests in flight at once, since several endpoints
/// may share a host. With fewer, connections beyond them are closed after each answer and made again for the next request,
/// which was half of a dispatcher's CPU when ten busy endpoints shared one. Idle ones go after [`IDLE_CONNECTION_TIMEOUT`].
const IDLE_CONNECTIONS_PER_HOST: usize = 4_096;
/// How long an idle connection is kept. Shorter than what common servers keep theirs (5 s the shortest, Node's default):
/// a request on a connection that the server is just closing would fail.
const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(4);
/// Headers that are the connection's business: whoever sets them could make the endpoint read another request.
const CONNECTION_HEADERS: [HeaderName; 7] = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, UPGRADE, TE, TRAILER];

/// How deliveries get out.
#[derive(Debug, Clone)]
pub struct EgressConfig {
    /// Ranges that are opened besides public addresses.
    pub allow: Vec<IpNet>,
    /// Take http URLs even where only https is wanted (development).
    pub allow_http: bool,
    /// A PEM file of roots besides the system's.
    pub ca_file: Option<PathBuf>,
    /// A forward proxy, as a URL. The endpoint's name is resolved and checked here before the proxy is asked; what the
    /// proxy resolves it to is the proxy's to check.
    pub proxy: Option<String>,
    /// Longest time to resolve, connect and shake hands; a request's timeout also bounds it.
    pub connect_timeout: Duration,
}

impl Default for EgressConfig {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            allow_http: false,
            ca_file: None,
            proxy: None,
            connect_timeout: Duration::from_secs(10),
        }
    }
}

/// The client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The file of roots.
    #[error("cannot use the CA file {path}: {reason}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The proxy's URL; it may hold a password, so it is not shown.
    #[error("the forward proxy's URL is not valid")]
    Proxy,
    /// Anything else.
    #[error("cannot make the HTTP client: {0}")]
    Client(String),
}

/// One request: always a POST.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where; its host and port are checked again.
    pub url: Url,
    /// Every header but those of the connection (`Host`, `Content-Length` and the like), which are removed.
    pub headers: HeaderMap,
    /// The body as it is.
    pub body: Bytes,
    /// From the beginning to the last byte of the answer's body.
    pub timeout: Duration,
}

/// How it went. An endpoint's failure is an outcome, never an error.
#[derive(Debug, Clone)]
pub struct Response {
    /// How it ended. A complete answer is `Success` for 2xx and `HttpStatus` otherwise: what a status code really means
    /// is the profile's to say.
    pub outcome: Outcome,
    /// The status code, when headers came (also when the body then did not).
    pub status_code: Option<u16>,
    /// The answer's headers, bounded.
    pub headers: Vec<(String, String)>,
    /// The beginning of the answer's body, at most 4 KiB.
    pub excerpt: Bytes,
    /// `Retry-After` in either form, from the end of this attempt, at most 24 h.
    pub retry_after: Option<Duration>,
    /// From the beginning to the answer's headers.
    pub first_byte: Option<Duration>,
    /// From the beginning to the end.
    pub duration: Duration,
    /// Why there was no complete answer, in words for the endpoint's owner.
    pub error: Option<String>,
}

/// The client. Clones share its connections and caches.
#[derive(Clone)]
pub struct Egress {
    client: Client,
    guard: Arc<AddressGuard>,
    /// Set when there is a proxy: names are then checked before it is asked.
    check_first: Option<GuardedResolver>,
    connect_timeout: Duration,
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Egress").field("guard", &self.guard).finish_non_exhaustive()
    }
}

/// What came of the headers, kept outside of the deadline's future so that it survives a timeout in the body.
#[derive(Default)]
struct Progress {
    status_code: Option<u16>,
    headers: Vec<(String, String)>,
    retry_after: Option<String>,
    first_byte: Option<Duration>,
    excerpt: Excerpt,
}

impl Egress {
    /// A client.
    ///
    /// # Errors
    /// The CA file, the proxy or the system's resolver configuration cannot be used.
    pub fn new(config: EgressConfig) -> Result<Self, EgressError> {
        let guard = Arc::new(AddressGuard::new(config.allow, config.allow_http));
        let resolver = GuardedResolver::new(Arc::clone(&guard))?;
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls::client_config(config.ca_file.as_deref())?)
            .http1_only()
            .no_proxy()
            .referer(false)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .connect_timeout(config.connect_timeout)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST)
            .pool_idle_timeout(IDLE_CONNECTION_TIMEOUT)
            .tcp_nodelay(true);
        let check_first = match &config.proxy {
            None => {
                builder = builder.dns_resolver(resolver);
                None
            }
            Some(proxy) => {
                let proxy = Proxy::all(proxy.as_str()).map_err(|_| EgressError::Proxy)?;
                builder = builder.proxy(proxy).dns_resolver(resolver.unguarded());
                Some(resolver)
            }
        };
        let client = builder.build().map_err(|error| EgressError::Client(error.to_string()))?;
        Ok(Self { client, guard, check_first, connect_timeout: config.connect_timeout })
    }

    /// The guard, for checking URLs before they are saved.
    pub fn guard(&self) -> &AddressGuard {
        &self.guard
    }

    /// Sends one request and waits for the end of its answer, at most for its timeout.
    pub async fn send(&self, request: Request) -> Response {
        let begun = Instant::now();
        let timeout = request.timeout;
        let mut progress = Progress::default();
        let ended = tokio::time::timeout(timeout, self.exchange(request, begun, &mut progress)).await;
        let (outcome, error) = match ended {
            Ok(Ok(())) => match progress.status_code {
                Some(200..=299) => (Outcome::Success, None),
                _ => (Outcome::HttpStatus, None),
            },
            Ok(Err((outcome, words))) => (outcome, Some(words)),
            Err(_) => {
                let missing = if progress.first_byte.is_some() { "no complete answer" } else { "no answer" };
                (Outcome::Timeout, Some(format!("{missing} within {} s", timeout.as_secs_f32())))
            }
        };
        Response {
            outcome,
            status_code: progress.status_code,
            headers: progress.headers,
            excerpt: progress.excerpt.into_bytes(),
            retry_after: progress.retry_after.and_then(|value| retry_after(&value, SystemTime::now())),
            first_byte: progress.first_byte,
            duration: begun.elapsed(),
            error,
        }
    }

    async fn exchange(
        &self,
        request: Request,
        begun: Instant,
        progress: &mut Progress,
    ) -> Result<(), (Outcome, String)> {
        let Request { url, mut headers, body, .. } = request;
        self.guard.check_target(&url).map_err(blocked)?;
        if let (Some(resolver), Some(Host::Domain(name))) = (&self.check_first, url.host()) {
            resolver.addresses(name).await.map_err(|error| of_resolving(&error))?;
        }
        for name in &CONNECTION_HEADERS {
            headers.remove(name);
        }
        let https = url.scheme() == "https";
        let failed = |error: &reqwest::Error| classify(error, https, self.connect_timeout);

        let mut outgoing = reqwest::Request::new(Method::POST, url);
        *outgoing.headers_mut() = headers;
        *outgoing.body_mut() = Some(body.into());
        let mut response = self.client.execute(outgoing).await.map_err(|error| failed(&error))?;

        progress.first_byte = Some(begun.elapsed());
        progress.status_code = Some(response.status().as_u16());
        progress.retry_after =
            response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        progress.headers = bounded_headers(response.headers());
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
            if !progress.excerpt.take(&chunk) {
                break;
            }
        }
        Ok(())
    }
}

/// A URL that was good when it was saved and is refused now: the operator closed a range.
fn blocked(refused: UrlRefused) -> (Outcome, String) {
    (Outcome::AddressBlocked, refused.to_string())
}
