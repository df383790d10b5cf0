//! Batches: what came in together, decoded, with the messages to be acked once it is written.
//!
//! While a batch is being written the next one gathers, so that under load batches grow by themselves and a commit is
//! paid once for thousands of rows.

use postrider_broker::{Queue, RawMessage};
use postrider_model::time::UnixMillis;
use postrider_store::record::RecordBatch;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::config::Config;
use crate::decode::decode;

/// A message and the queue it came from.
pub(crate) struct Incoming {
    pub(crate) queue: Queue,
    pub(crate) message: RawMessage,
}

/// What is written in one transaction, and the messages that say it.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) rows: RecordBatch,
    pub(crate) messages: Vec<RawMessage>,
    /// When the oldest of it happened.
    pub(crate) oldest: Option<UnixMillis>,
}

impl Batch {
    fn add(&mut self, incoming: Incoming) {
        let Incoming { queue, message } = incoming;
        let oldest = decode(queue, &message, &mut self.rows);
        self.oldest = [self.oldest, oldest].into_iter().flatten().min();
        self.messages.push(message);
    }
}

/// The next batch; `None` once every queue's consumer has ended. A batch that is being `writing` is waited for, so that at
/// most two are in memory; when it has ended `writing` is still to be taken by the caller.
pub(crate) async fn gather(
    received: &mut mpsc::Receiver<Incoming>,
    config: &Config,
    writing: &mut Option<JoinHandle<()>>,
) -> Option<Batch> {
    let mut batch = Batch::default();
    batch.add(received.recv().await?);
    let deadline = Instant::now() + config.batch_wait;
    let mut waited = false;
    loop {
        let busy = writing.as_ref().is_some_and(|task| !task.is_finished());
        let members = batch.rows.len();
        let enough = members >= if busy { config.batch_members_max } else { config.batch_members };
        if enough || (waited && !busy) {
            return Some(batch);
        }
        tokio::select! {
            biased;
            incoming = received.recv() => match incoming {
                Some(incoming) => batch.add(incoming),
                None => return Some(batch),
            },
            () = sleep_until(deadline), if !waited => waited = true,
            () = ended(writing), if busy => {}
        }
    }
}

/// Waits until the task has ended, and leaves a finished handle behind.
async fn ended(writing: &mut Option<JoinHandle<()>>) {
    if let Some(task) = writing {
        let result = task.await;
        // A handle must not be awaited twice: what is left is one that is done already.
        *writing = None;
        if let Err(error) = result {
            tracing::error!(%error, "writing a batch ended early");
        }
    }
}
