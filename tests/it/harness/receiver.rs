//! An endpoint under a test's control: it keeps every request and sends the responses that the test sets.
//!
//! It parses HTTP itself, so it keeps the headers' names and order and the body's bytes as they were sent, and the time at which
//! the socket received them.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Timeout of waits for a request.
const PATIENCE: Duration = Duration::from_secs(120);

/// A response of a receiver.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    /// A status without body.
    pub(crate) fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: String::new() }
    }

    /// The same with a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same with a body.
    pub(crate) fn body(self, body: &str) -> Self {
        Self { body: body.into(), ..self }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} x\r\ncontent-length: {}\r\n", self.status, self.body.len());
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        format!("{text}\r\n{}", self.body).into_bytes()
    }
}

/// A received request.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// Its method.
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// Names and values, unchanged.
    pub(crate) headers: Vec<(String, String)>,
    /// The body's bytes.
    pub(crate) body: Vec<u8>,
    /// When its first byte was read.
    pub(crate) arrived: Instant,
    /// The same by the wall clock.
    pub(crate) arrived_at: SystemTime,
    /// Just before the response was written.
    pub(crate) answered: Instant,
    /// The same by the wall clock.
    pub(crate) answered_at: SystemTime,
}

impl Received {
    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body is UTF-8")
    }

    /// The value of the only header of this name.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut values = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let value = values.next().unwrap_or_else(|| panic!("no header {name}: {:?}", self.headers));
        assert!(values.next().is_none(), "the header {name} more than once: {:?}", self.headers);
        value
    }

    /// Checks every header except HTTP's own: the headers of all deliveries, and the product's with these values (`None`: any
    /// value).
    #[track_caller]
    pub(crate) fn check_headers(&self, event: &str, products: &[(&str, Option<&str>)]) {
        let user_agent = concat!("Postrider/", env!("CARGO_PKG_VERSION"));
        let mut expected = vec![
            ("content-type", Some("application/json")),
            ("postrider-attempt", None),
            ("postrider-delivery", None),
            ("traceparent", None),
            ("webhook-id", Some(event)),
            ("webhook-signature", None),
            ("webhook-timestamp", None),
        ];
        if products.iter().all(|(name, _)| *name != "user-agent") {
            expected.push(("user-agent", Some(user_agent)));
        }
        expected.extend(products);
        expected.sort_unstable();
        let names: Vec<_> = expected.iter().map(|(name, _)| *name).collect();
        assert_eq!(self.header_names_but(&["accept", "accept-encoding", "content-length", "host"]), names);
        for (name, value) in expected {
            if let Some(value) = value {
                assert_eq!(self.header(name), value, "{name}");
            }
        }
        super::independent::check_traceparent(self.header("traceparent"));
        self.check_fresh_timestamp();
    }

    /// The names of all other headers, lower case, sorted, with duplicates.
    pub(crate) fn header_names_but(&self, ignored: &[&str]) -> Vec<String> {
        let lower = self.headers.iter().map(|(name, _)| name.to_ascii_lowercase());
        let mut names: Vec<_> = lower.filter(|name| !ignored.contains(&name.as_str())).collect();
        names.sort();
        names
    }

    /// The headers in the form that libraries take.
    pub(crate) fn header_map(&self) -> HeaderMap {
        let pair = |(name, value): &(String, String)| {
            (HeaderName::try_from(name).expect("a name"), HeaderValue::try_from(value).expect("a value"))
        };
        self.headers.iter().map(pair).collect()
    }

    /// Checks that `webhook-timestamp` is at most ten minutes before this attempt's arrival, and not after it.
    #[track_caller]
    pub(crate) fn check_fresh_timestamp(&self) {
        let sent: u64 = self.header("webhook-timestamp").parse().expect("Unix seconds");
        let arrived = self.arrived_at.duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        assert!((arrived.saturating_sub(600)..=arrived).contains(&sent), "sent {sent}, arrived {arrived}");
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Default)]
struct State {
    answers: VecDeque<Answer>,
    fixed: HashMap<String, Answer>,
    requests: Vec<Received>,
    taken: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A listening receiver. It stops when dropped.
pub(crate) struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Receiver {
    /// Listens on a free loopback port and responds with 200 by default.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared::default());
        let serving = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, serving.clone()));
            }
        });
        Self { address, shared, task }
    }

    /// A URL of this receiver; `path` starts with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sets the responses to the next requests. After them the response is 200.
    pub(crate) fn answer_next(&self, answers: impl IntoIterator<Item = Answer>) {
        self.shared.lock().answers.extend(answers);
    }

    /// Sets the response to every request of a path. It takes precedence over other responses.
    pub(crate) fn answer_at(&self, path: &str, answer: Answer) {
        self.shared.lock().fixed.insert(path.into(), answer);
    }

    /// Every request so far.
    pub(crate) fn all(&self) -> Vec<Received> {
        self.shared.lock().requests.clone()
    }

    /// The next request that this method has not returned yet.
    pub(crate) async fn next(&self) -> Received {
        let next = async {
            loop {
                let news = self.shared.news.notified();
                {
                    let mut state = self.shared.lock();
                    if let Some(request) = state.requests.get(state.taken).cloned() {
                        state.taken += 1;
                        return request;
                    }
                }
                news.await;
            }
        };
        let seen = || self.shared.lock().taken;
        timeout(PATIENCE, next)
            .await
            .unwrap_or_else(|_| panic!("no request within {PATIENCE:?} after {} of them", seen()))
    }

    /// The next `count` requests.
    pub(crate) async fn take(&self, count: usize) -> Vec<Received> {
        let mut requests = Vec::with_capacity(count);
        for _ in 0..count {
            requests.push(self.next().await);
        }
        requests
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves one connection until the peer closes it.
async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await {
        let answer = {
            let mut state = shared.lock();
            let fixed = state.fixed.get(&request.target).cloned();
            let answer = fixed.or_else(|| state.answers.pop_front()).unwrap_or_else(|| Answer::status(200));
            state.requests.push(Received { answered: Instant::now(), answered_at: SystemTime::now(), ..request });
            answer
        };
        shared.news.notify_waiters();
        if stream.write_all(&answer.bytes()).await.is_err() {
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Received> {
    let mut arrived = (!buffer.is_empty()).then(|| (Instant::now(), SystemTime::now()));
    loop {
        if let Some(head) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let text = std::str::from_utf8(&buffer[..head]).expect("a head is text").to_owned();
            let mut lines = text.split("\r\n");
            let mut first = lines.next()?.split(' ');
            let headers: Vec<(String, String)> = lines
                .filter_map(|line| line.split_once(':').map(|(n, v)| (n.to_owned(), v.trim().to_owned())))
                .collect();
            let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            let length: usize = length.and_then(|(_, value)| value.parse().ok()).expect("a content-length");
            let end = head + 4 + length;
            if buffer.len() >= end {
                let (now, wall) = arrived?;
                let body = buffer[head + 4..end].to_vec();
                buffer.drain(..end);
                let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
                let (arrived, arrived_at, answered, answered_at) = (now, wall, now, wall);
                return Some(Received { method, target, headers, body, arrived, arrived_at, answered, answered_at });
            }
        }
        let read = stream.read_buf(buffer).await.ok()?;
        if read == 0 {
            return None;
        }
        arrived.get_or_insert_with(|| (Instant::now(), SystemTime::now()));
    }
}
