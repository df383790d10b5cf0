//! The receiver: answers every POST with 200 and no body, and keeps which event came to which path when.
//!
//! `POST /e/<n>` is endpoint `n`. A second port reads requests and never answers (the black hole), a third answers a byte a
//! second, a fourth refuses connections. The orchestrator calls `GET /count`, `GET /ledger` and `POST /reset` on the first port;
//! the process stops when its standard input ends, so that none is left when the orchestrator dies.
//!
//! On the way of a delivery it only appends to two vectors; duplicates are found afterwards, by `ledger`.

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::clock::now_ns;
use crate::console::say;
use crate::http::{Head, parse_head};
use crate::processes::reset_own_peak;

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
    /// Where they are never answered.
    pub(crate) black_hole_port: u16,
    /// Where they are answered a byte a second.
    pub(crate) dribbling_port: u16,
    /// Where connections are refused.
    pub(crate) refusing_port: u16,
}

/// What happens to requests on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    Answers,
    Swallows,
    Dribbles,
}

#[derive(Default)]
struct Received {
    /// Event ids one after the other, and where each ends.
    ids: Vec<u8>,
    rows: Vec<Row>,
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
    // Bound and not listening: the port stays ours, and connections are refused.
    let refusing = TcpSocket::new_v4()?;
    refusing.bind((std::net::Ipv4Addr::LOCALHOST, 0).into()).context("bind")?;
    let ports = SinkPorts {
        port: listener.local_addr()?.port(),
        black_hole_port: black_hole.local_addr()?.port(),
        dribbling_port: dribbling.local_addr()?.port(),
        refusing_port: refusing.local_addr()?.port(),
    };
    say(&serde_json::to_string(&ports)?);
    let received = Rc::new(RefCell::new(Received::default()));
    for (listener, behaviour) in
        [(listener, Behaviour::Answers), (black_hole, Behaviour::Swallows), (dribbling, Behaviour::Dribbles)]
    {
        tokio::task::spawn_local(accept(listener, Rc::clone(&received), behaviour));
    }
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = ended.send(());
    });
    Ok(end.await?)
}

async fn accept(listener: TcpListener, received: Rc<RefCell<Received>>, behaviour: Behaviour) {
    while let Ok((stream, _)) = listener.accept().await {
        let received = Rc::clone(&received);
        tokio::task::spawn_local(async move {
            // A connection that ends or breaks is the client's choice.
            let _ = serve(stream, received, behaviour).await;
        });
    }
}

async fn serve(mut stream: TcpStream, received: Rc<RefCell<Received>>, behaviour: Behaviour) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(16 * 1024);
    let mut answer = Vec::new();
    loop {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        let at_ns = now_ns();
        let mut used = 0;
        answer.clear();
        while let Some(head) = parse_head(&buffer[used..])? {
            let whole = head.head_bytes + head.body_bytes;
            if buffer.len() - used < whole {
                break;
            }
            handle(&head, at_ns, &mut received.borrow_mut(), behaviour, &mut answer);
            used += whole;
        }
        buffer.drain(..used);
        if behaviour == Behaviour::Dribbles {
            for byte in &answer {
                stream.write_all(std::slice::from_ref(byte)).await?;
                tokio::time::sleep(DRIBBLE_EVERY).await;
            }
        } else if !answer.is_empty() {
            stream.write_all(&answer).await?;
        }
    }
}

fn handle(head: &Head<'_>, at_ns: u64, received: &mut Received, behaviour: Behaviour, answer: &mut Vec<u8>) {
    match behaviour {
        Behaviour::Answers => {}
        Behaviour::Swallows => return,
        Behaviour::Dribbles => return answer.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOK"),
    }
    let mut words = head.start_line.split(|byte| *byte == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let body = match (method, target) {
        (b"POST", b"/reset") => {
            *received = Received::default();
            reset_own_peak();
            Vec::new()
        }
        (b"GET", b"/count") => received.rows.len().to_string().into_bytes(),
        (b"GET", b"/ledger") => ledger(received),
        (b"POST", target) if target.starts_with(b"/e/") => {
            received.ids.extend_from_slice(head.webhook_id.unwrap_or_default());
            let id_end = received.ids.len() as u32;
            received.rows.push(Row { id_end, endpoint: number(&target[b"/e/".len()..]), at_ns });
            Vec::new()
        }
        _ => return answer.extend_from_slice(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"),
    };
    answer.extend_from_slice(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes());
    answer.extend_from_slice(&body);
}

fn number(digits: &[u8]) -> u16 {
    digits.iter().fold(0, |sum: u16, digit| sum.wrapping_mul(10).wrapping_add(digit.wrapping_sub(b'0').into()))
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
