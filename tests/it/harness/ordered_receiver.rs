//! A receiver that fails at random, and records which events of each key it got in which order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use postrider_testkit::engines::{PrivateRabbit, Scope};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{Cluster, FaultLine, Urls};

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
    /// The time of the first POST of each event, by key and number.
    first_at: Mutex<HashMap<(String, u64), Instant>>,
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
            first_at: Mutex::default(),
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
        shared.first_at.lock().expect("no panic inside").entry((key.clone(), n)).or_insert_with(Instant::now);
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

/// Publishes an event until it is answered with 202. Repeats carry the same id. Returns the time of the 202.
async fn publish_in_order(client: &reqwest::Client, url: &str, api_key: &str, key: &str, n: u64) -> Instant {
    let event = json!({"id": format!("{key}-{n}"), "type": "a.b", "data": {"key": key, "n": n}}).to_string();
    let started = Instant::now();
    loop {
        let request = client.post(url).bearer_auth(api_key).header("content-type", "application/json");
        match request.body(event.clone()).send().await {
            Ok(answer) if answer.status() == 202 => return Instant::now(),
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

/// Publishes `each` events for every key. One producer for each key, which waits for each 202. Returns the times of the 202s.
pub(crate) async fn publish_all(
    base: &str,
    api_key: &str,
    keys: &[String],
    each: u64,
) -> HashMap<(String, u64), Instant> {
    let (client, url) = (reqwest::Client::new(), format!("{base}/v1/publish"));
    let of_key = |key: &String| {
        let (client, url, api_key, key) = (client.clone(), url.clone(), api_key.to_owned(), key.clone());
        tokio::spawn(async move {
            let mut accepted = Vec::new();
            for n in 0..each {
                accepted.push(((key.clone(), n), publish_in_order(&client, &url, &api_key, &key, n).await));
            }
            accepted
        })
    };
    let mut accepted = HashMap::new();
    for producer in keys.iter().map(of_key).collect::<Vec<_>>() {
        accepted.extend(producer.await.expect("a producer"));
    }
    accepted
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
    let ended = Instant::now();
    let accepted = publishing.await.expect("the producers");
    receiver.wait_for_delivered(events, WITHIN * 4).await;
    receiver.check_order(&keys, each);
    wait_until_recorded(&scope.database_url, events).await;
    let posts: usize = keys.iter().map(|key| receiver.posts(key).iter().filter(|post| post.ok).count()).sum();
    let mut line = FaultLine {
        fault: format!("{events} ordered deliveries, kill -9 of {}", processes.join(", ")),
        accepted: accepted.len(),
        delivered: events,
        duplicates: posts - events,
        ..FaultLine::default()
    };
    for (event, first) in &*receiver.shared.first_at.lock().expect("no panic inside") {
        line.worst_delay = line.worst_delay.max(first.saturating_duration_since(accepted[event]));
        line.recovered_after = line.recovered_after.max(first.saturating_duration_since(ended));
    }
    let report = cluster.audit(&scope.database_url).await;
    assert_eq!(report["conserved"], json!(true), "{report:#}");
    line.audit = "conserved".into();
    line.emit();
}

/// Waits until this number of deliveries is recorded as delivered (status 4), and no line is left.
async fn wait_until_recorded(database_url: &str, deliveries: usize) {
    let sql = "SELECT (SELECT count(*) FROM deliveries WHERE status = 4), (SELECT count(*) FROM ordered_lines)";
    wait_for(database_url, sql, |recorded, lines| recorded >= deliveries && lines == 0).await;
}

/// Waits until the two numbers that a statement returns are `wanted`.
async fn wait_for(database_url: &str, sql: &str, wanted: impl Fn(usize, usize) -> bool) {
    let (database, connection) = tokio_postgres::connect(database_url, tokio_postgres::NoTls).await.expect("connects");
    tokio::spawn(connection);
    let started = Instant::now();
    loop {
        let row = database.query_one(sql, &[]).await.expect("two numbers");
        let [first, second] = [0, 1].map(|at| usize::try_from(row.get::<_, i64>(at)).expect("not negative"));
        if wanted(first, second) {
            return;
        }
        assert!(started.elapsed() < WITHIN, "{first} and {second} of {sql}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Lets the broker lose its disk while deliveries wait in lines and the reports of runs wait for a recorder. Checks that every
/// line continues in its order.
pub(crate) async fn order_survives_the_loss_of_the_brokers_disk() {
    const KEYS: usize = 10;
    const EACH: u64 = 40;
    let mut rabbit = PrivateRabbit::start().await.expect("RabbitMQ starts");
    let scope = Scope::new("ordering-disk").await;
    let urls = Urls { amqp: rabbit.amqp_url(), database: scope.database_url.clone() };
    let mut cluster = Cluster::start_with(urls, vec![("POSTRIDER_RECONCILE_AFTER", "5s".to_owned())]).await;
    let receiver = OrderedReceiver::start(Duration::from_millis(100), at_random(20)).await;
    let publisher = cluster.tenant(&[]).await;
    let endpoint = json!({
        "name": "ordered", "channel": "web", "url": receiver.url(), "event_types": ["*"],
        "retry_schedule_seconds": [1, 1, 1, 2, 2, 4, 4], "ordering": {"key": "data.key"},
    });
    cluster.post_when_known("api", "/v1/endpoints", &publisher.key, &endpoint).await;
    let (keys, events) = (keys(KEYS), KEYS * usize::try_from(EACH).expect("small"));
    publish_all(&cluster.base("ingest"), &publisher.key, &keys, EACH).await;
    let in_lines =
        "SELECT (SELECT coalesce(max(position), 0) FROM ordered_deliveries), (SELECT count(*) FROM deliveries)";
    wait_for(&scope.database_url, in_lines, |positions, recorded| positions >= events && recorded >= events).await;
    cluster.kill9("recorder").await;
    let before = *receiver.shared.delivered.borrow();
    receiver.wait_for_delivered(before + KEYS, WITHIN).await;
    rabbit.kill9();
    rabbit.lose_disk().expect("deleted");
    rabbit.restart().await.expect("RabbitMQ starts again");
    cluster.restart("recorder").await;
    receiver.wait_for_delivered(events, WITHIN).await;
    receiver.check_order(&keys, EACH);
    wait_until_recorded(&scope.database_url, events).await;
}
