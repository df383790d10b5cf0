//! An endpoint that a test controls.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use postrider_model::time::UnixMillis;
use tokio::sync::Notify;

/// How the endpoint responds to a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Responds with this status at once.
    Status(u16),
    /// Responds with this status and this `Retry-After`.
    RetryAfter(u16, &'static str),
    /// Responds with this status after a delay.
    After(Duration, u16),
    /// Responds with this status when the test notifies it.
    Once(Arc<Notify>, u16),
    /// Never responds.
    Never,
}

/// A received request.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) at: UnixMillis,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
    }
}

type Answer = dyn Fn(usize, &Bytes) -> Reply + Send + Sync;

struct Shared {
    answer: Box<Answer>,
    received: Mutex<Vec<Received>>,
    count: AtomicUsize,
    changed: Notify,
}

/// A receiver on its own port. Its server stops with the test's runtime.
#[derive(Clone)]
pub(crate) struct Receiver {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl Receiver {
    /// Starts a receiver that answers request number `n` (from 0) with `answer(n)`.
    pub(crate) async fn start(answer: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::reading(move |nth, _| answer(nth)).await
    }

    /// Starts a receiver that answers request number `n` (from 0) with this body with `answer(n, body)`.
    pub(crate) async fn reading(answer: impl Fn(usize, &Bytes) -> Reply + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            answer: Box::new(answer),
            received: Mutex::default(),
            count: AtomicUsize::new(0),
            changed: Notify::new(),
        });
        let router = Router::new().fallback(take).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { shared, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// Returns the requests received so far, as soon as there are at least `count`.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Received> {
        let wait = async {
            loop {
                let changed = self.shared.changed.notified();
                let received = self.received();
                if received.len() >= count {
                    return received;
                }
                changed.await;
            }
        };
        let found = tokio::time::timeout(crate::world::PATIENCE, wait).await;
        found.unwrap_or_else(|_| panic!("{} of {count} requests came", self.received().len()))
    }
}

async fn take(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, &'static str) {
    let number = shared.count.fetch_add(1, Ordering::Relaxed);
    let reply = (shared.answer)(number, &body);
    shared.received.lock().unwrap().push(Received { at: UnixMillis::now(), headers, body });
    shared.changed.notify_waiters();
    let mut headers = HeaderMap::new();
    let status = match reply {
        Reply::Status(status) => status,
        Reply::RetryAfter(status, value) => {
            headers.insert("retry-after", value.parse().unwrap());
            status
        }
        Reply::After(wait, status) => {
            tokio::time::sleep(wait).await;
            status
        }
        Reply::Once(allowed, status) => {
            allowed.notified().await;
            status
        }
        Reply::Never => std::future::pending().await,
    };
    (StatusCode::from_u16(status).unwrap(), headers, "thanks")
}
