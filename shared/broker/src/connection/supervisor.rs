//! The task that keeps a connection open.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lapin::Event;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Connection, PublishState, Target, backoff};
use crate::error::BrokerError;
use crate::metrics;

/// The interval at which the supervisor checks that the connection is open, in addition to its events.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Maximum wait for the broker's answer to a close.
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// The first failed try of an outage is logged, then every tenth try.
const LOG_EVERY: u32 = 10;

pub(super) struct Supervisor {
    pub(super) target: Target,
    pub(super) current: watch::Sender<Option<Arc<Connection>>>,
    pub(super) state: watch::Sender<PublishState>,
    pub(super) close: mpsc::Receiver<oneshot::Sender<()>>,
    /// Reports that the first connection is open, or why it cannot be opened.
    pub(super) first: Option<oneshot::Sender<Result<(), BrokerError>>>,
}

/// Why the supervisor stopped watching a connection.
enum End {
    Lost,
    /// No handle of the connection is left.
    Unused,
    Close(oneshot::Sender<()>),
}

impl Supervisor {
    pub(super) async fn run(mut self) {
        let mut backoff = backoff();
        let mut generation = 0u64;
        loop {
            generation += 1;
            let connected = tokio::select! {
                connected = self.target.connect() => connected,
                () = self.current.closed() => return,
                Some(done) = self.close.recv() => { let _ = done.send(()); return },
            };
            match connected {
                Ok(connection) => {
                    backoff.reset();
                    if self.hold(connection, generation).await.is_break() {
                        return;
                    }
                }
                Err(error) => {
                    if matches!(error, BrokerError::Inequivalent { .. })
                        && let Some(first) = self.first.take()
                    {
                        let _ = first.send(Err(error));
                        return;
                    }
                    if backoff.tries().is_multiple_of(LOG_EVERY) {
                        tracing::warn!(connection = self.target.role, %error, "cannot connect to the broker; retrying");
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next_delay()) => {}
                () = self.current.closed() => return,
                Some(done) = self.close.recv() => { let _ = done.send(()); return },
            }
        }
    }

    /// Offers a connection to its users until the connection is lost. Returns `Break` if no further connection is needed.
    async fn hold(&mut self, connection: Connection, generation: u64) -> ControlFlow<()> {
        let role = self.target.role;
        if generation > 1 {
            metrics::count(metrics::RECONNECTS, "connection", role.to_owned(), 1);
        }
        tracing::info!(connection = role, generation, "connected to the broker");
        let connection = Arc::new(connection);
        self.current.send_replace(Some(Arc::clone(&connection)));
        self.state.send_replace(PublishState::Up);
        if let Some(first) = self.first.take() {
            let _ = first.send(Ok(()));
        }
        let end = self.watch(&connection).await;
        self.state.send_replace(PublishState::Down);
        self.current.send_replace(None);
        metrics::blocked(false);
        match end {
            End::Lost => {
                tracing::warn!(connection = role, generation, "lost the connection to the broker; reconnecting");
                ControlFlow::Continue(())
            }
            End::Unused => ControlFlow::Break(()),
            End::Close(done) => {
                let closing = connection.inner.close(200, "OK".into());
                let _ = tokio::time::timeout(CLOSE_MAX, closing).await;
                let _ = done.send(());
                ControlFlow::Break(())
            }
        }
    }

    /// Handles the events of a connection until it ends, and returns why it ended.
    async fn watch(&mut self, connection: &Connection) -> End {
        let role = self.target.role;
        let mut events = std::pin::pin!(connection.inner.events_listener());
        let mut check = tokio::time::interval(CHECK_EVERY);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Event::ConnectionBlocked(reason)) => {
                        tracing::warn!(connection = role, reason, "the broker blocks publishing");
                        metrics::blocked(true);
                        self.state.send_replace(PublishState::Blocked(reason));
                    }
                    Some(Event::ConnectionUnblocked) => {
                        tracing::info!(connection = role, "the broker accepts publishing again");
                        metrics::blocked(false);
                        self.state.send_replace(PublishState::Up);
                    }
                    Some(_) => {}
                    None => return End::Lost,
                },
                () = connection.suspect.notified() => {}
                _ = check.tick() => {}
                () = self.current.closed() => return End::Unused,
                Some(done) = self.close.recv() => return End::Close(done),
            }
            if !connection.is_connected() {
                return End::Lost;
            }
        }
    }
}
