//! Child processes that end with us.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use postrider_testkit::procs;
use tokio::process::{Child, Command};

/// Marks every process of a run, however deep: tests start brokers and services in process groups of their own.
const RUN: &str = "POSTRIDER_XTASK_RUN";

/// A process in a group of its own (so that Ctrl-C in the terminal reaches it through us, in order), stopped with its
/// descendants when this is dropped.
pub(crate) struct Guarded {
    child: Child,
    group: Pid,
    run: String,
    name: String,
    patience: Duration,
}

impl Guarded {
    /// Starts it. `patience` is how long it may take to stop when asked to.
    pub(crate) fn spawn(mut command: Command, name: &str, patience: Duration) -> Result<Self> {
        let run = format!("{}-{:016x}", std::process::id(), rand::random::<u64>());
        let child = command.env(RUN, &run).process_group(0).spawn().with_context(|| format!("cannot start {name}"))?;
        let group = Pid::from_raw(child.id().context("it ended at once")?.cast_signed());
        Ok(Self { child, group, run, name: name.to_owned(), patience })
    }

    /// Its stdout, if it was piped.
    pub(crate) fn stdout(&mut self) -> Option<tokio::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Waits for its end.
    pub(crate) async fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().await.with_context(|| format!("waiting for {}", self.name))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = killpg(self.group, Signal::SIGTERM);
            let give_up = Instant::now() + self.patience;
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < give_up {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = killpg(self.group, Signal::SIGKILL);
        }
        procs::kill_with_variable(RUN, &self.run);
        let _ = self.child.try_wait();
    }
}

/// `cargo` as it was called, in the checkout.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(checkout());
    // Set by the `cargo run` that we come from; they would make build scripts look changed.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            command.env_remove(name);
        }
    }
    command
}

/// Runs it to its end; false when it failed.
pub(crate) async fn run(command: Command, name: &str) -> Result<bool> {
    let mut child = Guarded::spawn(command, name, Duration::from_secs(10))?;
    Ok(child.wait().await?.success())
}

/// The root of the checkout.
pub(crate) fn checkout() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(std::path::Path::new("."))
}

/// Where cargo puts what it builds for a profile (`debug`, `release`): in the target folder of this program.
pub(crate) fn built(profile: &str, name: &str) -> Result<std::path::PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).context("xtask is not where cargo builds it")?;
    Ok(target.join(profile).join(name))
}
