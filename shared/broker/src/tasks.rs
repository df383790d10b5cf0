//! The background tasks of publishers, connections and listeners. Each task ends with its last handle, and every panic is
//! reported.
//!
//! After a panic the handles of the task still exist: every message published through them would be requeued forever, while the
//! process looks healthy. So [`Broker::task_panicked`](crate::Broker::task_panicked) reports the panic, and the process exits.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::sync::watch;

/// Starts tasks and remembers the first task that panicked. Clones share their state.
#[derive(Debug, Clone)]
pub(crate) struct BackgroundTasks {
    panicked: watch::Sender<Option<&'static str>>,
}

impl BackgroundTasks {
    pub(crate) fn new() -> Self {
        Self { panicked: watch::Sender::new(None) }
    }

    pub(crate) fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let panicked = self.panicked.clone();
        tokio::spawn(async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                tracing::error!(task = name, "a task of the broker client panicked; the process will exit");
                panicked.send_if_modified(|first| first.replace(name).is_none());
            }
        });
    }

    /// Waits until a task panics and returns its name.
    pub(crate) async fn panicked(&self) -> &'static str {
        let mut panicked = self.panicked.subscribe();
        // `self` contains a sender, so the channel cannot close.
        let name = panicked.wait_for(Option::is_some).await.ok().and_then(|name| *name);
        match name {
            Some(name) => name,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_named_and_one_that_ends_is_not() {
        let tasks = BackgroundTasks::new();
        tasks.spawn("fine", async {});
        tasks.spawn("broken", async { panic!("boom") });
        assert_eq!(tasks.panicked().await, "broken");
    }
}
