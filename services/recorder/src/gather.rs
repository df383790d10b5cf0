//! Gathers messages into batches. A batch contains the decoded rows, and the messages to ack after the rows are committed.
//!
//! While one batch is being written, the next batch gathers. Therefore batches grow under load: one commit covers thousands of
//! rows.

use postrider_broker::{Queue, RawMessage};
use postrider_model::time::UnixMillis;
use postrider_store::record::RecordBatch;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::config::Config;
use crate::decode::decode;

/// A message and the queue from which it was consumed.
pub(crate) struct Incoming {
    pub(crate) queue: Queue,
    pub(crate) message: RawMessage,
}

/// Rows to write in one transaction, and the messages that contained them.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) rows: RecordBatch,
    pub(crate) messages: Vec<RawMessage>,
    /// The time of the oldest member of the batch.
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

/// Gathers the next batch. Returns `None` after the consumers of all queues have ended. The caller waits until `writing` has
/// ended before it writes the batch. So at most one batch gathers while another batch is being written.
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

/// Waits until the task has ended, and removes its handle.
async fn ended(writing: &mut Option<JoinHandle<()>>) {
    if let Some(task) = writing {
        let result = task.await;
        // A `JoinHandle` must not be awaited again after it has completed.
        *writing = None;
        if let Err(error) = result {
            tracing::error!(%error, "writing a batch ended early");
        }
    }
}
