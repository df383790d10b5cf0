//! Tests `Egress::send` with real servers on this machine: correct, broken and hostile servers.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::HeaderValue;
use postrider_egress::{Egress, EgressConfig, Headers, Request, Response, Url};
use postrider_model::attempt::Outcome;
use postrider_model::limits::RESPONSE_READ_BYTES_MAX;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);
/// A timeout that is long enough for the beginning of an endless answer to arrive.
const BEGINNING: Duration = Duration::from_secs(4);

fn local() -> EgressConfig {
    EgressConfig { allow: vec!["127.0.0.0/8".parse().unwrap()], ..EgressConfig::default() }
}

fn egress(config: EgressConfig) -> Egress {
    Egress::new(config).unwrap()
}

async fn send(egress: &Egress, url: &str, timeout: Duration) -> Response {
    let mut headers = Headers::default();
    headers.insert("content-type", HeaderValue::from_static("application/json")).unwrap();
    headers.insert("webhook-id", HeaderValue::from_static("evt_1")).unwrap();
    let body = Bytes::from_static(br#"{"type":"a.b"}"#);
    egress.send(Request { url: &Url::parse(url).unwrap(), headers, body, timeout }).await
}

/// A server that passes each connection to a closure and counts connections.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn start<F, Fut>(serve: F) -> Self
    where
        F: Fn(TcpStream) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream));
            }
        });
        Self { address, connections }
    }

    /// Starts a server that answers every request with these bytes.
    async fn answering(answer: impl Into<String>) -> Self {
        let answer: Arc<str> = answer.into().into();
        Self::start(move |mut stream| {
            let answer = Arc::clone(&answer);
            async move {
                while read_request(&mut stream).await.is_some() {
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        break;
                    }
                }
            }
        })
        .await
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }
}

/// Reads one request as text, including its body. Returns `None` at the end of the connection.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok()).unwrap_or(0);
            if body.len() >= length {
                return Some(text.into_owned());
            }
        }
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nx-one: 1\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn a_good_endpoint_gets_the_bytes_and_its_answer_is_kept() {
    let (seen_tx, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let seen_tx = seen_tx.clone();
        async move {
            seen_tx.send(read_request(&mut stream).await.unwrap()).unwrap();
            stream.write_all(ok("thanks").as_bytes()).await.unwrap();
        }
    })
    .await;
    let egress = egress(local());
    let mut headers = Headers::default();
    headers.insert("webhook-id", HeaderValue::from_static("evt_1")).unwrap();
    headers.insert("X-Api-KEY", HeaderValue::from_static("k")).unwrap();
    headers.insert("host", HeaderValue::from_static("evil.example")).unwrap();
    headers.insert("content-length", HeaderValue::from_static("3")).unwrap();
    headers.insert("transfer-encoding", HeaderValue::from_static("chunked")).unwrap();
    let url = Url::parse(&server.url()).unwrap();
    let response =
        egress.send(Request { url: &url, headers, body: Bytes::from_static(b"{\"a\":1}"), timeout: LONG }).await;

    assert_eq!((response.outcome, response.status_code), (Outcome::Success, Some(200)));
    assert_eq!(response.excerpt, "thanks");
    assert!(response.headers.contains(&("x-one".to_owned(), "1".to_owned())));
    assert!(response.error.is_none() && response.retry_after.is_none());
    assert!(response.first_byte.unwrap() <= response.duration);

    let request = seen.recv().await.unwrap();
    assert!(request.starts_with("POST /hook HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("\r\nX-Api-KEY: k\r\n"), "{request}");
    assert!(request.contains("\r\nwebhook-id: evt_1\r\n") && request.ends_with("\r\n\r\n{\"a\":1}"), "{request}");
    assert!(request.contains(&format!("Host: {}\r\n", server.address)) && !request.contains("evil"), "{request}");
    assert!(request.contains("Content-Length: 7\r\n") && !request.contains("chunked"), "{request}");
    for absent in ["cookie", "accept-encoding", "referer", "user-agent"] {
        assert!(!request.to_lowercase().contains(absent), "{request}");
    }
}

#[tokio::test]
async fn connections_are_reused() {
    let server = Server::answering(ok("x")).await;
    let egress = egress(local());
    for _ in 0..20 {
        assert_eq!(send(&egress, &server.url(), LONG).await.outcome, Outcome::Success);
    }
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_costs_no_attempt() {
    let (closed_tx, mut closed) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let closed_tx = closed_tx.clone();
        async move {
            read_request(&mut stream).await;
            stream.write_all(ok("x").as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            closed_tx.send(()).unwrap();
        }
    })
    .await;
    let egress = egress(local());
    for round in 0..10 {
        let response = send(&egress, &server.url(), LONG).await;
        assert_eq!(response.outcome, Outcome::Success, "round {round}: {:?}", response.error);
        closed.recv().await.expect("the server closes");
    }
}

#[tokio::test]
async fn a_kept_connection_that_ends_without_an_answer_costs_no_attempt() {
    // Each connection answers one request. The server reads the second request and then resets or closes the connection.
    for reset in [true, false] {
        let (seen_tx, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let server = Server::start(move |mut stream| {
            let seen_tx = seen_tx.clone();
            async move {
                for turn in 0..2 {
                    let Some(request) = read_request(&mut stream).await else { return };
                    seen_tx.send(request).unwrap();
                    if turn == 0 {
                        stream.write_all(ok("x").as_bytes()).await.unwrap();
                    }
                }
                if reset {
                    stream.set_zero_linger().unwrap();
                }
            }
        })
        .await;
        let egress = egress(local());
        for round in 0..3 {
            let response = send(&egress, &server.url(), LONG).await;
            assert_eq!(response.outcome, Outcome::Success, "round {round}: {:?}", response.error);
        }
        let requests: Vec<String> = std::iter::from_fn(|| seen.try_recv().ok()).collect();
        // The first request arrives once. Each other request arrives twice, with the same bytes: on the kept connection and on
        // a new one.
        assert_eq!((requests.len(), server.connections.load(Ordering::Relaxed)), (5, 3));
        assert!(requests.iter().all(|request| *request == requests[0]), "{requests:?}");
    }
}

#[tokio::test]
async fn nothing_is_sent_again_on_a_new_connection_or_after_a_byte_of_an_answer() {
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    let server = Server::start(move |mut stream| {
        let count = Arc::clone(&count);
        async move {
            while read_request(&mut stream).await.is_some() {
                match count.fetch_add(1, Ordering::SeqCst) {
                    0 => return,
                    1 => stream.write_all(ok("x").as_bytes()).await.unwrap(),
                    _ => {
                        stream.write_all(b"H").await.unwrap();
                        return;
                    }
                }
            }
        }
    })
    .await;
    let egress = egress(local());
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        outcomes.push(send(&egress, &server.url(), LONG).await.outcome);
    }
    assert_eq!(outcomes, [Outcome::ProtocolError, Outcome::Success, Outcome::ProtocolError]);
    assert_eq!(served.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn an_answer_that_comes_before_the_request_is_read_counts() {
    let server = Server::start(|mut stream| async move {
        stream.write_all(ok("early").as_bytes()).await.unwrap();
        let mut some = [0; 1_000];
        let _ = stream.read(&mut some).await;
    })
    .await;
    let url = Url::parse(&server.url()).unwrap();
    let body = Bytes::from(vec![b'a'; 8 * 1024 * 1024]);
    let request = Request { url: &url, headers: Headers::default(), body, timeout: LONG };
    let response = egress(local()).send(request).await;
    assert_eq!(
        (response.outcome, response.excerpt.as_ref()),
        (Outcome::Success, b"early".as_ref()),
        "{:?}",
        response.error
    );
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let target = Server::answering(ok("followed")).await;
    for code in [301, 302, 303, 307, 308] {
        let answer = format!("HTTP/1.1 {code} Moved\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", target.url());
        let server = Server::answering(answer).await;
        let response = send(&egress(local()), &server.url(), LONG).await;
        assert_eq!((response.outcome, response.status_code), (Outcome::HttpStatus, Some(code)));
    }
    assert_eq!(target.connections.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_answer_without_a_success_status_is_not_an_error() {
    let server = Server::answering("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy").await;
    let response = send(&egress(local()), &server.url(), LONG).await;
    assert_eq!((response.outcome, response.status_code), (Outcome::HttpStatus, Some(503)));
    assert_eq!(response.excerpt, "busy");
    assert!(response.error.is_none());
}

#[tokio::test]
async fn retry_after_is_read_in_both_forms() {
    let egress = egress(local());
    let answer = |value: &str| format!("HTTP/1.1 429 Slow\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n");
    let server = Server::answering(answer("17")).await;
    assert_eq!(send(&egress, &server.url(), LONG).await.retry_after, Some(Duration::from_secs(17)));
    let server =
        Server::answering(answer(&httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3_600)))).await;
    let wait = send(&egress, &server.url(), LONG).await.retry_after.unwrap();
    assert!(wait > Duration::from_secs(3_000) && wait <= Duration::from_secs(3_600), "{wait:?}");
    let server = Server::answering(answer("tomorrow")).await;
    assert_eq!(send(&egress, &server.url(), LONG).await.retry_after, None);
}

#[tokio::test]
async fn an_endpoint_that_never_answers_is_a_timeout() {
    let server = Server::start(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let started = Instant::now();
    let response = send(&egress(local()), &server.url(), SHORT).await;
    assert_eq!((response.outcome, response.status_code), (Outcome::Timeout, None));
    assert!(started.elapsed() >= SHORT, "{:?}", started.elapsed());
    assert_eq!(response.error.as_deref(), Some("no answer within 0.3 s"));
}

#[tokio::test]
async fn a_body_that_drips_is_cut_off_at_the_same_deadline() {
    let server = Server::start(|mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let response = send(&egress(local()), &server.url(), BEGINNING).await;
    assert_eq!((response.outcome, response.status_code), (Outcome::Success, Some(200)));
    assert!(!response.excerpt.is_empty() && response.first_byte.is_some() && response.incomplete);
    let error = response.error.as_deref().unwrap();
    let rest = error.strip_prefix("answer incomplete: the rest did not arrive within ").expect(error);
    let waited: f64 = rest.split(' ').next().unwrap_or_default().parse().expect(error);
    assert!(waited <= BEGINNING.as_secs_f64(), "{error}");
}

#[tokio::test]
async fn headers_that_drip_are_cut_off_too() {
    let server = Server::start(|mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 500 No\r\nretry-after: 9\r\n").await;
        while stream.write_all(b"x-a: b\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let response = send(&egress(local()), &server.url(), BEGINNING).await;
    assert_eq!((response.outcome, response.status_code), (Outcome::HttpStatus, Some(500)));
    assert!(response.incomplete, "{:?}", response.error);
    assert_eq!(response.retry_after, Some(Duration::from_secs(9)));
}

#[tokio::test]
async fn an_endless_body_is_read_to_its_limit_and_dropped() {
    let written = Arc::new(AtomicUsize::new(0));
    let (closed_tx, mut closed) = tokio::sync::mpsc::unbounded_channel();
    let count = Arc::clone(&written);
    let server = Server::start(move |mut stream| {
        let (count, closed_tx) = (Arc::clone(&count), closed_tx.clone());
        async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
            while stream.write_all(chunk.as_bytes()).await.is_ok() {
                count.fetch_add(0x1000, Ordering::Relaxed);
            }
            closed_tx.send(()).unwrap();
        }
    })
    .await;
    let response = send(&egress(local()), &server.url(), LONG).await;
    assert_eq!((response.outcome, response.status_code), (Outcome::Success, Some(200)));
    assert_eq!(response.excerpt.len(), 4096);
    tokio::time::timeout(LONG, closed.recv()).await.expect("the connection is closed").unwrap();
    // The kernels of both sides buffer bytes that the server wrote and the client never reads.
    assert!(written.load(Ordering::Relaxed) < RESPONSE_READ_BYTES_MAX + 16 * 1024 * 1024);
}

#[tokio::test]
async fn many_headers_are_bounded_and_too_many_change_no_status() {
    let answer = |count: usize| {
        let headers: String = (0..count).map(|index| format!("x-{index}: v\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n")
    };
    let server = Server::answering(answer(60)).await;
    let response = send(&egress(local()), &server.url(), LONG).await;
    assert_eq!((response.outcome, response.headers.len()), (Outcome::Success, 32));
    let server = Server::answering(answer(5_000)).await;
    let response = send(&egress(local()), &server.url(), LONG).await;
    assert_eq!((response.outcome, response.incomplete), (Outcome::Success, true), "{:?}", response.error);
}

#[tokio::test]
async fn informational_answers_without_end_are_cut_off() {
    let (closed_tx, mut closed) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let closed_tx = closed_tx.clone();
        async move {
            read_request(&mut stream).await;
            let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(100);
            while stream.write_all(hints.as_bytes()).await.is_ok() {}
            closed_tx.send(()).unwrap();
        }
    })
    .await;
    let response = send(&egress(local()), &server.url(), LONG).await;
    assert_eq!((response.outcome, response.status_code), (Outcome::ProtocolError, None));
    assert!(response.error.as_deref().unwrap().contains("512 KiB"), "{:?}", response.error);
    tokio::time::timeout(LONG, closed.recv()).await.expect("the connection is closed").unwrap();
}

#[tokio::test]
async fn broken_answers_are_protocol_errors() {
    let egress = egress(local());
    for (answer, words) in [
        ("SSH-2.0-OpenSSH_9.6\r\n", "not HTTP/1.1"),
        ("", "closed before an answer came"),
        ("HTTP/1.1 2", "closed within the first line"),
    ] {
        let server = Server::start(move |mut stream| async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        })
        .await;
        let response = send(&egress, &server.url(), LONG).await;
        assert_eq!(response.outcome, Outcome::ProtocolError, "{answer:?}: {:?}", response.error);
        assert!(response.error.as_deref().unwrap().contains(words), "{answer:?}: {:?}", response.error);
    }
}

#[tokio::test]
async fn a_refused_port_is_a_failed_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let response = send(&egress(local()), &url, LONG).await;
    assert_eq!(response.outcome, Outcome::ConnectFailed);
    assert_eq!(response.error.as_deref(), Some("the connection was refused"));
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_dns_failure() {
    let response = send(&egress(EgressConfig::default()), "http://no-such-name.invalid/", LONG).await;
    assert_eq!(response.outcome, Outcome::DnsFailed, "{:?}", response.error);
    assert_eq!(response.error.as_deref(), Some("the name does not resolve"));
}

#[tokio::test]
async fn no_connection_is_made_to_a_refused_address() {
    let server = Server::answering(ok("reached")).await;
    let port = server.address.port();
    // If an address range is allowed, the check of the name passes, but the check of its address does not.
    let elsewhere = EgressConfig { allow: vec!["10.0.0.0/8".parse().unwrap()], ..EgressConfig::default() };
    for (config, host) in [
        (EgressConfig::default(), "127.0.0.1"),
        (EgressConfig::default(), "[::ffff:127.0.0.1]"),
        (EgressConfig::default(), "2130706433"),
        (EgressConfig::default(), "localhost"),
        (elsewhere.clone(), "localhost"),
        (elsewhere, "127.0.0.1"),
    ] {
        let response = send(&egress(config), &format!("http://{host}:{port}/"), LONG).await;
        assert_eq!(response.outcome, Outcome::AddressBlocked, "{host}: {:?}", response.error);
        assert!(response.status_code.is_none());
    }
    assert_eq!(server.connections.load(Ordering::Relaxed), 0);

    let response = send(&egress(local()), &format!("http://localhost:{port}/"), LONG).await;
    assert_eq!(response.outcome, Outcome::Success, "{:?}", response.error);
}

#[tokio::test]
async fn the_error_of_a_blocked_name_describes_nothing_of_this_network() {
    let elsewhere = EgressConfig { allow: vec!["10.0.0.0/8".parse().unwrap()], ..EgressConfig::default() };
    let response = send(&egress(elsewhere), "http://localhost:9000/", LONG).await;
    assert_eq!(response.error.as_deref(), Some("the name resolves to no address that deliveries may go to"));
}

/// Starts a server with a self-signed certificate for `localhost` and 127.0.0.1. Writes the certificate to a file in
/// `directory`.
async fn tls_server(directory: &Path) -> (Server, std::path::PathBuf) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let file = directory.join("ca.pem");
    std::fs::write(&file, made.cert.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let server = Server::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                while read_request(&mut stream).await.is_some() {
                    stream.write_all(ok("secure").as_bytes()).await.unwrap();
                }
            }
        }
    })
    .await;
    (server, file)
}

#[tokio::test]
async fn a_self_signed_certificate_needs_the_operators_root() {
    let directory = tempfile::tempdir().unwrap();
    let (server, ca_file) = tls_server(directory.path()).await;
    let url = format!("https://localhost:{}/", server.address.port());

    let response = send(&egress(local()), &url, LONG).await;
    assert_eq!(response.outcome, Outcome::TlsFailed, "{:?}", response.error);
    assert!(response.error.as_deref().unwrap().contains("issuer is not trusted"), "{:?}", response.error);

    let trusting = egress(EgressConfig { ca_file: Some(ca_file), ..local() });
    let response = send(&trusting, &url, LONG).await;
    assert_eq!(
        (response.outcome, response.excerpt.as_ref()),
        (Outcome::Success, b"secure".as_ref()),
        "{:?}",
        response.error
    );
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["other.example".to_owned()]).unwrap();
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let server = Server::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let _ = acceptor.accept(stream).await;
        }
    })
    .await;
    let egress = egress(EgressConfig { ca_file: Some(ca_file), ..local() });
    let response = send(&egress, &format!("https://localhost:{}/", server.address.port()), LONG).await;
    assert_eq!(response.outcome, Outcome::TlsFailed);
    let error = response.error.as_deref();
    assert_eq!(error, Some("the certificate is for another host name: other.example"));
}

#[tokio::test]
async fn https_to_a_port_without_tls_is_a_tls_failure() {
    let plain = Server::answering(ok("x")).await;
    let response = send(&egress(local()), &format!("https://{}/", plain.address), SHORT).await;
    // The server waits for the rest of a request, or sends an answer that is not TLS.
    assert!(matches!(response.outcome, Outcome::TlsFailed | Outcome::Timeout), "{:?}", response.error);
    let closing = Server::start(|mut stream| async move {
        let mut some = [0; 64];
        let _ = stream.read(&mut some).await;
        let _ = stream.shutdown().await;
    })
    .await;
    let response = send(&egress(local()), &format!("https://{}/", closing.address), LONG).await;
    assert_eq!(response.outcome, Outcome::TlsFailed, "{:?}", response.error);
    assert!(response.error.as_deref().unwrap().contains("during the TLS handshake"), "{:?}", response.error);
    let talking = Server::start(|mut stream| async move {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await;
        let mut some = [0; 64];
        while stream.read(&mut some).await.is_ok_and(|read| read > 0) {}
    })
    .await;
    let response = send(&egress(local()), &format!("https://{}/", talking.address), LONG).await;
    assert_eq!(response.outcome, Outcome::TlsFailed, "{:?}", response.error);
}

#[tokio::test]
async fn a_file_without_certificates_is_refused_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    for ca_file in [empty, directory.path().join("missing.pem")] {
        let error = Egress::new(EgressConfig { ca_file: Some(ca_file), ..local() }).unwrap_err().to_string();
        assert!(error.contains(".pem"), "{error}");
    }
    assert!(Egress::new(EgressConfig { proxy: Some("::".to_owned()), ..local() }).is_err());
}

/// Starts a forward proxy that answers requests in absolute form and reports their first lines.
async fn proxy(notes: tokio::sync::mpsc::UnboundedSender<String>) -> Server {
    Server::start(move |mut stream| {
        let notes = notes.clone();
        async move {
            while let Some(request) = read_request(&mut stream).await {
                notes.send(request.lines().next().unwrap_or_default().to_owned()).unwrap();
                if write(&mut stream, &ok("by proxy")).await.is_err() {
                    break;
                }
            }
        }
    })
    .await
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), text: &str) -> std::io::Result<()> {
    stream.write_all(text.as_bytes()).await
}

#[tokio::test]
async fn a_forward_proxy_gets_only_requests_that_the_guard_allows() {
    let (notes_tx, mut notes) = tokio::sync::mpsc::unbounded_channel();
    let proxy = proxy(notes_tx).await;
    // The operator may use a proxy in an address range in which endpoints may not be.
    let with_proxy = EgressConfig {
        allow: vec!["10.0.0.0/8".parse().unwrap()],
        proxy: Some(format!("http://localhost:{}", proxy.address.port())),
        ..EgressConfig::default()
    };
    let egress = egress(with_proxy);
    let response = send(&egress, "http://10.1.2.3/hook", LONG).await;
    assert_eq!(
        (response.outcome, response.excerpt.as_ref()),
        (Outcome::Success, b"by proxy".as_ref()),
        "{:?}",
        response.error
    );
    assert_eq!(notes.recv().await.unwrap(), "POST http://10.1.2.3/hook HTTP/1.1");

    for (url, outcome) in [
        ("http://127.0.0.1:9000/", Outcome::AddressBlocked),
        ("http://localhost:9000/", Outcome::AddressBlocked),
        ("http://no-such-name.invalid/", Outcome::DnsFailed),
    ] {
        let response = send(&egress, url, LONG).await;
        assert_eq!(response.outcome, outcome, "{url}: {:?}", response.error);
    }
    assert!(notes.try_recv().is_err(), "the proxy was not asked");
}
