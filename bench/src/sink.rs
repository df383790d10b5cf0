//! The receiver: answers every POST with 200 and no body, and remembers which event came to which path when.
//!
//! `POST /e/<n>` is endpoint `n`, `/slow/<n>` the same after 50 ms. `/later/<n>` answers 404 when it sees an event for the first
//! time, and 200 after that; `/until/<n>/<second>` answers 503 with a `Retry-After` that ends at that second of the epoch, but for every
//! third event, so that no breaker opens. On a second port requests are read and never answered: the black hole; on a third they are
//! answered a byte a second; a fourth is held so that nobody listens there, and refuses. The orchestrator asks `GET /count`, `GET /ledger` and `POST /reset` on the first port; standard input's end stops
//! the process, so that none is left when the orchestrator dies.
//!
//! On the way of a delivery it only appends to two vectors; duplicates are found afterwards, by `ledger`.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::clock::now_ns;
use crate::http::{Head, parse_head};
use crate::{processes, report};

/// How often the port that dribbles sends a byte.
const DRIBBLE_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// Options of `sink`.
#[derive(Debug, clap::Args)]
pub(crate) struct SinkArgs {
    /// The address to listen on; port 0 takes a free one. What was taken is printed as JSON.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
}

/// The first line the sink prints.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SinkPorts {
    /// Where deliveries are answered.
    pub(crate) port: u16,
    /// Where they never are.
    pub(crate) black_hole_port: u16,
    /// Where they are, a byte a second.
    pub(crate) dribbling_port: u16,
    /// Where nobody listens.
    pub(crate) refusing_port: u16,
}

/// What becomes of requests on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Answers,
    Swallows,
    Dribbles,
}

/// How long `/slow` takes.
const SLOW: std::time::Duration = std::time::Duration::from_millis(50);
/// `/until` answers one of so many events at once.
pub(crate) const ANSWERED_OF: u64 = 3;

#[derive(Default)]
struct Received {
    /// Events that came to `/later` or `/until`.
    postponed: HashSet<Vec<u8>>,
    /// Event ids one after the other, and where each ends.
    ids: Vec<u8>,
    rows: Vec<Row>,
    /// Requests on the other ports.
    swallowed: u64,
    /// Connections accepted where requests are answered.
    connections: u64,
}

struct Row {
    id_end: u32,
    endpoint: u16,
    at_ns: u64,
}

/// Serves until standard input ends.
pub(crate) async fn run(args: SinkArgs) -> anyhow::Result<()> {
    let listener = TcpListener::bind(&args.listen).await.context("listen")?;
    let black_hole = TcpListener::bind((listener.local_addr()?.ip(), 0)).await.context("listen")?;
    let dribbling = TcpListener::bind((listener.local_addr()?.ip(), 0)).await.context("listen")?;
    // Bound and not listening: nobody else takes the port, and connections are refused.
    let refusing = TcpSocket::new_v4()?;
    refusing.bind((std::net::Ipv4Addr::LOCALHOST, 0).into()).context("bind")?;
    let ports = SinkPorts {
        port: listener.local_addr()?.port(),
        black_hole_port: black_hole.local_addr()?.port(),
        dribbling_port: dribbling.local_addr()?.port(),
        refusing_port: refusing.local_addr()?.port(),
    };
    report::say(&serde_json::to_string(&ports)?);
    let received = Rc::new(RefCell::new(Received::default()));
    for (listener, manner) in
        [(listener, Manner::Answers), (black_hole, Manner::Swallows), (dribbling, Manner::Dribbles)]
    {
        tokio::task::spawn_local(accept(listener, Rc::clone(&received), manner));
    }
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = ended.send(());
    });
    Ok(end.await?)
}

async fn accept(listener: TcpListener, received: Rc<RefCell<Received>>, manner: Manner) {
    while let Ok((stream, _)) = listener.accept().await {
        received.borrow_mut().connections += u64::from(manner == Manner::Answers);
        let received = Rc::clone(&received);
        tokio::task::spawn_local(async move {
            // A connection that ends or breaks is the client's choice.
            let _ = serve(stream, received, manner).await;
        });
    }
}

async fn serve(mut stream: TcpStream, received: Rc<RefCell<Received>>, manner: Manner) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(16 * 1024);
    let mut answer = Vec::new();
    loop {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        let at_ns = now_ns();
        let (mut used, mut slow) = (0, false);
        answer.clear();
        while let Some(head) = parse_head(&buffer[used..])? {
            let whole = head.head_bytes + head.body_bytes;
            if buffer.len() - used < whole {
                break;
            }
            handle(&head, at_ns, &mut received.borrow_mut(), manner, &mut answer);
            slow |= head.start_line.starts_with(b"POST /slow/");
            used += whole;
        }
        buffer.drain(..used);
        if slow {
            tokio::time::sleep(SLOW).await;
        }
        if manner == Manner::Dribbles {
            for byte in &answer {
                stream.write_all(std::slice::from_ref(byte)).await?;
                tokio::time::sleep(DRIBBLE_EVERY).await;
            }
        } else if !answer.is_empty() {
            stream.write_all(&answer).await?;
        }
    }
}

fn handle(head: &Head<'_>, at_ns: u64, received: &mut Received, manner: Manner, answer: &mut Vec<u8>) {
    if manner != Manner::Answers {
        received.swallowed += 1;
        if manner == Manner::Dribbles {
            answer.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOK");
        }
        return;
    }
    let mut words = head.start_line.split(|byte| *byte == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut parts = target.strip_prefix(b"/").unwrap_or_default().split(|byte| *byte == b'/');
    let (what, endpoint, until) = (parts.next().unwrap_or_default(), number(parts.next()), number(parts.next()));
    if let (b"POST", b"e" | b"slow" | b"later" | b"until") = (method, what) {
        let id = head.webhook_id.unwrap_or_default();
        received.ids.extend_from_slice(id);
        let id_end = received.ids.len() as u32;
        received.rows.push(Row { id_end, endpoint: endpoint as u16, at_ns });
        let postponed = matches!(what, b"later" | b"until") && received.postponed.insert(id.to_vec());
        let refused = received.postponed.len() as u64;
        match (postponed, what) {
            (true, b"later") => answer.extend_from_slice(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"),
            (true, _) if !refused.is_multiple_of(ANSWERED_OF) => {
                let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: ";
                answer.extend_from_slice(format!("{head}{}\r\n\r\n", seconds_until(until, at_ns)).as_bytes());
            }
            _ => answer.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        }
        return;
    }
    let body = match (method, target) {
        (b"POST", b"/reset") => {
            *received = Received::default();
            processes::forget_own_peak();
            Vec::new()
        }
        (b"GET", b"/count") => {
            let Received { rows, swallowed, connections, .. } = received;
            format!(r#"{{"received":{},"swallowed":{swallowed},"connections":{connections}}}"#, rows.len()).into_bytes()
        }
        (b"GET", b"/ledger") => ledger(received),
        _ => return answer.extend_from_slice(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"),
    };
    answer.extend_from_slice(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes());
    answer.extend_from_slice(&body);
}

/// Whole seconds from `at_ns` to the second `until` of the epoch, rounded up.
pub(crate) fn seconds_until(until: u64, at_ns: u64) -> u64 {
    (until * 1_000_000_000).saturating_sub(at_ns).div_ceil(1_000_000_000)
}

fn number(digits: Option<&[u8]>) -> u64 {
    let digits = digits.unwrap_or_default().iter();
    digits.fold(0_u64, |sum, digit| sum.wrapping_mul(10).wrapping_add(digit.wrapping_sub(b'0').into()))
}

/// A line each: endpoint, time in nanoseconds, event id.
fn ledger(received: &Received) -> Vec<u8> {
    use std::io::Write as _;
    let mut lines = Vec::with_capacity(received.ids.len() + received.rows.len() * 26);
    let mut start = 0;
    for row in &received.rows {
        let end = row.id_end as usize;
        // Writing to a vector does not fail.
        let _ = write!(lines, "{} {} ", row.endpoint, row.at_ns);
        lines.extend_from_slice(&received.ids[start..end]);
        lines.push(b'\n');
        start = end;
    }
    lines
}
