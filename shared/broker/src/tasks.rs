//! The tasks behind publishers, connections and listeners. Each ends with its last handle; none may panic unnoticed.
//!
//! A helper that panics leaves its handles alive: everything published through them is then given back for ever, and the
//! process looks healthy. [`Broker::task_panicked`](crate::Broker::task_panicked) tells the process, which ends itself.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::sync::watch;

/// Starts helper tasks and remembers the first that panicked. Clones share that.
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
                tracing::error!(helper = name, "a helper task of the broker client panicked");
                panicked.send_if_modified(|first| first.replace(name).is_none());
            }
        });
    }

    /// The name of a helper that panicked, as soon as there is one.
    pub(crate) async fn panicked(&self) -> &'static str {
        let mut panicked = self.panicked.subscribe();
        // The sender is our own, so the channel cannot close.
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
    async fn a_helper_that_panics_is_named_and_one_that_ends_is_not() {
        let helpers = BackgroundTasks::new();
        helpers.spawn("fine", async {});
        helpers.spawn("bundler", async { panic!("boom") });
        assert_eq!(helpers.panicked().await, "bundler");
    }
}
