//! A supervised connection: it reconnects for as long as the process runs, and declares the topology before it is used.
//!
//! Publishing and consuming have one connection each, because an alarm of the broker blocks every write on a connection that
//! publishes, including acks. lapin's own recovery is not used, because it ends after some tries.

mod supervisor;
mod target;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use lapin::Channel;
use parking_lot::Mutex;
use postrider_backoff::Backoff;
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::config::BrokerConfig;
use crate::error::BrokerError;
use crate::ladder::Rung;
use crate::tasks::BackgroundTasks;
use crate::topology;
use crate::user_id::UserId;

pub(crate) use self::target::Target;

/// Delays between tries to connect, subscribe or publish. A try is cheap, so the maximum delay is short: work resumes soon
/// after the broker is back.
pub(crate) fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(2))
}

/// Whether publishing is possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishState {
    /// Connected and not blocked.
    Up,
    /// Connected, but the broker blocks publishers, for the given reason (memory or disk alarm).
    Blocked(String),
    /// Not connected, and reconnecting.
    Down,
}

/// One established connection. A holder uses it until a channel on it fails, then requests the next one from
/// [`SupervisedConnection`].
pub(crate) struct Connection {
    inner: lapin::Connection,
    /// The channel for declarations; `None` after a declaration failed.
    control: AsyncMutex<Option<Channel>>,
    rungs: Mutex<HashSet<Rung>>,
    suspect: Notify,
}

impl Connection {
    /// Opens a channel. Waits while the broker blocks this connection.
    pub(crate) async fn channel(&self) -> Result<Channel, lapin::Error> {
        self.inner.create_channel().await.inspect_err(|_| self.report_failure())
    }

    /// Makes the supervisor check this connection now, because something on it failed.
    pub(crate) fn report_failure(&self) {
        self.suspect.notify_one();
    }

    /// Declares the rung, unless this connection has already declared it.
    pub(crate) async fn ensure_rung(&self, rung: Rung) -> Result<(), BrokerError> {
        if self.rungs.lock().contains(&rung) {
            return Ok(());
        }
        self.on_control(async |channel| topology::declare_rung(channel, rung).await).await?;
        self.rungs.lock().insert(rung);
        Ok(())
    }

    /// Declares the topology again, because a queue or exchange may be missing. Each rung is declared again at its next use.
    pub(crate) async fn redeclare(&self) -> Result<(), BrokerError> {
        self.rungs.lock().clear();
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

    fn is_connected(&self) -> bool {
        self.inner.status().connected()
    }
}

/// A handle on a supervised connection. The supervisor ends when the last handle is dropped.
#[derive(Clone)]
pub(crate) struct SupervisedConnection {
    current: watch::Receiver<Option<Arc<Connection>>>,
    state: watch::Receiver<PublishState>,
    close: mpsc::Sender<oneshot::Sender<()>>,
    tasks: BackgroundTasks,
    user_id: Arc<UserId>,
}

impl SupervisedConnection {
    /// Starts the supervisor and waits for the first connection, for as long as the broker is away.
    ///
    /// # Errors
    /// An invalid URL or CA file, queues that exist with other arguments, or `stop`.
    pub(crate) async fn start(
        config: &BrokerConfig,
        role: &'static str,
        tasks: &BackgroundTasks,
        stop: &CancellationToken,
    ) -> Result<Self, BrokerError> {
        let target = Target::new(config, role)?;
        let user = config.user_id.as_deref().unwrap_or(target.user());
        let user_id = Arc::new(UserId::new(user.to_owned()));
        let (current_tx, current) = watch::channel(None);
        let (state_tx, state) = watch::channel(PublishState::Down);
        let (close, close_rx) = mpsc::channel(1);
        let (first_tx, first) = oneshot::channel();
        let supervisor = supervisor::Supervisor {
            target,
            current: current_tx,
            state: state_tx,
            close: close_rx,
            first: Some(first_tx),
        };
        tasks.spawn("connection", supervisor.run());
        let connection = Self { current, state, close, tasks: tasks.clone(), user_id };
        tokio::select! {
            first = first => first.unwrap_or(Err(BrokerError::Stopped)).map(|()| connection),
            () = stop.cancelled() => Err(BrokerError::Stopped),
        }
    }

    /// Returns the current connection, and waits for a connection if there is none; `None` if the connection was closed for
    /// good.
    pub(crate) async fn current(&self) -> Option<Arc<Connection>> {
        let mut current = self.current.clone();
        let is_usable = |current: &Option<Arc<Connection>>| current.as_ref().is_some_and(|it| it.is_connected());
        let found = current.wait_for(is_usable).await.ok()?;
        found.clone()
    }

    /// The tasks through which users of this connection start their own tasks.
    pub(crate) fn tasks(&self) -> &BackgroundTasks {
        &self.tasks
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
