//! RabbitMQ's and PostgreSQL's programs on this machine, and the user that PostgreSQL runs as.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::unistd::User;

use crate::paths::{on_path, set};

const POSTGRES_VERSIONS: &str = "/usr/lib/postgresql";

/// RabbitMQ's own script: the one that `POSTRIDER_RABBITMQ_SERVER` names, or where distributions put it. Debian's wrapper in
/// /usr/sbin requires the user `rabbitmq` and is never used.
///
/// # Errors
/// It is not there.
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

/// Folders with `postgres` and `initdb` (`POSTRIDER_POSTGRES_BIN` names one), newest major version first.
///
/// # Errors
/// There are none.
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

/// The major version of a folder of binaries, from its path or from the program.
pub(super) fn postgres_major(bin: &Path) -> Option<String> {
    let folder = bin.parent()?.file_name()?.to_str()?;
    if folder.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(folder.to_owned());
    }
    let output = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.split_whitespace().nth(2)?.split('.').next()?.to_owned())
}

/// How a user reaches the folders of its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// By its own rights.
    Own,
    /// With the one capability that lets it into folders that are closed to it, as a checkout in /root is.
    PassThrough,
}

/// A program as another user.
pub(super) fn command_as(user: &User, program: &Path, reach: Reach) -> Command {
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={}", user.uid)).arg(format!("--regid={}", user.gid)).arg("--clear-groups");
    if reach == Reach::PassThrough {
        command.args(["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]);
    }
    command.arg(program);
    command
}
