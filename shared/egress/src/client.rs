//! One request to an endpoint, from its headers and bytes to an outcome.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ipnet::IpNet;
use postrider_model::attempt::Outcome;
use tokio::time::Instant;
use url::{Host, Url};

use crate::answer::{Answer, Kind, NoAnswer, exchange};
use crate::classify::Failure;
use crate::connect::{Connector, ForwardProxy};
use crate::guard::AddressGuard;
use crate::headers::Headers;
use crate::pool::{Place, Pool};
use crate::request;
use crate::resolver::GuardedResolver;
use crate::retry_after::retry_after;
use crate::stream::Stream;
use crate::tls;

/// How deliveries get out.
#[derive(Debug, Clone)]
pub struct EgressConfig {
    /// Ranges that are opened besides public addresses.
    pub allow: Vec<IpNet>,
    /// Take http URLs even where only https is wanted (development).
    pub allow_http: bool,
    /// A PEM file of roots besides the system's.
    pub ca_file: Option<PathBuf>,
    /// A forward proxy, as `http://[user:password@]host:port`. The endpoint's name is resolved and checked here before the proxy
    /// is asked; what the proxy resolves it to is the proxy's to check.
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
    /// Every header but those of the connection (`Host`, `Content-Length` and the like), which are not sent from here.
    pub headers: Headers,
    /// The body as it is.
    pub body: Bytes,
    /// From the beginning to the last byte of the answer's body.
    pub timeout: Duration,
}

/// How it went. An endpoint's failure is an outcome, never an error.
#[derive(Debug, Clone)]
pub struct Response {
    /// How it ended. An answer, complete or not, is `Success` for 2xx and `HttpStatus` otherwise: what a status code really
    /// means is the profile's to say.
    pub outcome: Outcome,
    /// The status code, when its line came.
    pub status_code: Option<u16>,
    /// The answer's headers, bounded.
    pub headers: Vec<(String, String)>,
    /// The beginning of the answer's body, at most 4 KiB.
    pub excerpt: Bytes,
    /// `Retry-After` in either form, from the end of this attempt, at most 24 h.
    pub retry_after: Option<Duration>,
    /// From the beginning to the answer's status line.
    pub first_byte: Option<Duration>,
    /// From the beginning to the end.
    pub duration: Duration,
    /// Whether the answer was cut after its status line.
    pub incomplete: bool,
    /// Why there was no answer, or what is missing of an incomplete one, in words for the endpoint's owner.
    pub error: Option<String>,
}

/// The client. Clones share its connections and caches.
#[derive(Clone)]
pub struct Egress {
    guard: Arc<AddressGuard>,
    pool: Pool,
    connector: Connector,
    /// Set when there is a proxy: names are then checked before it is asked.
    check_first: Option<GuardedResolver>,
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Egress").field("guard", &self.guard).finish_non_exhaustive()
    }
}

impl Egress {
    /// A client.
    ///
    /// # Errors
    /// The CA file, the proxy or the system's resolver configuration cannot be used.
    pub fn new(config: EgressConfig) -> Result<Self, EgressError> {
        let guard = Arc::new(AddressGuard::new(config.allow, config.allow_http));
        let resolver = GuardedResolver::new(Arc::clone(&guard))?;
        let proxy = config.proxy.as_deref().map(ForwardProxy::parse).transpose()?.map(Arc::new);
        let (resolver, check_first) = match &proxy {
            None => (resolver, None),
            Some(_) => (resolver.unguarded(), Some(resolver)),
        };
        let tls = Arc::new(tls::client_config(config.ca_file.as_deref())?);
        let connector = Connector { resolver, tls, proxy, timeout: config.connect_timeout };
        Ok(Self { guard, pool: Pool::default(), connector, check_first })
    }

    /// The guard, for checking URLs before they are saved.
    pub fn guard(&self) -> &AddressGuard {
        &self.guard
    }

    /// Sends one request and waits for the end of its answer, at most for its timeout.
    pub async fn send(&self, request: Request) -> Response {
        let begun = Instant::now();
        let timeout = request.timeout;
        let answered = self.attempt(request, begun + timeout).await;
        let duration = begun.elapsed();
        match answered {
            Ok(answer) => answered_in(answer, begun, duration),
            Err(Failure { outcome, words }) => {
                let late = outcome == Outcome::Timeout;
                let error = if late { format!("no answer within {} s", timeout.as_secs_f32()) } else { words };
                failed_in(outcome, error, duration)
            }
        }
    }

    async fn attempt(&self, request: Request, deadline: Instant) -> Result<Answer, Failure> {
        let Request { url, headers, body, .. } = request;
        self.guard.check_target(&url)?;
        if let (Some(resolver), Some(Host::Domain(name))) = (&self.check_first, url.host()) {
            let checked = tokio::time::timeout_at(deadline, resolver.addresses(name)).await;
            checked.map_err(|_| Failure::late())?.map_err(|error| Failure::from(&error))?;
        }
        let https = url.scheme() == "https";
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(Failure::unresolved());
        };
        let place = Place { https, host: host.to_owned(), port };
        let proxy = self.connector.proxy.as_deref().filter(|_| !https);
        let head = request::head(&url, &headers, body.len(), proxy);

        if let Some(stream) = self.pool.take(&place) {
            match self.exchange(stream, &place, head.clone(), body.clone(), deadline).await {
                // The server closed the connection while the request was under way. The same delivery once more is safe: a
                // receiver knows it by its webhook-id.
                Err(why) if why.is_closed() => {}
                ended => return Ok(ended?),
            }
        }
        let stream = self.connector.connect(&place, deadline).await?;
        Ok(self.exchange(stream, &place, head, body, deadline).await?)
    }

    /// One exchange on a connection, which is kept when it can be used again.
    async fn exchange(
        &self,
        mut stream: Stream,
        place: &Place,
        head: Vec<u8>,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Answer, NoAnswer> {
        let answer = exchange(&mut stream, head, body, deadline, Kind::Post).await?;
        if let Some(reusable) = answer.reusable {
            self.pool.put(place.clone(), stream, reusable.announced);
        }
        Ok(answer)
    }
}

fn answered_in(answer: Answer, begun: Instant, duration: Duration) -> Response {
    let Answer { status_code, first_byte, headers, retry_after: asked, excerpt, incomplete, .. } = answer;
    Response {
        outcome: if matches!(status_code, Some(200..=299)) { Outcome::Success } else { Outcome::HttpStatus },
        status_code,
        headers,
        excerpt: excerpt.into_bytes(),
        retry_after: asked.and_then(|value| retry_after(&value, SystemTime::now())),
        first_byte: first_byte.map(|at| at.duration_since(begun)),
        duration,
        incomplete: incomplete.is_some(),
        error: incomplete,
    }
}

fn failed_in(outcome: Outcome, error: String, duration: Duration) -> Response {
    Response {
        outcome,
        status_code: None,
        headers: Vec::new(),
        excerpt: Bytes::new(),
        retry_after: None,
        first_byte: None,
        duration,
        incomplete: false,
        error: Some(error),
    }
}
