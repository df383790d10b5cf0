//! Child processes that are stopped when `xtask` ends.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use postrider_testkit::procs;
use tokio::process::{Child, Command};

/// The variable that marks all descendants of a run. The mark is needed because tests start brokers and services in their own
/// process groups.
const RUN: &str = "POSTRIDER_XTASK_RUN";

/// Maximum time of a graceful stop. It is longer than the drain of Postrider and the stop of the engines.
const STOP_MAX: Duration = Duration::from_secs(60);

/// A process in its own group, so that Ctrl-C in the terminal reaches only `xtask`. Dropping this struct stops the process and
/// its descendants.
pub(crate) struct Guarded {
    child: Child,
    group: Pid,
    run: String,
    name: String,
}

impl Guarded {
    /// Starts the process.
    pub(crate) fn spawn(mut command: Command, name: &str) -> Result<Self> {
        let run = format!("{}-{:016x}", std::process::id(), rand::random::<u64>());
        let child = command.env(RUN, &run).process_group(0).spawn().with_context(|| format!("cannot start {name}"))?;
        let group = Pid::from_raw(child.id().context("it ended at once")?.cast_signed());
        Ok(Self { child, group, run, name: name.to_owned() })
    }

    /// Returns the standard output of the process, if it was piped.
    pub(crate) fn stdout(&mut self) -> Option<tokio::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Waits until the process ends.
    pub(crate) async fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().await.with_context(|| format!("waiting for {}", self.name))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = killpg(self.group, Signal::SIGTERM);
            let give_up = Instant::now() + STOP_MAX;
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < give_up {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = killpg(self.group, Signal::SIGKILL);
        }
        procs::kill_with_variable(RUN, &self.run);
        let _ = self.child.try_wait();
    }
}

/// Returns a command for the `cargo` that started `xtask`. The command runs in the checkout.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(checkout());
    // `cargo run` sets these variables for `xtask`. With them, build scripts would run again.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command until it ends. Returns `false` if the command failed.
pub(crate) async fn run(command: Command, name: &str) -> Result<bool> {
    let mut child = Guarded::spawn(command, name)?;
    Ok(child.wait().await?.success())
}

/// Returns the root of the checkout.
pub(crate) fn checkout() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(std::path::Path::new("."))
}

/// Returns the path of a program that cargo built for a profile (`debug`, `release`), in the target folder that contains this
/// program.
pub(crate) fn built(profile: &str, name: &str) -> Result<std::path::PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).context("xtask is not where cargo builds it")?;
    Ok(target.join(profile).join(name))
}
