//! A receiver that fails at random, and records which events of each key it got in which order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use postrider_testkit::engines::Scope;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{Cluster, Urls};

/// A POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Post {
    /// The event's `data.n`.
    pub(crate) n: u64,
    /// Whether the response was 200.
    pub(crate) ok: bool,
}

/// A running receiver. Events have `data.key` and `data.n`.
#[derive(Clone)]
pub(crate) struct OrderedReceiver {
    shared: Arc<Shared>,
    base: String,
}

/// Decides the response: the event's key, its number and the number of its earlier POSTs.
type Fails = Box<dyn Fn(&str, u64, usize) -> bool + Send + Sync>;

struct Shared {
    posts: Mutex<BTreeMap<String, Vec<Post>>>,
    in_progress: Mutex<HashMap<String, usize>>,
    /// Keys with two POSTs in progress at the same time.
    overlaps: Mutex<HashSet<String>>,
    delivered: watch::Sender<usize>,
    fails: Fails,
    answer_after: Duration,
}

impl OrderedReceiver {
    /// Starts a receiver that answers with 500 where `fails` says so.
    pub(crate) async fn start(
        answer_after: Duration,
        fails: impl Fn(&str, u64, usize) -> bool + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}/", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            posts: Mutex::default(),
            in_progress: Mutex::default(),
            overlaps: Mutex::default(),
            delivered: watch::channel(0).0,
            fails: Box::new(fails),
            answer_after,
        });
        let router = Router::new().route("/", post(receive)).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { shared, base }
    }

    pub(crate) fn url(&self) -> String {
        self.base.clone()
    }

    /// The POSTs of a key so far.
    pub(crate) fn posts(&self, key: &str) -> Vec<Post> {
        self.shared.posts.lock().expect("no panic inside").get(key).cloned().unwrap_or_default()
    }

    /// Waits until this number of different events got 200.
    pub(crate) async fn wait_for_delivered(&self, events: usize, patience: Duration) {
        let mut delivered = self.shared.delivered.subscribe();
        let waited = tokio::time::timeout(patience, delivered.wait_for(|now| *now >= events)).await;
        assert!(waited.is_ok(), "{} events after {patience:?}, expected {events}", *self.shared.delivered.borrow());
    }

    /// Checks that each key's events first arrived in the order of their numbers, and that none is missing.
    #[track_caller]
    pub(crate) fn check_order(&self, keys: &[String], events_each: u64) {
        for key in keys {
            let mut seen = HashSet::new();
            let posts = self.posts(key);
            let first: Vec<u64> = posts.iter().map(|post| post.n).filter(|n| seen.insert(*n)).collect();
            assert_eq!(first, (0..events_each).collect::<Vec<_>>(), "first attempts of {key}: {posts:?}");
        }
    }

    /// Checks that an event was only attempted after the event before it had ended, and that no two POSTs of a key overlapped.
    #[track_caller]
    pub(crate) fn check_one_at_a_time(&self, keys: &[String]) {
        for key in keys {
            let posts = self.posts(key);
            assert!(posts.is_sorted_by_key(|post| post.n), "{key}: {posts:?}");
        }
        assert_eq!(*self.shared.overlaps.lock().expect("no panic inside"), HashSet::new(), "two at a time");
    }
}

async fn receive(State(shared): State<Arc<Shared>>, body: String) -> StatusCode {
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let key = body["data"]["key"].as_str().unwrap_or_default().to_owned();
    let n = body["data"]["n"].as_u64().unwrap_or_default();
    let ok = {
        let mut in_progress = shared.in_progress.lock().expect("no panic inside");
        let count = in_progress.entry(key.clone()).or_default();
        *count += 1;
        if *count > 1 {
            shared.overlaps.lock().expect("no panic inside").insert(key.clone());
        }
        let mut posts = shared.posts.lock().expect("no panic inside");
        let of_key = posts.entry(key.clone()).or_default();
        let earlier = of_key.iter().filter(|post| post.n == n).count();
        let ok = !(shared.fails)(&key, n, earlier);
        if ok && !of_key.iter().any(|post| post.n == n && post.ok) {
            shared.delivered.send_modify(|delivered| *delivered += 1);
        }
        of_key.push(Post { n, ok });
        ok
    };
    // The delay of the endpoint. Not a wait for an event.
    tokio::time::sleep(shared.answer_after).await;
    *shared.in_progress.lock().expect("no panic inside").entry(key).or_default() -= 1;
    if ok { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR }
}

/// How long events may take to arrive after the last of them was accepted.
pub(crate) const WITHIN: Duration = Duration::from_secs(180);

/// Publishes an event until it is answered with 202. Repeats carry the same id.
async fn publish_in_order(client: &reqwest::Client, url: &str, api_key: &str, key: &str, n: u64) {
    let event = json!({"id": format!("{key}-{n}"), "type": "a.b", "data": {"key": key, "n": n}}).to_string();
    let started = Instant::now();
    loop {
        let request = client.post(url).bearer_auth(api_key).header("content-type", "application/json");
        match request.body(event.clone()).send().await {
            Ok(answer) if answer.status() == 202 => return,
            _ => assert!(started.elapsed() < WITHIN, "{key}-{n} is not accepted"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The names of this number of keys.
pub(crate) fn keys(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("k{n}")).collect()
}

/// Whether the POST fails: about one in `n`, the same in every run.
pub(crate) fn at_random(one_in: u64) -> impl Fn(&str, u64, usize) -> bool + Send + Sync {
    move |key, n, earlier| {
        let mixed = key.bytes().fold(n + earlier as u64 * 31, |sum, byte| sum * 131 + u64::from(byte));
        mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 & 0xffff_ffff < 0xffff_ffff / one_in
    }
}

/// Publishes `each` events for every key. One producer for each key, which waits for each 202.
pub(crate) async fn publish_all(base: &str, api_key: &str, keys: &[String], each: u64) {
    let (client, url) = (reqwest::Client::new(), format!("{base}/v1/publish"));
    let of_key = |key: &String| {
        let (client, url, api_key, key) = (client.clone(), url.clone(), api_key.to_owned(), key.clone());
        tokio::spawn(async move {
            for n in 0..each {
                publish_in_order(&client, &url, &api_key, &key, n).await;
            }
        })
    };
    for producer in keys.iter().map(of_key).collect::<Vec<_>>() {
        producer.await.expect("a producer");
    }
}

/// Kills processes one after the other while ordered deliveries are outstanding, and checks the order of every key.
pub(crate) async fn order_survives(processes: &[&'static str], key_count: usize, each: u64) {
    let scope = Scope::new(&format!("ordering-kill-{}", processes[0])).await;
    let urls = Urls { amqp: scope.amqp_url.clone(), database: scope.database_url.clone() };
    let mut cluster = Cluster::start(urls).await;
    let receiver = OrderedReceiver::start(Duration::from_millis(3), at_random(50)).await;
    let publisher = cluster.tenant(&[]).await;
    let endpoint = json!({
        "name": "ordered", "channel": "web", "url": receiver.url(), "event_types": ["*"],
        "retry_schedule_seconds": [1, 1, 1, 2, 2, 4, 4], "ordering": {"key": "data.key"},
    });
    cluster.post_when_known("api", "/v1/endpoints", &publisher.key, &endpoint).await;
    let keys = keys(key_count);
    let events = key_count * usize::try_from(each).expect("small");
    let (base, api_key, of) = (cluster.base("ingest"), publisher.key.clone(), keys.clone());
    let publishing = tokio::spawn(async move { publish_all(&base, &api_key, &of, each).await });
    for (nth, process) in processes.iter().enumerate() {
        receiver.wait_for_delivered((nth + 1) * events / (2 * processes.len()), WITHIN).await;
        cluster.kill9(process).await;
        cluster.restart(process).await;
    }
    publishing.await.expect("the producers");
    receiver.wait_for_delivered(events, WITHIN * 4).await;
    receiver.check_order(&keys, each);
    let posts: usize = keys.iter().map(|key| receiver.posts(key).iter().filter(|post| post.ok).count()).sum();
    println!("kill -9 of {processes:?}: {events} events in order, {} repeated", posts - events);
}
