//! Keeps idle connections for the next request to the same server.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::stream::Stream;

/// Maximum number of idle connections to one server. It equals the number of requests that a dispatcher has in flight, because
/// several endpoints may share a host. With a lower maximum, connections would be closed and reopened all the time, which costs
/// more CPU time than the requests.
const IDLE_PER_SERVER: usize = 4_096;
/// How long an idle connection is kept, unless the server announces a shorter time. The time is below the defaults of common
/// servers (Node.js: 5 s), because a request must be sent again if the server closes the connection first.
const IDLE_MAX: Duration = Duration::from_secs(4);
/// The interval at which expired connections are closed.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The server of a connection: scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    pub(crate) https: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
}

#[derive(Debug)]
struct Idle {
    stream: Stream,
    until: Instant,
}

/// The idle connections to all servers. Clones share the same connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pool(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    servers: HashMap<Server, Vec<Idle>>,
    /// Whether a sweep is running. A sweep ends when no connection is idle.
    swept: bool,
}

impl Pool {
    /// Takes the most recently used open connection to `server`.
    pub(crate) fn take(&self, server: &Server) -> Option<Stream> {
        let now = Instant::now();
        let mut state = self.0.lock();
        let idle = state.servers.get_mut(server)?;
        while let Some(Idle { mut stream, until }) = idle.pop() {
            if until > now && stream.is_quiet() {
                return Some(stream);
            }
        }
        None
    }

    /// Keeps a connection after an answer. `announced` is the time for which the server says that it keeps the connection.
    pub(crate) fn put(&self, server: &Server, stream: Stream, announced: Option<Duration>) {
        let keep_for = idle_time(announced);
        if keep_for.is_zero() {
            return;
        }
        let mut state = self.0.lock();
        let connection = Idle { stream, until: Instant::now() + keep_for };
        match state.servers.get_mut(server) {
            Some(idle) if idle.len() >= IDLE_PER_SERVER => return,
            Some(idle) => idle.push(connection),
            None => {
                state.servers.insert(server.clone(), vec![connection]);
            }
        }
        if !std::mem::replace(&mut state.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(&self.0)));
        }
    }
}

/// Returns how long to keep a connection if the server announces `Keep-Alive: timeout=…`. The result is up to a second shorter,
/// so that the client closes the connection first.
fn idle_time(announced: Option<Duration>) -> Duration {
    let margin = Duration::from_secs(1);
    announced.map_or(IDLE_MAX, |announced| announced.saturating_sub(margin).max(announced / 2).min(IDLE_MAX))
}

/// Closes expired connections until no connection is idle.
async fn sweep(state: Weak<Mutex<State>>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(state) = state.upgrade() else { return };
        let now = Instant::now();
        let mut state = state.lock();
        state.servers.retain(|_, idle| {
            idle.retain_mut(|idle| idle.until > now && idle.stream.is_quiet());
            !idle.is_empty()
        });
        if state.servers.is_empty() {
            state.swept = false;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_closed_before_the_server_would() {
        let check = |announced: Option<u64>, expected_ms: u64| {
            let kept = idle_time(announced.map(Duration::from_secs));
            assert_eq!(kept, Duration::from_millis(expected_ms), "{announced:?}");
        };
        check(None, 4_000);
        check(Some(0), 0);
        check(Some(1), 500);
        check(Some(2), 1_000);
        check(Some(5), 4_000);
        check(Some(75), 4_000);
        check(Some(u64::MAX / 2), 4_000);
    }
}
