//! The HTTP server of every service: HTTP/1.1 with limits for connections, header bytes and time. It drains after a stop.
//!
//! TCP_NODELAY is on, because a response of a few hundred bytes must not wait for a delayed ACK. The server closes the
//! connection of a client that is slow to send its headers or body, or that does not read its response. A client over the
//! connection limit waits in the kernel's accept queue.

mod socket;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::ALLOW;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use postrider_telemetry::drain::{self, Drained};
use postrider_wire::loop_guard::{DELIVERY_HEADER, REFUSED_DELIVERY, REFUSED_HEADER};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Layer;
use tower::util::MapResponse;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::{RequestBodyTimeoutLayer, TimeoutLayer};

use self::socket::Socket;
use crate::problem::Problem;

/// Number of requests that were refused because they are deliveries.
const LOOPS: &str = "postrider_http_loops_total";

/// The limits of the server.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Maximum number of open connections. Further connections wait to be accepted.
    pub connections_max: usize,
    /// Maximum time for a connection to send a request's headers, including idle time between requests.
    pub header_timeout: Duration,
    /// Maximum pause within a request's body.
    pub body_pause_max: Duration,
    /// Maximum time from a request's headers to its response, including the request's body.
    pub request_max: Duration,
    /// Maximum time for a client to read its response, once the system's buffers are full.
    pub answer_max: Duration,
    /// Maximum number of bytes of a request's line and headers.
    pub header_bytes_max: usize,
    /// Maximum time for requests in progress to finish after the stop.
    pub drain_max: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            header_timeout: Duration::from_secs(30),
            body_pause_max: Duration::from_secs(30),
            // Longer than the longest request, which is a test call of slightly more than 60 s.
            request_max: Duration::from_secs(120),
            answer_max: Duration::from_secs(60),
            header_bytes_max: 64 * 1024,
            drain_max: Duration::from_secs(20),
        }
    }
}

/// The address at the other end of the connection, in a request's extensions. Behind a proxy, it is the address of the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// How long to wait if the system cannot accept another connection (usually because no file descriptors are left).
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves `router` on `listener` until `stop`, with the default limits. See [`serve_with`].
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> Drained {
    serve_with(listener, router, ServeOptions::default(), stop).await
}

/// Serves `router` on `listener` until `stop`. Then accepts no more connections, finishes the requests in progress within
/// [`ServeOptions::drain_max`], and returns. A panic in a handler causes a 500 response and does not end the process.
pub async fn serve_with(
    listener: TcpListener,
    router: Router,
    options: ServeOptions,
    stop: CancellationToken,
) -> Drained {
    metrics::describe_counter!(LOOPS, "requests refused because they are deliveries");
    metrics::counter!(LOOPS).increment(0);
    let router = router
        .layer(middleware::from_fn(refuse_deliveries))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(RequestBodyTimeoutLayer::new(options.body_pause_max))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, options.request_max));
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_buf_size(options.header_bytes_max.max(8_192));
    let slots = Arc::new(Semaphore::new(options.connections_max));
    let tasks = TaskTracker::new();
    let abandon = CancellationToken::new();

    while let Some((stream, peer, slot)) = next_connection(&listener, &slots, &stop).await {
        // This call fails only for a closed socket. Serving a closed socket ends immediately.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(MapResponse::new(Extension(peer).layer(router.clone()), name_methods));
        let connection = server.serve_connection(TokioIo::new(Socket::new(stream, options.answer_max)), service);
        let (stop, abandon) = (stop.clone(), abandon.clone());
        tasks.spawn(async move {
            let _slot: OwnedSemaphorePermit = slot;
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        ended = connection.as_mut() => ended,
                        () = abandon.cancelled() => Ok(()),
                    }
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    drop(listener);
    let drained = drain::tasks("http connections", options.drain_max, &tasks).await;
    abandon.cancel();
    drained
}

/// Returns the next connection and its slot; `None` after the stop.
async fn next_connection(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, Peer, OwnedSemaphorePermit)> {
    let next = async {
        // The semaphore is never closed, so acquiring a slot never fails.
        let slot = Arc::clone(slots).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, address)) => return Some((stream, Peer(address.ip()), slot)),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        connection = next => connection,
    }
}

/// Refuses requests that are deliveries, on every route and for every tenant. Without this check, an endpoint whose URL leads
/// to a route of Postrider would turn each delivery into an event, and so into another delivery, without end.
async fn refuse_deliveries(request: Request, next: Next) -> Response {
    let Some(delivery) = request.headers().get(DELIVERY_HEADER) else { return next.run(request).await };
    metrics::counter!(LOOPS).increment(1);
    tracing::debug!(delivery.id = ?delivery, path = request.uri().path(), "refused a delivery");
    let detail = format!(
        "this request is a delivery (it has the header {DELIVERY_HEADER}) and its endpoint is Postrider itself: a delivery is not \
         accepted as a request, because it would cause deliveries without end"
    );
    let mut answer = Problem::new(StatusCode::LOOP_DETECTED, detail).into_response();
    answer.headers_mut().insert(HeaderName::from_static(REFUSED_HEADER), HeaderValue::from_static(REFUSED_DELIVERY));
    answer
}

fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(panic = message, "a request handler panicked");
    Problem::internal().into_response()
}

/// Answers requests for unknown paths with problems. Wrap the whole merged router with it.
pub fn with_fallback(router: Router) -> Router {
    router.fallback(|| async { Problem::not_found("no such path") })
}

/// Converts the empty 405 response of a router into a problem that names the methods of the path. It wraps the router, because
/// the router adds `Allow` after its own layers.
fn name_methods(response: Response) -> Response {
    let methods = response.headers().get(ALLOW).filter(|_| response.status() == StatusCode::METHOD_NOT_ALLOWED);
    let Some(methods) = methods.cloned() else { return response };
    let names = methods.to_str().unwrap_or_default().replace(',', ", ");
    let problem = Problem::method_not_allowed(format!("this path does not support this method; allowed: {names}"));
    ([(ALLOW, methods)], problem).into_response()
}

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    struct Server {
        address: std::net::SocketAddr,
        stop: CancellationToken,
        task: tokio::task::JoinHandle<Drained>,
    }

    async fn start(router: Router, options: ServeOptions) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve_with(listener, with_fallback(router), options, stop.clone()));
        Server { address, stop, task }
    }

    async fn exchange(address: std::net::SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_delivery_is_refused_on_every_route() {
        let router = Router::new().route("/", post(|| async { "hi" }));
        let server = start(router, ServeOptions::default()).await;
        for (request, status) in [
            ("POST / HTTP/1.1\r\nPostrider-Delivery: dlv_1\r\n", 508),
            ("GET /nowhere HTTP/1.1\r\npostrider-delivery:\r\n", 508),
            ("POST / HTTP/1.1\r\npostrider-attempt: 1\r\n", 200),
        ] {
            let answer = exchange(server.address, &format!("{request}host: x\r\nconnection: close\r\n\r\n")).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert_eq!(answer.contains("postrider-refused: delivery"), status == 508, "{answer}");
        }
    }

    #[tokio::test]
    async fn answers_problems_for_what_is_not_there_and_for_panics() {
        async fn broken() -> &'static str {
            panic!("oh no")
        }
        let router = Router::new().route("/", get(|| async { "hi" })).route("/broken", get(broken));
        let server = start(router, ServeOptions::default()).await;
        let get = |path: &'static str| exchange(server.address, path);
        assert!(get("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.ends_with("\r\n\r\nhi"));
        let missing = get("GET /nope HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(missing.starts_with("HTTP/1.1 404") && missing.contains("application/problem+json"), "{missing}");
        let refused = get("POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(refused.starts_with("HTTP/1.1 405") && refused.contains("allow: GET,HEAD"), "{refused}");
        assert!(refused.contains("application/problem+json") && refused.contains("allowed: GET, HEAD\""), "{refused}");
        let panicked = get("GET /broken HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(panicked.starts_with("HTTP/1.1 500") && !panicked.contains("oh no"), "{panicked}");
        server.stop.cancel();
        assert_eq!(server.task.await.unwrap(), Drained::Complete);
    }

    #[tokio::test]
    async fn slow_headers_and_slow_bodies_are_cut_off() {
        let options = ServeOptions {
            header_timeout: Duration::from_millis(100),
            body_pause_max: Duration::from_millis(100),
            ..ServeOptions::default()
        };
        let router = Router::new().route("/", post(|body: axum::body::Bytes| async move { body.len().to_string() }));
        let server = start(router, options).await;
        assert_eq!(exchange(server.address, "POST / HTTP/1.1\r\nhos").await, "");
        let slow = exchange(server.address, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc").await;
        assert!(!slow.starts_with("HTTP/1.1 200"), "{slow}");
    }

    #[tokio::test]
    async fn a_body_that_drips_is_cut_off_though_it_never_pauses_for_long() {
        let options = ServeOptions {
            body_pause_max: Duration::from_secs(30),
            request_max: Duration::from_millis(200),
            ..ServeOptions::default()
        };
        let router = Router::new().route("/", post(|body: axum::body::Bytes| async move { body.len().to_string() }));
        let server = start(router, options).await;
        let (mut read, mut write) = TcpStream::connect(server.address).await.unwrap().into_split();
        write.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n").await.unwrap();
        let dripping = tokio::spawn(async move {
            while write.write_all(b"a").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let mut answer = Vec::new();
        let _ = read.read_to_end(&mut answer).await;
        assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
        dripping.await.unwrap();
    }

    /// Starts a server with one connection whose responses do not fit into the system's buffers.
    async fn start_large(answer_max: Duration) -> Server {
        let large = axum::body::Bytes::from(vec![b'a'; LARGE]);
        let router =
            Router::new().route("/large", get(move || async move { large })).route("/", get(|| async { "hi" }));
        start(router, ServeOptions { connections_max: 1, answer_max, ..ServeOptions::default() }).await
    }

    /// The number of bytes of a large response.
    const LARGE: usize = 32 * 1024 * 1024;

    /// Checks that the server serves another client, which means that its only connection is free again.
    async fn serves_the_next(server: &Server) {
        let next = exchange(server.address, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = tokio::time::timeout(Duration::from_secs(60), next).await.expect("the slow client is cut off");
        assert!(answer.ends_with("hi"), "{answer}");
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_its_answer_is_cut_off() {
        let server = start_large(Duration::from_secs(2)).await;
        let mut mute = TcpStream::connect(server.address).await.unwrap();
        mute.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        serves_the_next(&server).await;
    }

    #[tokio::test]
    async fn a_client_that_reads_its_answer_in_drips_is_cut_off() {
        let server = start_large(Duration::from_secs(2)).await;
        let mut dripping = TcpStream::connect(server.address).await.unwrap();
        dripping.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let reading = tokio::spawn(async move {
            let (mut taken, mut some) = (0, [0; 64 * 1024]);
            while let Ok(read @ 1..) = dripping.read(&mut some).await {
                taken += read;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            taken
        });
        serves_the_next(&server).await;
        assert!(reading.await.unwrap() < LARGE);
    }

    #[tokio::test]
    async fn a_client_that_reads_gets_all_of_a_large_answer() {
        let server = start_large(Duration::from_secs(60)).await;
        let answer = exchange(server.address, "GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(answer.len() > LARGE);
        serves_the_next(&server).await;
    }

    #[tokio::test]
    async fn headers_over_the_limit_are_refused() {
        let server = start(Router::new(), ServeOptions { header_bytes_max: 8_192, ..ServeOptions::default() }).await;
        let request = format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "a".repeat(20_000));
        let answer = exchange(server.address, &request).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }

    #[tokio::test]
    async fn a_stop_finishes_requests_in_hand_and_bounds_them() {
        let (entered_tx, mut entered) = tokio::sync::mpsc::unbounded_channel();
        let release = Arc::new(tokio::sync::Notify::new());
        let waiting = Arc::clone(&release);
        let handler = move || {
            let (entered_tx, waiting) = (entered_tx.clone(), Arc::clone(&waiting));
            async move {
                entered_tx.send(()).unwrap();
                waiting.notified().await;
                "done"
            }
        };
        let request = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
        let router = Router::new().route("/", get(handler));

        let server = start(router.clone(), ServeOptions::default()).await;
        let answer = tokio::spawn(exchange(server.address, request));
        entered.recv().await.unwrap();
        server.stop.cancel();
        release.notify_one();
        assert!(answer.await.unwrap().ends_with("done"));
        assert_eq!(server.task.await.unwrap(), Drained::Complete);
        assert!(TcpStream::connect(server.address).await.is_err());

        let options = ServeOptions { drain_max: Duration::from_millis(50), ..ServeOptions::default() };
        let server = start(router, options).await;
        let answer = tokio::spawn(exchange(server.address, request));
        entered.recv().await.unwrap();
        server.stop.cancel();
        assert_eq!(server.task.await.unwrap(), Drained::Abandoned);
        assert_eq!(answer.await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_connection_over_the_limit_waits_for_a_slot() {
        let router = Router::new().route("/", get(|| async { "hi" }));
        let server = start(router, ServeOptions { connections_max: 1, ..ServeOptions::default() }).await;
        let mut first = TcpStream::connect(server.address).await.unwrap();
        first.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut some = [0; 12];
        first.read_exact(&mut some).await.unwrap();
        let mut second =
            tokio::spawn(exchange(server.address, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
        assert!(tokio::time::timeout(Duration::from_millis(100), &mut second).await.is_err());
        drop(first);
        assert!(second.await.unwrap().ends_with("hi"));
    }
}
