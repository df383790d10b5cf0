//! The sink: responds to every POST with 200 and an empty body, and stores the event id, the endpoint and the time of each
//! POST.
//!
//! `POST /e/<n>` is endpoint `n`. Of a batch, each event counts as a delivery. A second port reads requests and never responds (a
//! black hole). A third port responds with one byte per second. A fourth port refuses connections. A fifth port is like the first
//! one, but responds after 5 ms. `run` calls `GET /count`, `GET /ledger` and `POST /reset` on the
//! first port. The process stops when its standard input is closed, so it does not outlive `run`.
//!
//! For each delivery, the sink only appends to a vector. `ledger` finds duplicates afterwards.

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::clock::now_ns;
use crate::console::say;
use crate::http::{Head, parse_head};
use crate::ledger::Received;

/// Interval at which the third port sends a byte.
const DRIBBLE_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// Time after which the fifth port responds.
const LATE: std::time::Duration = std::time::Duration::from_millis(5);

/// The behaviour of a port. The sink has one port for each behaviour, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Responds with 200.
    Answers,
    /// Never responds.
    Swallows,
    /// Responds with one byte per second.
    Dribbles,
    /// Refuses connections.
    Refuses,
    /// Responds with 200 after [`LATE`].
    AnswersLate,
}

/// Prints the ports, and serves until standard input is closed.
pub(crate) async fn run() -> anyhow::Result<()> {
    let received = Rc::new(RefCell::new(Vec::new()));
    let mut ports = Vec::new();
    for behaviour in [Behaviour::Answers, Behaviour::Swallows, Behaviour::Dribbles] {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.context("listen")?;
        ports.push(listener.local_addr()?.port());
        tokio::task::spawn_local(accept(listener, Rc::clone(&received), behaviour));
    }
    // The socket is bound but does not listen. So the port is reserved, and connections to it are refused.
    let refusing = TcpSocket::new_v4()?;
    refusing.bind((std::net::Ipv4Addr::LOCALHOST, 0).into()).context("bind")?;
    ports.push(refusing.local_addr()?.port());
    let late = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.context("listen")?;
    ports.push(late.local_addr()?.port());
    tokio::task::spawn_local(accept(late, Rc::clone(&received), Behaviour::AnswersLate));
    say(&serde_json::to_string(&ports)?);
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = ended.send(());
    });
    Ok(end.await?)
}

async fn accept(listener: TcpListener, received: Rc<RefCell<Vec<Received>>>, behaviour: Behaviour) {
    while let Ok((stream, _)) = listener.accept().await {
        let received = Rc::clone(&received);
        tokio::task::spawn_local(async move {
            // The client may close a connection at any time.
            let _ = serve(stream, received, behaviour).await;
        });
    }
}

async fn serve(
    mut stream: TcpStream,
    received: Rc<RefCell<Vec<Received>>>,
    behaviour: Behaviour,
) -> anyhow::Result<()> {
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
            match behaviour {
                Behaviour::Answers | Behaviour::AnswersLate => {
                    let body = &buffer[used + head.head_bytes..used + whole];
                    handle(&head, body, at_ns, &mut received.borrow_mut(), &mut answer)?;
                }
                Behaviour::Dribbles => answer.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOK"),
                Behaviour::Swallows | Behaviour::Refuses => {}
            }
            used += whole;
        }
        buffer.drain(..used);
        if behaviour == Behaviour::Dribbles {
            for byte in &answer {
                stream.write_all(std::slice::from_ref(byte)).await?;
                tokio::time::sleep(DRIBBLE_EVERY).await;
            }
        } else if !answer.is_empty() {
            if behaviour == Behaviour::AnswersLate {
                tokio::time::sleep(LATE).await;
            }
            stream.write_all(&answer).await?;
        }
    }
}

/// An event in the body of a batch.
#[derive(Deserialize)]
struct Item {
    id: String,
}

fn handle(
    head: &Head<'_>,
    body: &[u8],
    at_ns: u64,
    received: &mut Vec<Received>,
    answer: &mut Vec<u8>,
) -> anyhow::Result<()> {
    let endpoint = head.target.strip_prefix("/e/").and_then(|number| number.parse().ok());
    let body = match (head.method, head.target, endpoint) {
        ("POST", "/reset", _) => {
            received.clear();
            Vec::new()
        }
        ("GET", "/count", _) => received.len().to_string().into_bytes(),
        ("GET", "/ledger", _) => serde_json::to_vec(received)?,
        ("POST", _, Some(endpoint)) if head.webhook_id.starts_with(b"bat_") => {
            let items: Vec<Item> = serde_json::from_slice(body).context("the body of a batch")?;
            received.extend(items.into_iter().map(|Item { id }| Received { id, endpoint, at_ns }));
            Vec::new()
        }
        ("POST", _, Some(endpoint)) => {
            let id = String::from_utf8_lossy(head.webhook_id).into_owned();
            received.push(Received { id, endpoint, at_ns });
            Vec::new()
        }
        _ => bail!("an unknown request"),
    };
    answer.extend_from_slice(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes());
    answer.extend_from_slice(&body);
    Ok(())
}
