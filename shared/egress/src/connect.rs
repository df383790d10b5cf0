//! Opens connections: to the first allowed address that accepts a connection (RFC 8305), with TLS for https.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use postrider_model::attempt::Outcome;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use crate::classify::{Failure, of_connecting, of_handshake};
use crate::error::EgressError;
use crate::exchange::{Kind, exchange};
use crate::pool::Server;
use crate::resolver::GuardedResolver;
use crate::stream::Stream;

/// How long the client waits for one address before it also tries the next address (RFC 8305 section 5, "Connection Attempt
/// Delay").
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// The operator's forward proxy.
#[derive(Debug, Clone)]
pub(crate) struct ForwardProxy {
    host: Host<String>,
    port: u16,
    /// The header `Proxy-Authorization: Basic …` with its line end; empty if the proxy's URL has no user.
    pub(crate) authorization: String,
}

impl ForwardProxy {
    /// Parses `http://[user:password@]host:port`.
    pub(crate) fn parse(text: &str) -> Result<Self, EgressError> {
        let url = Url::parse(text).map_err(|_| EgressError::Proxy)?;
        let (Some(host), Some(port), "http") = (url.host(), url.port_or_known_default(), url.scheme()) else {
            return Err(EgressError::Proxy);
        };
        let decoded = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
        let authorization = if url.username().is_empty() && url.password().is_none() {
            String::new()
        } else {
            let user = [decoded(url.username()), decoded(url.password().unwrap_or_default())].join(&b':');
            format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(user))
        };
        Ok(Self { host: host.to_owned(), port, authorization })
    }
}

/// Opens connections. Clones share the resolver's cache and the TLS sessions.
#[derive(Clone)]
pub(crate) struct Connector {
    /// Resolves the endpoint's host; if there is a proxy, resolves the proxy's host.
    pub(crate) resolver: GuardedResolver,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) proxy: Option<Arc<ForwardProxy>>,
    /// Maximum time to open a connection, including TLS.
    pub(crate) timeout: Duration,
}

impl Connector {
    /// Opens a connection for requests to `server`.
    pub(crate) async fn connect(&self, server: &Server, deadline: Instant) -> Result<Stream, Failure> {
        let left = deadline.saturating_duration_since(Instant::now());
        let connected = timeout(self.timeout.min(left), Box::pin(self.open(server, deadline))).await;
        connected.unwrap_or_else(|_| {
            if left < self.timeout {
                return Err(Failure::timed_out());
            }
            let words = format!("no connection within {} s", self.timeout.as_secs_f32());
            Err(Failure { outcome: Outcome::ConnectFailed, words })
        })
    }

    async fn open(&self, server: &Server, deadline: Instant) -> Result<Stream, Failure> {
        let (host, port) = match &self.proxy {
            Some(proxy) => (proxy.host.clone(), proxy.port),
            // The server's host was part of a parsed URL.
            None => (Host::parse(&server.host).map_err(|_| Failure::unresolved())?, server.port),
        };
        let addresses: Vec<IpAddr> = match host {
            Host::Ipv4(address) => vec![address.into()],
            Host::Ipv6(address) => vec![address.into()],
            Host::Domain(name) => self.resolver.addresses(&name).await.map_err(|error| Failure::from(&error))?,
        };
        let addresses: Vec<_> = addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect();
        let tcp = first_of(&addresses)
            .await
            .map_err(|error| Failure { outcome: Outcome::ConnectFailed, words: of_connecting(&error).to_owned() })?;
        // A request is written as a whole, so the system does not need to wait for more bytes.
        let _ = tcp.set_nodelay(true);
        if !server.https {
            return Ok(Stream::Plain(tcp));
        }
        let tcp = match &self.proxy {
            Some(proxy) => tunnel(tcp, proxy, server, deadline).await?,
            None => tcp,
        };
        let name = server.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(name).map_err(|_| Failure::unresolved())?;
        let tls = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await;
        tls.map(|tls| Stream::Tls(Box::new(tls))).map_err(|error| of_handshake(&error))
    }
}

/// Connects to the first address that accepts. Tries the next address if one fails or [`NEXT_ADDRESS_AFTER`] has passed.
async fn first_of(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    if let [only] = addresses {
        return TcpStream::connect(only).await;
    }
    let mut left = addresses.iter().copied();
    let mut tried = JoinSet::new();
    let mut first_error = None;
    loop {
        if let Some(address) = left.next() {
            tried.spawn(TcpStream::connect(address));
        }
        let next = tokio::time::sleep(NEXT_ADDRESS_AFTER);
        tokio::select! {
            ended = tried.join_next() => match ended {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => { first_error.get_or_insert(error); }
                Some(Err(_)) => {}
                None => return Err(first_error.unwrap_or_else(|| io::ErrorKind::NotConnected.into())),
            },
            () = next, if left.len() > 0 => {}
        }
    }
}

/// Opens a tunnel through the proxy to `server` (RFC 9110 section 9.3.6).
async fn tunnel(
    mut tcp: TcpStream,
    proxy: &ForwardProxy,
    server: &Server,
    deadline: Instant,
) -> Result<TcpStream, Failure> {
    let target = format!("{}:{}", server.host, server.port);
    let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{}\r\n", proxy.authorization);
    let failed = |words: String| Failure { outcome: Outcome::ConnectFailed, words };
    let answer = exchange(&mut tcp, (head.into(), Bytes::new()), deadline, Kind::Connect).await;
    let answer = answer.map_err(|_| failed("the forward proxy did not answer".to_owned()))?;
    match answer.status_code {
        Some(200..=299) if answer.incomplete.is_none() => Ok(tcp),
        Some(code) => Err(failed(format!("the forward proxy made no connection: it answered {code}"))),
        None => Err(failed("the forward proxy did not answer".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// Returns an address that never accepts a connection, because its backlog is full.
    async fn black_hole() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(connected) = timeout(NEXT_ADDRESS_AFTER, TcpStream::connect(address)).await {
            waiting.push(connected.unwrap());
        }
        (address, listener, waiting)
    }

    #[tokio::test]
    async fn a_silent_address_delays_the_next_one_only_briefly() {
        let (silent, _listener, _waiting) = black_hole().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let connected = timeout(Duration::from_secs(60), first_of(&[silent, silent, open])).await;
        assert_eq!(connected.expect("within the system's own timeout").unwrap().peer_addr().unwrap(), open);
    }

    #[tokio::test]
    async fn after_a_refusing_address_the_next_is_tried_at_once() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        assert_eq!(first_of(&[closed, open]).await.unwrap().peer_addr().unwrap(), open);
        let error = first_of(&[closed, closed]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_proxys_url_is_http_with_a_host() {
        let proxy = ForwardProxy::parse("http://u:p%40ss@proxy:3128").unwrap();
        assert_eq!(proxy.authorization, "Proxy-Authorization: Basic dTpwQHNz\r\n");
        assert_eq!(ForwardProxy::parse("http://proxy").unwrap().authorization, "");
        for bad in ["::", "proxy:3128", "socks5://proxy:1", "https://proxy"] {
            assert!(ForwardProxy::parse(bad).is_err(), "{bad}");
        }
    }
}
