//! Finishes work in progress within a time limit.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// All work finished.
    Complete,
    /// The time limit passed first. The remaining work is abandoned, and its messages are redelivered.
    Abandoned,
}

/// Waits for `work` to end, at most for `bound`.
pub async fn within(what: &str, bound: Duration, work: impl Future) -> Drained {
    match tokio::time::timeout(bound, work).await {
        Ok(_) => Drained::Complete,
        Err(_) => {
            tracing::warn!(what, bound_ms = millis(bound), "drain timed out; abandoning the remaining work");
            Drained::Abandoned
        }
    }
}

/// Closes `tasks` and waits for them, at most for `bound`.
pub async fn tasks(what: &str, bound: Duration, tasks: &TaskTracker) -> Drained {
    tasks.close();
    let left = tasks.len();
    if left > 0 {
        tracing::info!(what, tasks = left, "draining");
    }
    within(what, bound, tasks.wait()).await
}

/// Runs `work` until it ends by itself, or until `bound` has passed after `stop`. Returns `None` if `bound` passed first.
pub async fn until_stopped<T>(stop: &CancellationToken, bound: Duration, work: impl Future<Output = T>) -> Option<T> {
    let deadline = async {
        stop.cancelled().await;
        tokio::time::sleep(bound).await;
    };
    tokio::select! {
        biased;
        done = work => Some(done),
        () = deadline => None,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn running_work_is_finished_and_endless_work_abandoned() {
        let tracker = TaskTracker::new();
        tracker.spawn(tokio::time::sleep(Duration::from_secs(2)));
        assert_eq!(tasks("test", Duration::from_secs(3), &tracker).await, Drained::Complete);
        tracker.reopen();
        tracker.spawn(std::future::pending::<()>());
        assert_eq!(tasks("test", Duration::from_secs(3), &tracker).await, Drained::Abandoned);
    }

    #[tokio::test(start_paused = true)]
    async fn the_bound_counts_from_the_stop() {
        let stop = CancellationToken::new();
        let work = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            7
        };
        assert_eq!(until_stopped(&stop, Duration::from_secs(1), work).await, Some(7));
        stop.cancel();
        assert_eq!(until_stopped(&stop, Duration::from_secs(1), std::future::pending::<()>()).await, None);
    }
}
