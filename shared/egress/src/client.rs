//! The client, which sends one request to an endpoint and returns the outcome.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ipnet::IpNet;
use postrider_model::attempt::Outcome;
use tokio::time::Instant;
use url::{Host, Url};

use crate::answer::{Answer, NoAnswer};
use crate::classify::Failure;
use crate::connect::{Connector, ForwardProxy};
use crate::error::EgressError;
use crate::exchange::{Kind, exchange};
use crate::guard::AddressGuard;
use crate::headers::Headers;
use crate::pool::{Pool, Server};
use crate::request;
use crate::resolver::GuardedResolver;
use crate::retry_after::retry_after;
use crate::stream::Stream;
use crate::tls;

/// The settings of the client.
#[derive(Debug, Clone)]
pub struct EgressConfig {
    /// Address ranges that are allowed in addition to public addresses.
    pub allow: Vec<IpNet>,
    /// Whether http URLs are allowed even if the profile requires https (for development).
    pub allow_http: bool,
    /// A PEM file of root certificates that are trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// A forward proxy, as `http://[user:password@]host:port`. The client first resolves and checks the endpoint's name. Then
    /// the proxy resolves the name again, and must itself check the address to which it connects.
    pub proxy: Option<String>,
    /// Maximum time to resolve the name, connect and shake hands. The request's timeout also limits this time.
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

/// One request, which is always a POST.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The endpoint's URL. The client checks its host and port again.
    pub url: &'a Url,
    /// The headers. Headers of the connection (`Host`, `Content-Length` and the like) are ignored.
    pub headers: Headers<'a>,
    /// The body.
    pub body: Bytes,
    /// Maximum time from the start to the last byte of the answer's body.
    pub timeout: Duration,
}

/// The result of a request. A failure of the endpoint is an outcome, never an error.
#[derive(Debug, Clone)]
pub struct Response {
    /// The outcome. If there is an answer, complete or not, the outcome is `Success` for 2xx and `HttpStatus` otherwise. The
    /// profile decides what the status code means.
    pub outcome: Outcome,
    /// The status code, if the status line was read.
    pub status_code: Option<u16>,
    /// The answer's headers, limited in number and bytes.
    pub headers: Vec<(String, String)>,
    /// The beginning of the answer's body, at most 4 KiB.
    pub excerpt: Bytes,
    /// The delay that `Retry-After` requests, in seconds or as a date, counted from the end of this attempt; at most 24 h.
    pub retry_after: Option<Duration>,
    /// Time from the start to the answer's status line.
    pub first_byte: Option<Duration>,
    /// Time from the start to the end of the request.
    pub duration: Duration,
    /// Whether the answer ended early or became invalid after its status line.
    pub incomplete: bool,
    /// A text for the endpoint's owner: why there was no answer, or which part of an incomplete answer is missing.
    pub error: Option<String>,
}

/// The client. Clones share its connections and caches.
#[derive(Clone)]
pub struct Egress {
    guard: Arc<AddressGuard>,
    pool: Pool,
    connector: Connector,
    /// The resolver that checks a name before the proxy gets it; `None` if there is no proxy.
    check_first: Option<GuardedResolver>,
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Egress").field("guard", &self.guard).finish_non_exhaustive()
    }
}

impl Egress {
    /// Creates a client.
    ///
    /// # Errors
    /// The CA file, the proxy's URL or the system's resolver configuration cannot be used.
    pub fn new(config: EgressConfig) -> Result<Self, EgressError> {
        let guard =
            Arc::new(AddressGuard { allow: config.allow, allow_http: config.allow_http, chat_hosts: Vec::new() });
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

    /// Returns the guard. Callers use it to check URLs before they save them.
    pub fn guard(&self) -> &AddressGuard {
        &self.guard
    }

    /// Sends one request and returns after the end of its answer, at the latest after the request's timeout.
    pub async fn send(&self, request: Request<'_>) -> Response {
        let start = Instant::now();
        let timeout = request.timeout;
        let answered = self.attempt(request, start + timeout).await;
        let duration = start.elapsed();
        match answered {
            Ok(answer) => response(answer, start, duration),
            Err(Failure { outcome, words }) => {
                let late = outcome == Outcome::Timeout;
                let error = if late { format!("no answer within {} s", timeout.as_secs_f32()) } else { words };
                failure(outcome, error, duration)
            }
        }
    }

    async fn attempt(&self, request: Request<'_>, deadline: Instant) -> Result<Answer, Failure> {
        let Request { url, headers, body, .. } = request;
        self.guard.check_target(url)?;
        if let (Some(resolver), Some(Host::Domain(name))) = (&self.check_first, url.host()) {
            let checked = tokio::time::timeout_at(deadline, resolver.addresses(name)).await;
            checked.map_err(|_| Failure::timed_out())?.map_err(|error| Failure::from(&error))?;
        }
        let https = url.scheme() == "https";
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(Failure::unresolved());
        };
        let server = Server { https, host: host.to_owned(), port };
        let proxy = self.connector.proxy.as_deref().filter(|_| !https);
        let request = request::post(url, &headers, body, proxy);
        drop(headers);

        if let Some(stream) = self.pool.take(&server) {
            match self.exchange(stream, &server, request.clone(), deadline).await {
                // The server closed the kept connection before it answered. Sending the request again is safe, because a
                // receiver recognizes a repeated request by its `webhook-id`.
                Err(why) if why.is_closed() => {}
                ended => return Ok(ended?),
            }
        }
        let stream = self.connector.connect(&server, deadline).await?;
        Ok(self.exchange(stream, &server, request, deadline).await?)
    }

    /// Makes one exchange on a connection. Keeps the connection if another request can use it.
    async fn exchange(
        &self,
        mut stream: Stream,
        server: &Server,
        request: (Bytes, Bytes),
        deadline: Instant,
    ) -> Result<Answer, NoAnswer> {
        let answer = exchange(&mut stream, request, deadline, Kind::Post).await?;
        if let Some(reusable) = answer.reusable {
            self.pool.put(server, stream, reusable.keep_alive);
        }
        Ok(answer)
    }
}

fn response(answer: Answer, start: Instant, duration: Duration) -> Response {
    let Answer { status_code, first_byte, headers, retry_after: requested, excerpt, incomplete, .. } = answer;
    Response {
        outcome: if matches!(status_code, Some(200..=299)) { Outcome::Success } else { Outcome::HttpStatus },
        status_code,
        headers,
        excerpt: excerpt.into_bytes(),
        retry_after: requested.and_then(|value| retry_after(&value, SystemTime::now())),
        first_byte: first_byte.map(|at| at.duration_since(start)),
        duration,
        incomplete: incomplete.is_some(),
        error: incomplete,
    }
}

fn failure(outcome: Outcome, error: String, duration: Duration) -> Response {
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
