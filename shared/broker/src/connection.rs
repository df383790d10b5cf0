//! A supervised connection: it comes back for ever, and the topology is declared each time before anyone uses it.
//!
//! Publishing and consuming have a connection each, because an alarm of the broker stops every write on a connection that
//! publishes, acks included. lapin's own recovery is not used: it gives up after some tries.

use std::collections::HashSet;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use lapin::tcp::OwnedTLSConfig;
use lapin::uri::AMQPUri;
use lapin::{Channel, ConnectionProperties, Event};
use tokio::sync::{Mutex, Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::config::BrokerConfig;
use crate::error::BrokerError;
use crate::ladder::Rung;
use crate::tasks::BackgroundTasks;
use crate::user_id::UserId;
use crate::{metrics, topology};
use postrider_backoff::Backoff;

/// Seconds between heartbeats unless the URL says otherwise: a frozen peer is noticed after two.
const HEARTBEAT_S: u16 = 15;
/// Longest time one try to connect, or to declare the topology, may take.
const CONNECT_MAX: Duration = Duration::from_secs(20);
/// How often a connection that reports nothing is looked at.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Delays between tries to connect, subscribe or publish. Tries are cheap: the longest delay is short, so that work resumes soon after the
/// broker is back.
pub(crate) fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(2))
}

/// Whether publishing is possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishState {
    /// Connected and not blocked.
    Up,
    /// Connected, but the broker blocks publishers, for the reason given (memory or disk alarm).
    Blocked(String),
    /// Not connected; it is being tried.
    Down,
}

/// One established connection. Holders keep it until a channel on it fails, then ask the [`SupervisedConnection`] for the next.
pub(crate) struct Connection {
    connection: lapin::Connection,
    /// The channel that declares; `None` after it failed.
    control: Mutex<Option<Channel>>,
    rungs: std::sync::Mutex<HashSet<Rung>>,
    suspect: Notify,
}

impl Connection {
    /// Opens a channel. Hangs while the broker blocks this connection.
    pub(crate) async fn channel(&self) -> Result<Channel, lapin::Error> {
        self.connection.create_channel().await.inspect_err(|_| self.suspect.notify_one())
    }

    /// Tells the supervisor that something on this connection failed, so that it looks now.
    pub(crate) fn report(&self) {
        self.suspect.notify_one();
    }

    /// Whether the rung was declared on this connection.
    pub(crate) fn knows_rung(&self, rung: Rung) -> bool {
        self.rungs.lock().is_ok_and(|rungs| rungs.contains(&rung))
    }

    /// Declares the rung unless this connection did already.
    pub(crate) async fn ensure_rung(&self, rung: Rung) -> Result<(), BrokerError> {
        if self.knows_rung(rung) {
            return Ok(());
        }
        self.on_control(async |channel| topology::declare_rung(channel, rung).await).await?;
        if let Ok(mut rungs) = self.rungs.lock() {
            rungs.insert(rung);
        }
        Ok(())
    }

    /// Declares everything again, rungs included when next used: somebody deleted something.
    pub(crate) async fn redeclare(&self) -> Result<(), BrokerError> {
        if let Ok(mut rungs) = self.rungs.lock() {
            rungs.clear();
        }
        self.on_control(async |channel| topology::declare(channel).await).await
    }

    async fn on_control(
        &self,
        declare: impl AsyncFnOnce(&Channel) -> Result<(), BrokerError>,
    ) -> Result<(), BrokerError> {
        let mut control = self.control.lock().await;
        let channel = match control.take() {
            Some(channel) if channel.status().connected() => channel,
            _ => self.channel().await?,
        };
        declare(&channel).await?;
        *control = Some(channel);
        Ok(())
    }

    fn connected(&self) -> bool {
        self.connection.status().connected()
    }
}

/// A handle on a supervised connection. The supervisor ends when the last handle is dropped.
#[derive(Clone)]
pub(crate) struct SupervisedConnection {
    live: watch::Receiver<Option<Arc<Connection>>>,
    state: watch::Receiver<PublishState>,
    close: mpsc::Sender<oneshot::Sender<()>>,
    helpers: BackgroundTasks,
    user_id: Arc<UserId>,
}

impl SupervisedConnection {
    /// Starts the supervisor and waits for the first connection.
    ///
    /// # Errors
    /// A bad URL or CA file, queues with other arguments, or `stop`. The broker being away is no error: it is waited for.
    pub(crate) async fn start(
        config: &BrokerConfig,
        role: &'static str,
        helpers: &BackgroundTasks,
        stop: &CancellationToken,
    ) -> Result<Self, BrokerError> {
        let target = Target::new(config, role)?;
        let user = config.user_id.as_ref().unwrap_or(&target.uri.authority.userinfo.username);
        let user_id = Arc::new(UserId::new(user.clone()));
        let (live_tx, live) = watch::channel(None);
        let (state_tx, state) = watch::channel(PublishState::Down);
        let (close, close_rx) = mpsc::channel(1);
        let (first_tx, first) = oneshot::channel();
        helpers.spawn("connection", supervise(target, live_tx, state_tx, close_rx, first_tx));
        let link = Self { live, state, close, helpers: helpers.clone(), user_id };
        tokio::select! {
            first = first => match first {
                Ok(result) => result.map(|()| link),
                Err(_) => Err(BrokerError::Stopped),
            },
            () = stop.cancelled() => Err(BrokerError::Stopped),
        }
    }

    /// The current connection, waited for as long as it takes; `None` once the link was closed.
    pub(crate) async fn live(&self) -> Option<Arc<Connection>> {
        let mut live = self.live.clone();
        let found = live.wait_for(|live| live.as_ref().is_some_and(|live| live.connected())).await.ok()?;
        found.clone()
    }

    /// Starts the tasks of what is made on this connection.
    pub(crate) fn helpers(&self) -> &BackgroundTasks {
        &self.helpers
    }

    /// The user of the connection.
    pub(crate) fn user_id(&self) -> &UserId {
        &self.user_id
    }

    pub(crate) fn state(&self) -> watch::Receiver<PublishState> {
        self.state.clone()
    }

    /// Closes the connection for good, waiting at most two seconds for the broker's answer.
    pub(crate) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.close.send(done).await.is_ok() {
            let _ = closed.await;
        }
    }
}

pub(crate) struct Target {
    uri: AMQPUri,
    tls: OwnedTLSConfig,
    name: String,
    role: &'static str,
}

impl Target {
    pub(crate) fn new(config: &BrokerConfig, role: &'static str) -> Result<Self, BrokerError> {
        let mut uri = AMQPUri::from_str(&config.amqp_url).map_err(BrokerError::Url)?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT_S);
        let cert_chain = match &config.ca_file {
            Some(path) => Some(
                std::fs::read_to_string(path).map_err(|source| BrokerError::CaFile { path: path.clone(), source })?,
            ),
            None => None,
        };
        let tls = OwnedTLSConfig { identity: None, cert_chain };
        Ok(Self { uri, tls, name: format!("{} {role}", config.connection_name), role })
    }

    async fn connect(&self) -> Result<Connection, BrokerError> {
        let attempt = async {
            let properties = ConnectionProperties::default().with_connection_name(self.name.as_str().into());
            let runtime = lapin::runtime::default_runtime()?;
            let connection =
                lapin::Connection::connect_uri_with_config(self.uri.clone(), properties, self.tls.clone(), runtime)
                    .await?;
            let channel = connection.create_channel().await?;
            topology::declare(&channel).await?;
            Ok(Connection {
                connection,
                control: Mutex::new(Some(channel)),
                rungs: std::sync::Mutex::default(),
                suspect: Notify::new(),
            })
        };
        // Boxed: the handshake's future is large and lives in the supervisor for the process's whole life.
        tokio::time::timeout(CONNECT_MAX, attempt.boxed()).await.map_err(|_| BrokerError::Timeout(CONNECT_MAX))?
    }
}

async fn supervise(
    target: Target,
    live_tx: watch::Sender<Option<Arc<Connection>>>,
    state_tx: watch::Sender<PublishState>,
    mut close: mpsc::Receiver<oneshot::Sender<()>>,
    first: oneshot::Sender<Result<(), BrokerError>>,
) {
    let mut first = Some(first);
    let mut backoff = backoff();
    let mut generation = 0u64;
    loop {
        generation += 1;
        let connected = tokio::select! {
            connected = target.connect() => connected,
            () = live_tx.closed() => return,
            Some(done) = close.recv() => { let _ = done.send(()); return },
        };
        match connected {
            Ok(live) => {
                if generation > 1 {
                    metrics::count(metrics::RECONNECTS, "connection", target.role.to_owned(), 1);
                }
                tracing::info!(connection = target.role, generation, "connected to the broker");
                backoff.reset();
                let live = Arc::new(live);
                live_tx.send_replace(Some(Arc::clone(&live)));
                state_tx.send_replace(PublishState::Up);
                if let Some(first) = first.take() {
                    let _ = first.send(Ok(()));
                }
                let closing = watch_over(&live, target.role, &live_tx, &state_tx, &mut close).await;
                state_tx.send_replace(PublishState::Down);
                live_tx.send_replace(None);
                metrics::blocked(false);
                match closing {
                    End::Lost => {
                        tracing::warn!(connection = target.role, generation, "lost the connection to the broker");
                    }
                    End::Unused => return,
                    End::Close(done) => {
                        let bye = live.connection.close(200, "OK".into());
                        let _ = tokio::time::timeout(Duration::from_secs(2), bye).await;
                        let _ = done.send(());
                        return;
                    }
                }
            }
            Err(error) => {
                if matches!(error, BrokerError::Inequivalent { .. })
                    && let Some(first) = first.take()
                {
                    let _ = first.send(Err(error));
                    return;
                }
                // Once per try would fill the log of a long outage.
                if backoff.tries().is_multiple_of(10) {
                    tracing::warn!(connection = target.role, %error, "cannot connect to the broker, trying on");
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next_delay()) => {}
            () = live_tx.closed() => return,
            Some(done) = close.recv() => { let _ = done.send(()); return },
        }
    }
}

enum End {
    Lost,
    Unused,
    Close(oneshot::Sender<()>),
}

/// Follows one connection's events until it is gone.
async fn watch_over(
    live: &Connection,
    role: &str,
    live_tx: &watch::Sender<Option<Arc<Connection>>>,
    state_tx: &watch::Sender<PublishState>,
    close: &mut mpsc::Receiver<oneshot::Sender<()>>,
) -> End {
    let mut events = std::pin::pin!(live.connection.events_listener());
    let mut check = tokio::time::interval(CHECK_EVERY);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Event::ConnectionBlocked(reason)) => {
                    tracing::warn!(connection = role, reason, "the broker blocks publishing");
                    metrics::blocked(true);
                    state_tx.send_replace(PublishState::Blocked(reason));
                }
                Some(Event::ConnectionUnblocked) => {
                    tracing::info!(connection = role, "the broker accepts publishing again");
                    metrics::blocked(false);
                    state_tx.send_replace(PublishState::Up);
                }
                Some(_) => {}
                None => return End::Lost,
            },
            () = live.suspect.notified() => {}
            _ = check.tick() => {}
            () = live_tx.closed() => return End::Unused,
            Some(done) = close.recv() => return End::Close(done),
        }
        if !live.connected() {
            return End::Lost;
        }
    }
}
