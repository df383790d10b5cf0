//! A receiver that records every POST before it responds.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The POSTs of one event to one endpoint.
#[derive(Debug, Clone, Default)]
pub(crate) struct Got {
    /// The number of POSTs.
    pub(crate) posts: usize,
    /// Values of `postrider-delivery`. With more than one a receiver could not recognise the duplicate.
    pub(crate) deliveries: HashSet<String>,
    /// When the first of them arrived.
    pub(crate) first_at: Option<Instant>,
}

/// A running receiver.
#[derive(Clone)]
pub(crate) struct Ledger {
    shared: Arc<Shared>,
    base: String,
}

struct Shared {
    entries: Mutex<HashMap<(String, String), Got>>,
    /// POSTs recorded without a response so far.
    unanswered: watch::Sender<usize>,
    posts: watch::Sender<usize>,
    answer_after: Duration,
}

impl Ledger {
    /// Starts a receiver that responds with 200 after a delay.
    pub(crate) async fn start(answer_after: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            entries: Mutex::default(),
            unanswered: watch::channel(0).0,
            posts: watch::channel(0).0,
            answer_after,
        });
        let router = Router::new().route("/{endpoint}", post(receive)).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { shared, base }
    }

    /// The URL of an endpoint.
    pub(crate) fn url(&self, endpoint: &str) -> String {
        format!("{}/{endpoint}", self.base)
    }

    /// POSTs so far.
    pub(crate) fn posts(&self) -> usize {
        *self.shared.posts.borrow()
    }

    /// Waits until a POST without a response is in progress.
    pub(crate) async fn wait_for_unanswered(&self, patience: Duration) {
        let mut unanswered = self.shared.unanswered.subscribe();
        let waited = tokio::time::timeout(patience, unanswered.wait_for(|now| *now > 0)).await;
        assert!(waited.is_ok(), "no POST is under way after {patience:?}");
    }

    /// Waits until `posts` POSTs have arrived.
    pub(crate) async fn wait_for_posts(&self, posts: usize, patience: Duration) {
        let mut so_far = self.shared.posts.subscribe();
        let waited = tokio::time::timeout(patience, so_far.wait_for(|now| *now >= posts)).await;
        assert!(waited.is_ok(), "{} POSTs after {patience:?}, expected {posts}", self.posts());
    }

    /// Everything so far, by endpoint and event.
    pub(crate) fn entries(&self) -> HashMap<(String, String), Got> {
        self.shared.entries.lock().expect("no panic inside").clone()
    }
}

async fn receive(State(shared): State<Arc<Shared>>, Path(endpoint): Path<String>, headers: HeaderMap) {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    shared.unanswered.send_modify(|unanswered| *unanswered += 1);
    {
        let mut entries = shared.entries.lock().expect("no panic inside");
        let got = entries.entry((endpoint, header("webhook-id"))).or_default();
        got.posts += 1;
        got.first_at.get_or_insert_with(Instant::now);
        got.deliveries.insert(header("postrider-delivery"));
    }
    shared.posts.send_modify(|posts| *posts += 1);
    // The delay of the endpoint, which keeps POSTs in flight. Not a wait for an event.
    tokio::time::sleep(shared.answer_after).await;
    shared.unanswered.send_modify(|unanswered| *unanswered -= 1);
}
