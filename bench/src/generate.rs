//! The load generator: publishes events over HTTP and prints the accepted events.
//!
//! In a closed loop, each connection sends a request, waits for the response, and sends the next request. In an open loop
//! (`--rate`), requests are due at fixed times, and latency starts at the time at which a request was due. `--batch` is the
//! number of events in a request.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::future::{join_all, try_join_all};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::clock::{now_ns, pace};
use crate::console::say;
use crate::http::{Answer, Connection};
use crate::ledger::{Accepted, Latency};
use crate::payload::{EVENT_BYTES, Event};
use crate::processes::{Usage, own_usage};

/// Pause of a connection after a response other than 202.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_millis(20);

/// Number of connections in a closed loop, and minimum number of connections in an open loop.
const CONNECTIONS: usize = 64;
/// In an open loop, responses may take this long before a due request must wait for a free connection. With fewer connections,
/// the generator would amplify a short delay of the services.
const ANSWER_SECONDS: f64 = 0.2;

/// Options of `generate`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct GenerateArgs {
    /// Address of ingest, as `host:port`.
    #[arg(long)]
    pub(crate) address: String,
    /// API keys with the scope `publish`. Requests use them in turn.
    #[arg(long = "key", env = "POSTRIDER_BENCH_KEYS", hide_env_values = true, value_delimiter = ',', required = true)]
    pub(crate) keys: Vec<String>,
    /// Type of the events.
    #[arg(long = "type")]
    pub(crate) event_type: String,
    /// Time to publish, in seconds.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// Number of events after which to stop, instead of a time.
    #[arg(long)]
    pub(crate) events: Option<u64>,
    /// Events per second (open loop).
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Events per request. With 1, each event is published in its own request.
    #[arg(long, default_value_t = 1)]
    pub(crate) batch: usize,
    /// Length of an event in bytes.
    #[arg(long, default_value_t = EVENT_BYTES)]
    pub(crate) bytes: usize,
}

/// The result that the generator prints at the end.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Generated {
    /// Number of events in requests that were answered with a status other than 202.
    pub(crate) refused: u64,
    /// The first response with a status other than 202.
    pub(crate) first_refusal: Option<String>,
    /// Time from when a request was due until it was sent (open loop only). It is part of the latency.
    pub(crate) lateness: Option<Latency>,
    /// The resources that this process used.
    pub(crate) usage: Usage,
    /// The accepted events.
    pub(crate) accepted: Vec<Accepted>,
}

struct Shared {
    args: GenerateArgs,
    /// The head of a request, for each key.
    heads: Vec<String>,
    counter: Cell<u64>,
    deadline_ns: u64,
    /// The requests that are due. The connection that holds the lock receives the next request.
    due: Option<Mutex<UnboundedReceiver<u64>>>,
    lateness_ns: RefCell<Vec<u64>>,
    done: RefCell<Generated>,
}

/// Publishes events. Prints [`Generated`] as JSON.
pub(crate) async fn run(args: GenerateArgs) -> anyhow::Result<()> {
    let batched = args.batch > 1;
    let target = if batched { "/v1/publish/batch" } else { "/v1/publish" };
    let head = |key: &String| {
        format!(
            "POST {target} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\ncontent-length: ",
            args.address
        )
    };
    let heads = args.keys.iter().map(head).collect();
    let connections = args.rate.map_or(0, |rate| (rate / args.batch as f64 * ANSWER_SECONDS) as usize).max(CONNECTIONS);
    // The connections are opened before the measured time starts, because connecting is not part of the measurement.
    let connections = try_join_all((0..connections).map(|_| Connection::open(&args.address))).await?;
    let due = args.rate.map(|rate| {
        let count = args.events.unwrap_or((rate * args.seconds) as u64);
        Mutex::new(pace(rate / args.batch as f64, count / args.batch as u64))
    });
    let deadline_ns = match args.events {
        Some(_) => u64::MAX,
        None => now_ns() + (args.seconds * 1e9) as u64,
    };
    let shared = Rc::new(Shared {
        args,
        heads,
        counter: Cell::new(0),
        deadline_ns,
        due,
        lateness_ns: RefCell::default(),
        done: RefCell::default(),
    });
    let tasks =
        connections.into_iter().map(|connection| tokio::task::spawn_local(post(Rc::clone(&shared), connection)));
    for task in join_all(tasks).await {
        task.context("a connection's task")??;
    }
    let mut done = shared.done.borrow_mut();
    done.lateness = shared.due.is_some().then(|| Latency::of(&mut shared.lateness_ns.borrow_mut()));
    done.usage = own_usage();
    say(&serde_json::to_string(&*done)?);
    Ok(())
}

impl Shared {
    /// Returns the number of the first event in the next request, and the time at which the request is due. Returns `None` at
    /// the end.
    async fn next(&self) -> Option<(u64, u64)> {
        let due = match &self.due {
            Some(due) => due.lock().await.recv().await?,
            None => now_ns(),
        };
        let first = self.counter.get();
        let over = self.due.is_none() && (due >= self.deadline_ns || self.args.events.is_some_and(|max| first >= max));
        if over {
            return None;
        }
        self.counter.set(first + self.args.batch as u64);
        Some((first, due))
    }

    /// Records a response. Returns `false` if its status is not 202.
    fn take(&self, answer: &Answer<'_>, sent_ns: u64) -> anyhow::Result<bool> {
        let (batch, answered_ns) = (self.args.batch, now_ns());
        if answer.status != 202 {
            self.refused(batch, answer.status, answer.body);
            return Ok(false);
        }
        let ids = if batch > 1 { ids_in_batch(answer.body)? } else { vec![id_in(answer.body)] };
        if ids.len() != batch {
            bail!("a 202 for {batch} events with {} results", ids.len());
        }
        for id in ids {
            match id {
                Some(id) => self.done.borrow_mut().accepted.push(Accepted { id, sent_ns, answered_ns }),
                None => self.refused(1, answer.status, answer.body),
            }
        }
        Ok(true)
    }

    fn refused(&self, events: usize, status: u16, body: &[u8]) {
        let mut done = self.done.borrow_mut();
        done.refused += events as u64;
        done.first_refusal.get_or_insert_with(|| format!("{status} {}", String::from_utf8_lossy(body)));
    }
}

async fn post(shared: Rc<Shared>, mut connection: Connection) -> anyhow::Result<()> {
    let GenerateArgs { batch, bytes, event_type, address, .. } = &shared.args;
    let mut event = Event::new(event_type, *bytes);
    let (mut body, mut request) = (Vec::new(), Vec::new());
    while let Some((first, sent_ns)) = shared.next().await {
        write_body(&mut body, &mut event, first, *batch);
        request.clear();
        request.extend_from_slice(shared.heads[(first / *batch as u64) as usize % shared.heads.len()].as_bytes());
        request.extend_from_slice(body.len().to_string().as_bytes());
        request.extend_from_slice(b"\r\n\r\n");
        request.extend_from_slice(&body);
        if shared.due.is_some() {
            shared.lateness_ns.borrow_mut().push(now_ns().saturating_sub(sent_ns));
        }
        match connection.send(&request).await {
            Ok(answer) => {
                if shared.take(&answer, sent_ns)? {
                    continue;
                }
                tokio::time::sleep(PAUSE_AFTER_REFUSAL).await;
            }
            Err(error) => {
                shared.refused(*batch, 0, format!("{error:#}").as_bytes());
                tokio::time::sleep(PAUSE_AFTER_REFUSAL).await;
                connection = Connection::open(address).await?;
            }
        }
    }
    Ok(())
}

/// Writes the body of a request with `batch` events. The events are numbered from `first`.
fn write_body(body: &mut Vec<u8>, event: &mut Event, first: u64, batch: usize) {
    body.clear();
    if batch == 1 {
        return body.extend_from_slice(event.numbered(first));
    }
    body.extend_from_slice(br#"{"events":["#);
    for number in first..first + batch as u64 {
        if number > first {
            body.push(b',');
        }
        body.extend_from_slice(event.numbered(number));
    }
    body.extend_from_slice(b"]}");
}

/// Returns the value of the member `"id"` in the response for a single event. Searching for the name is enough, because ids
/// contain no escapes.
fn id_in(body: &[u8]) -> Option<String> {
    const MEMBER: &str = r#""id":""#;
    let text = std::str::from_utf8(body).ok()?;
    let rest = &text[text.find(MEMBER)? + MEMBER.len()..];
    rest.split('"').next().map(str::to_owned)
}

/// Returns the id of each result of a batch. An error has no id.
fn ids_in_batch(body: &[u8]) -> anyhow::Result<Vec<Option<String>>> {
    #[derive(Deserialize)]
    struct Answer {
        results: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        id: Option<String>,
    }
    let answer: Answer = serde_json::from_slice(body).context("the answer to a batch")?;
    Ok(answer.results.into_iter().map(|one| one.id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_single_and_batch_answers() {
        assert_eq!(id_in(br#"{"id":"evt_1","warnings":[]}"#).as_deref(), Some("evt_1"));
        let batch = br#"{"results":[{"id":"evt_1","warnings":[]},{"error":{"status":503}}]}"#;
        assert_eq!(ids_in_batch(batch).expect("an answer"), [Some("evt_1".to_owned()), None]);
    }
}
