//! A Debian 13 in a folder of the checkout, with RabbitMQ 4.0 and PostgreSQL 17, on any Debian.
//!
//! Owns: creating it once with `debootstrap`, from the mirror and proxy of this machine's apt; and a script that runs a program of this
//! checkout inside it. Promises: the folder is complete or absent, because it is created under another name and then moved; a program
//! inside has the pid of the process that was started, and its mounts end with it.

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;
use postrider_testkit::debian::{KEYRING, SUITE, mirror, proxy};
use postrider_testkit::engines::{Install, ensure};
use postrider_testkit::paths::{default_folder, lock, on_path};
use postrider_testkit::procs;

use crate::child::checkout;
use crate::report::step;

// A path that sudo preserved may lack the folders of root's programs.
const DEBOOTSTRAP: &str = r#"PATH="$PATH:/usr/sbin:/sbin"; exec debootstrap "$@""#;
const PACKAGES: &str = "rabbitmq-server,postgresql";

/// A script that enters the Debian 13. The checkout and the folder for temporary files have the same paths inside.
fn enter_script(root: &Path) -> String {
    let [root, checkout, temporary] = [root, checkout(), &std::env::temp_dir()].map(|path| path.display().to_string());
    format!(
        r#"#!/bin/sh
# Runs a program inside the Debian 13 in {root}. Written by cargo xtask.
set -e
if [ "$1" != --inside ]; then
  exec unshare --mount "$0" --inside "$@"
fi
shift
PATH="$PATH:/usr/sbin:/sbin"
for place in /proc /sys /dev; do mount --rbind "$place" "{root}$place"; done
for place in "{checkout}" "{temporary}"; do mkdir -p "{root}$place"; mount --rbind "$place" "{root}$place"; done
exec chroot "{root}" /bin/sh -c 'cd "$0" && exec "$@"' "$PWD" "$@"
"#
    )
}

/// The folder of the Debian 13 in the checkout.
pub(crate) fn folder() -> PathBuf {
    default_folder().join("debian13")
}

/// Creates the folder if it does not exist, and returns the script that runs a program in it. Creating takes one to two minutes
/// and 850 MB, of which 700 MB remain.
///
/// # Errors
/// This user may not enter it, a package is missing, or debootstrap fails; the error contains the end of its log.
pub(crate) fn prepare(install: Install) -> Result<PathBuf> {
    check_rights()?;
    let missing = || {
        let keyring = Path::new(KEYRING).is_file();
        let needed = [("debootstrap", on_path("debootstrap").is_some()), ("debian-archive-keyring", keyring)];
        needed.into_iter().filter(|(_, there)| !there).map(|(package, _)| package).collect()
    };
    ensure(missing, install, step)?;
    let folder = folder();
    let _lock = lock(&folder)?;
    let root = folder.join("root");
    if !root.is_dir() {
        step(&format!("creating a Debian 13 in {} with debootstrap (once)", root.display()));
        create(&folder, &root)?;
    }
    let script = folder.join("enter");
    std::fs::write(&script, enter_script(&root)).with_context(|| format!("writing {}", script.display()))?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
    Ok(script)
}

fn create(folder: &Path, root: &Path) -> Result<()> {
    let unfinished = folder.join("unfinished");
    if unfinished.exists() {
        // Processes of a killed run may still write to it.
        procs::kill_marked(&unfinished);
        std::fs::remove_dir_all(&unfinished).with_context(|| format!("removing {}", unfinished.display()))?;
    }
    let log = folder.join("debootstrap.log");
    let output = File::create(&log).context("debootstrap's log")?;
    // Its mounts end with its namespace, even if it is killed.
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
        let end = procs::tail(&log, 20);
        bail!("debootstrap could not create a Debian 13 ({status}); {} ends with\n{end}", log.display());
    }
    // The downloaded packages are no longer needed.
    let _ = std::fs::remove_dir_all(unfinished.join("var/cache/apt/archives"));
    std::fs::rename(&unfinished, root).with_context(|| format!("moving it to {}", root.display()))
}

fn check_rights() -> Result<()> {
    if !Uid::effective().is_root() {
        bail!(
            "only root can create a Debian 13 and run engines in it (chroot): run this as root, as in \
             `sudo --preserve-env=PATH,HOME cargo xtask test --engines debian13`"
        );
    }
    let output = Command::new("unshare").args(["--mount", "true"]).output().context("running unshare")?;
    if !output.status.success() {
        bail!(
            "this root user may not create mounts, which a Debian 13 needs ({}): give the container the capability SYS_ADMIN",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_valid_and_shows_the_checkout_inside() {
        let script = enter_script(Path::new("/c/root"));
        assert!(script.contains(&format!("for place in \"{}\"", checkout().display())), "{script}");
        assert!(Command::new("/bin/sh").args(["-n", "-c", &script]).status().unwrap().success());
    }
}
