//! A Debian 13 system in a folder of the checkout, with RabbitMQ 4.0 and PostgreSQL 17. It works on any Debian.
//!
//! Owns: the creation of the folder with `debootstrap`, which uses the mirror and the proxy of this machine's apt; and a script
//! that runs a program of this checkout in the Debian 13 system. Promises: the folder is complete or absent, because it is
//! created with another name and then renamed. A program in the system has the pid of the process that was started, and the
//! mounts of the program end with the program.

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

// sudo may preserve a `PATH` that does not contain the folders of root's programs.
const DEBOOTSTRAP: &str = r#"PATH="$PATH:/usr/sbin:/sbin"; exec debootstrap "$@""#;
const PACKAGES: &str = "rabbitmq-server,postgresql";

/// Returns a script that enters the Debian 13 system. The checkout and the folder for temporary files have the same paths
/// inside it.
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

/// Returns the folder of the Debian 13 system in the checkout.
pub(crate) fn folder() -> PathBuf {
    default_folder().join("debian13")
}

/// Creates the Debian 13 system if it does not exist, and returns the script that runs a program in it. The creation takes one
/// to two minutes and 850 MB, of which 700 MB remain.
///
/// # Errors
/// This user may not enter the system, a package is missing, or debootstrap fails. In the last case, the error contains the end
/// of debootstrap's log.
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
        // Processes of a killed run may still write to this folder.
        procs::kill_marked(&unfinished);
        std::fs::remove_dir_all(&unfinished).with_context(|| format!("removing {}", unfinished.display()))?;
    }
    let log = folder.join("debootstrap.log");
    let output = File::create(&log).context("debootstrap's log")?;
    // The mounts of debootstrap end with its namespace, even if debootstrap is killed.
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
    // The installed system does not need the downloaded packages.
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
