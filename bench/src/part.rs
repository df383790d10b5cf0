//! Runs parts of the benchmark as separate processes of this program.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::de::DeserializeOwned;
use tokio::process::Command;
use tokio::time::timeout;

/// Returns a command that runs this program. The caller adds the name of the part as an argument.
pub(crate) fn own_command() -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("the path of this program")?);
    command.kill_on_drop(true);
    Ok(command)
}

/// Runs a part until it ends, and reads the JSON that it printed.
pub(crate) async fn output<T: DeserializeOwned>(command: &mut Command) -> anyhow::Result<T> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let output =
        timeout(Duration::from_secs(600), command.output()).await.context("a part of the benchmark did not end")??;
    if !output.status.success() {
        bail!("a part of the benchmark failed: {}", output.status);
    }
    serde_json::from_slice(&output.stdout).context("read the output of a part of the benchmark")
}
