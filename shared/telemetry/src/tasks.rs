//! Named, supervised background tasks: a task that ends before its stop is a failure of the role that started it.
//!
//! A role spawns its tasks on one [`Tasks`], selects on [`Tasks::failed`] together with its work, and returns the failure. The
//! process then drains and exits with an error that names the task, so that its supervisor restarts it. A panic is handled in
//! the same way.
//!
//! Tasks are not restarted, because the state of a task is in doubt after a panic, and a new process is a clean start.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use metrics::gauge;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// 1 while a task runs, 0 after it has ended; label `task`.
const UP: &str = "postrider_task_up";

/// A task panicked, or ended although it was not stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("background task {task} {how}")]
pub struct TaskFailed {
    /// The task's name, as in the label of `postrider_task_up`.
    pub task: &'static str,
    /// How the task ended.
    how: String,
}

/// The background tasks of one role. Clones share the same tasks.
#[derive(Debug, Clone)]
pub struct Tasks {
    stop: CancellationToken,
    running: TaskTracker,
    failed: watch::Sender<Option<TaskFailed>>,
}

impl Tasks {
    /// Creates an empty set of tasks. The tasks may end only after `stop` is cancelled.
    pub fn new(stop: CancellationToken) -> Self {
        Self { stop, running: TaskTracker::new(), failed: watch::Sender::new(None) }
    }

    /// The token that stops the tasks.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Starts a task. `name` is `role.task`, unique in the process: it is the label of the metric and part of the error.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        metrics::describe_gauge!(UP, "1 while a background task runs");
        gauge!(UP, "task" => name).set(1.0);
        let up = Up(name);
        let (stop, failed) = (self.stop.clone(), self.failed.clone());
        self.running.spawn(async move {
            let _up = up;
            let how = match AssertUnwindSafe(task).catch_unwind().await {
                Ok(()) if stop.is_cancelled() => return,
                Ok(()) => "ended on its own".to_owned(),
                Err(panic) => format!("panicked: {}", text_of(panic.as_ref())),
            };
            let failure = TaskFailed { task: name, how };
            tracing::error!(task = name, error = %failure, "a background task failed");
            failed.send_if_modified(|first| {
                let is_first = first.is_none();
                first.get_or_insert(failure);
                is_first
            });
        });
    }

    /// Starts a task that never ends by itself and is dropped at the stop. For `name`, see [`Tasks::spawn`].
    pub fn spawn_endless(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.spawn(name, async move {
            stop.run_until_cancelled(task).await;
        });
    }

    /// Waits for the first failure and returns it.
    pub async fn failed(&self) -> TaskFailed {
        let mut failed = self.failed.subscribe();
        // `self` contains the sender, so the channel cannot close.
        let failure = failed.wait_for(Option::is_some).await.ok().and_then(|failure| failure.clone());
        match failure {
            Some(failure) => failure,
            None => std::future::pending().await,
        }
    }

    /// Runs `work` until it ends, or until a task fails.
    ///
    /// # Errors
    /// The first task that failed. `work` is then dropped.
    pub async fn supervise<T>(&self, work: impl Future<Output = T>) -> Result<T, TaskFailed> {
        tokio::select! {
            biased;
            failed = self.failed() => Err(failed),
            done = work => Ok(done),
        }
    }

    /// Waits until every task has ended. Call it after the stop is cancelled.
    ///
    /// # Errors
    /// The first task that failed, including a task that panicked after the stop.
    pub async fn join(&self) -> Result<(), TaskFailed> {
        self.running.close();
        self.running.wait().await;
        match &*self.failed.borrow() {
            Some(failure) => Err(failure.clone()),
            None => Ok(()),
        }
    }
}

/// Sets the gauge to 0 when the task ends, for any reason.
struct Up(&'static str);

impl Drop for Up {
    fn drop(&mut self) {
        gauge!(UP, "task" => self.0).set(0.0);
    }
}

/// The message of a panic, if it is a text.
fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("(no message)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks() -> (Tasks, CancellationToken) {
        let stop = CancellationToken::new();
        (Tasks::new(stop.clone()), stop)
    }

    #[tokio::test]
    async fn a_task_that_panics_is_a_failure_with_its_name_and_message() {
        let (tasks, _stop) = tasks();
        tasks.spawn("role.fine", std::future::pending());
        tasks.spawn("role.feed", async { panic!("no row {}", 7) });
        let failed = tasks.supervise(std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(failed.to_string(), "background task role.feed panicked: no row 7");
    }

    #[tokio::test]
    async fn a_task_that_ends_before_the_stop_is_a_failure() {
        let (tasks, _stop) = tasks();
        tasks.spawn("role.feed", async {});
        assert_eq!(tasks.failed().await.to_string(), "background task role.feed ended on its own");
        // Work that ends immediately does not hide the failure.
        assert!(tasks.supervise(async {}).await.is_err());
    }

    #[tokio::test]
    async fn a_task_that_ends_after_the_stop_did_not_fail() {
        let (tasks, stop) = tasks();
        tasks.spawn("role.feed", stop.clone().cancelled_owned());
        stop.cancel();
        assert_eq!(tasks.join().await, Ok(()));
    }

    #[tokio::test]
    async fn join_reports_a_panic_after_the_stop() {
        let (tasks, stop) = tasks();
        stop.cancel();
        tasks.spawn("role.last_report", async { panic!("late") });
        assert_eq!(tasks.join().await.unwrap_err().task, "role.last_report");
    }
}
