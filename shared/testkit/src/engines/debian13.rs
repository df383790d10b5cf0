//! A Debian 13 in a folder, with RabbitMQ and PostgreSQL: the engines that users deploy, on whatever Debian this is.
//!
//! Owns: making it with `debootstrap`, once, from the mirror and through the proxy that this machine's apt uses. Promises: it is
//! whole or it is not there (made beside its place, then moved); nothing stays mounted, nothing of it runs. Does not: run
//! engines (`system` does).

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::Say;
use crate::debian::{KEYRING, SUITE, mirror, proxy};
use crate::procs;

// A path that sudo preserved may lack the folders of root's programs.
const DEBOOTSTRAP: &str = r#"PATH="$PATH:/usr/sbin:/sbin"; exec debootstrap "$@""#;
const PACKAGES: &str = "rabbitmq-server,postgresql";

/// The system's `/`, in the folder of its release.
pub(super) fn root(folder: &Path) -> PathBuf {
    folder.join("root")
}

/// Makes it unless it is there: a minute or two and 850 MB, of which 700 MB stay. Only for those who [may](super::system::may_enter).
///
/// # Errors
/// debootstrap fails; with the end of its log.
pub(super) fn make(folder: &Path, say: &Say) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let lock = File::create(folder.join("lock")).context("a lock file")?;
    lock.lock().context("waiting for another `cargo xtask` to make a Debian 13")?;
    let root = root(folder);
    if root.is_dir() {
        return Ok(());
    }
    let unfinished = folder.join("unfinished");
    if unfinished.exists() {
        // Of a run that was killed: what it started may still be at it.
        procs::kill_marked(&unfinished);
        std::fs::remove_dir_all(&unfinished).with_context(|| format!("removing {}", unfinished.display()))?;
    }
    say(&format!("making a Debian 13 in {} for its RabbitMQ and PostgreSQL, with debootstrap, once", root.display()));
    let log = folder.join("debootstrap.log");
    let output = File::create(&log).context("debootstrap's log")?;
    // What it mounts goes with its namespace, also when it is killed.
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "/bin/sh", "-c", DEBOOTSTRAP, "debootstrap", "--variant=minbase"])
        .arg(format!("--include={PACKAGES}"))
        .arg(format!("--keyring={KEYRING}"))
        .arg(SUITE)
        .arg(&unfinished)
        .arg(mirror()?)
        .env(procs::MARK, &unfinished)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    for scheme in ["http", "https"] {
        command.envs(proxy(scheme)?.map(|proxy| (format!("{scheme}_proxy"), proxy)));
    }
    let status = command.status().context("running debootstrap")?;
    if !status.success() {
        bail!(
            "debootstrap could not make a Debian 13 ({status}); {} ends with\n{}",
            log.display(),
            procs::tail(&log, 20)
        );
    }
    // The packages themselves, which nobody needs any more.
    let _ = std::fs::remove_dir_all(unfinished.join("var/cache/apt/archives"));
    std::fs::rename(&unfinished, &root).with_context(|| format!("moving it to {}", root.display()))
}
