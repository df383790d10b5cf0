//! Child processes that end with `xtask`.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use postrider_testkit::procs;
use tokio::process::{Child, Command};

/// The variable that marks every descendant of a run: tests start brokers and services in their own process groups.
const RUN: &str = "POSTRIDER_XTASK_RUN";

/// Maximum time of a graceful stop: longer than the drain of Postrider and the stop of engines.
const STOP_MAX: Duration = Duration::from_secs(60);

/// A process in its own group, so that only `xtask` gets a Ctrl-C of the terminal. Dropping this stops the process and its descendants.
pub(crate) struct Guarded {
    child: Child,
    group: Pid,
    run: String,
    name: String,
}

impl Guarded {
    /// Starts it.
    pub(crate) fn spawn(mut command: Command, name: &str) -> Result<Self> {
        let run = format!("{}-{:016x}", std::process::id(), rand::random::<u64>());
        let child = command.env(RUN, &run).process_group(0).spawn().with_context(|| format!("cannot start {name}"))?;
        let group = Pid::from_raw(child.id().context("it ended at once")?.cast_signed());
        Ok(Self { child, group, run, name: name.to_owned() })
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

/// The `cargo` that runs `xtask`, in the checkout.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(checkout());
    // `cargo run` set these variables for `xtask`. They would cause build scripts to run again.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end; false if it failed.
pub(crate) async fn run(command: Command, name: &str) -> Result<bool> {
    let mut child = Guarded::spawn(command, name)?;
    Ok(child.wait().await?.success())
}

/// The root of the checkout.
pub(crate) fn checkout() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(std::path::Path::new("."))
}

/// The path of a program that cargo built for a profile (`debug`, `release`), in the target folder of this program.
pub(crate) fn built(profile: &str, name: &str) -> Result<std::path::PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).context("xtask is not where cargo builds it")?;
    Ok(target.join(profile).join(name))
}
