//! The programs of RabbitMQ and PostgreSQL: finds them, runs them as another user, and waits until they are ready.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::unistd::User;

use crate::paths::{on_path, set};

const POSTGRES_VERSIONS: &str = "/usr/lib/postgresql";

/// Returns RabbitMQ's start script: the file in `POSTRIDER_RABBITMQ_SERVER`, or the usual file of distributions. Debian's
/// wrapper in /usr/sbin is not used, because it requires the user `rabbitmq`.
///
/// # Errors
/// RabbitMQ is not installed.
pub(super) fn rabbitmq_server() -> Result<PathBuf> {
    let known = [
        "/usr/lib/rabbitmq/bin/rabbitmq-server",
        "/opt/rabbitmq/sbin/rabbitmq-server",
        "/usr/local/lib/rabbitmq/sbin/rabbitmq-server",
    ];
    let named = set("POSTRIDER_RABBITMQ_SERVER");
    let candidates = named.map_or_else(|| known.map(String::from).to_vec(), |named| vec![named]);
    candidates.into_iter().map(PathBuf::from).find(|path| path.is_file()).context("RabbitMQ is not installed")
}

/// Returns the folders with `postgres` and `initdb`, newest major version first. If `POSTRIDER_POSTGRES_BIN` is set, returns
/// only the folder that it names.
///
/// # Errors
/// PostgreSQL is not installed.
pub(super) fn postgres_binaries() -> Result<Vec<PathBuf>> {
    let mut folders: Vec<PathBuf> = Vec::new();
    if let Some(named) = set("POSTRIDER_POSTGRES_BIN") {
        folders.push(named.into());
    } else {
        let versions = std::fs::read_dir(POSTGRES_VERSIONS).into_iter().flatten().flatten();
        folders.extend(versions.map(|entry| entry.path().join("bin")));
        folders.sort_by_key(|bin| std::cmp::Reverse(postgres_major(bin).and_then(|major| major.parse::<u32>().ok())));
        folders.extend(on_path("initdb").and_then(|file| file.parent().map(Path::to_path_buf)));
    }
    folders.retain(|bin| bin.join("postgres").is_file() && bin.join("initdb").is_file());
    if folders.is_empty() {
        bail!("PostgreSQL is not installed");
    }
    Ok(folders)
}

/// Returns the major version of the programs in a folder, from the folder's path or from a program.
pub(super) fn postgres_major(bin: &Path) -> Option<String> {
    let folder = bin.parent()?.file_name()?.to_str()?;
    if folder.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(folder.to_owned());
    }
    let output = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.split_whitespace().nth(2)?.split('.').next()?.to_owned())
}

/// Returns a command that runs a program as another user. If `all_folders` is set, the program has the capability to open every
/// folder.
pub(super) fn command_as(user: &User, program: &Path, all_folders: bool) -> Command {
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={}", user.uid)).arg(format!("--regid={}", user.gid)).arg("--clear-groups");
    if all_folders {
        command.args(["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]);
    }
    command.arg(program);
    command
}

/// Repeats `probe` until it succeeds, and returns its result.
///
/// # Errors
/// The process ended, or five minutes passed. The error contains the end of the log.
pub(super) async fn wait_ready<T>(
    name: &str,
    mut child: Option<&mut Child>,
    probe: impl AsyncFn() -> Result<T>,
    log_tail: impl Fn() -> String,
) -> Result<T> {
    let give_up = Instant::now() + Duration::from_secs(300);
    loop {
        if let Some(status) = child.as_mut().and_then(|child| child.try_wait().ok()?) {
            bail!("{name} did not start ({status}); its log ends with\n{}", log_tail());
        }
        match probe().await {
            Ok(ready) => return Ok(ready),
            Err(error) if Instant::now() > give_up => {
                bail!("{name} is not ready after five minutes ({error:#}); its log ends with\n{}", log_tail())
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
