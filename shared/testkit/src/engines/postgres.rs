//! A private PostgreSQL cluster: its files, its process and its readiness.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use nix::unistd::{Uid, User};

use super::Say;
use super::programs::{command_as, postgres_binaries, postgres_major, wait_ready};
use super::scope::run_sql;
use crate::{ports, procs};

/// The superuser of the cluster. It needs no password on 127.0.0.1 (`trust`): the data is for development only.
const SUPERUSER: &str = "postrider";

/// A cluster whose files are all in one folder.
pub(super) struct Postgres {
    folder: PathBuf,
    pub(super) port: u16,
    child: Option<Child>,
}

/// The user that runs PostgreSQL, because PostgreSQL refuses to run as root; `None`: the current user. The flag adds the
/// capability to open folders to which the user has no access, such as a checkout in /root.
type RunAs = Option<(User, bool)>;

impl Postgres {
    pub(super) fn new(folder: PathBuf, port: u16) -> Self {
        Self { folder, port, child: None }
    }

    /// Returns the URL of one database for the superuser.
    pub(super) fn url(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}@127.0.0.1:{}/{database}", self.port)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("postgres.log")
    }

    /// Returns the process id of the running postmaster of this data folder, if any.
    fn pid(&self) -> Option<i32> {
        let text = std::fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        let pid = text.lines().next()?.trim().parse().ok()?;
        // The file remains after a kill -9, so the process id in it may belong to another process now.
        procs::command_of(pid)?.contains(&*self.data().to_string_lossy()).then_some(pid)
    }

    pub(super) fn running(&self) -> bool {
        self.pid().is_some()
    }

    /// Creates the cluster if it does not exist, and starts it. [`Postgres::wait_ready`] waits until it is ready.
    pub(super) fn start(&mut self, say: Say) -> Result<()> {
        ports::wait_free(self.port)?;
        std::fs::create_dir_all(&self.folder).with_context(|| format!("making {}", self.folder.display()))?;
        let run_as = self.run_as()?;
        if let Some((user, _)) = &run_as {
            std::os::unix::fs::chown(&self.folder, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        std::fs::set_permissions(&self.folder, std::fs::Permissions::from_mode(0o755))?;
        let bin = self.binaries()?;
        if !self.data().join("PG_VERSION").exists() {
            say("creating a PostgreSQL cluster");
            self.make_cluster(&bin, &run_as)?;
        }
        say(&format!("starting PostgreSQL on port {} (data in {})", self.port, self.folder.display()));
        let log = std::fs::File::create(self.log())?;
        let mut command = self.command(&bin.join("postgres"), &run_as);
        command.arg("-D").arg(self.data()).arg("-p").arg(self.port.to_string());
        for setting in [
            "listen_addresses=127.0.0.1",
            // No Unix socket, because its path may have at most 107 bytes and the checkout's path may be longer.
            "unix_socket_directories=",
            "max_connections=300",
            "shared_buffers=512MB",
            // Without this setting the kernel writes evicted pages in bursts of hundreds of megabytes, and the broker's log
            // waits for the disk.
            "backend_flush_after=256kB",
            // With the default of 1 GB, load causes a checkpoint every minute or two, which slows everything on the same disk.
            "max_wal_size=4GB",
            "checkpoint_timeout=15min",
            "timezone=UTC",
            "log_timezone=UTC",
        ] {
            command.arg("-c").arg(setting);
        }
        command.stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn().context("starting postgres")?);
        Ok(())
    }

    fn make_cluster(&self, bin: &Path, run_as: &RunAs) -> Result<()> {
        let _ = std::fs::remove_dir_all(self.data());
        let mut command = self.command(&bin.join("initdb"), run_as);
        command.arg("-D").arg(self.data()).args(["-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C"]);
        let output = command.output().context("running initdb")?;
        if !output.status.success() {
            let _ = std::fs::remove_dir_all(self.data());
            bail!("initdb failed ({}):\n{}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Returns the folder of programs of the major version that created the data; for new data, of the newest version.
    fn binaries(&self) -> Result<PathBuf> {
        let found = postgres_binaries()?;
        let newest = found.first().context("PostgreSQL is not installed")?;
        let Ok(version) = std::fs::read_to_string(self.data().join("PG_VERSION")) else { return Ok(newest.clone()) };
        let version = version.trim();
        found.iter().find(|bin| postgres_major(bin).is_some_and(|major| major == version)).cloned().with_context(
            || {
                format!(
                    "{} was made by PostgreSQL {version}, which is not installed: install it, or start empty with `cargo xtask up --reset`",
                    self.data().display()
                )
            },
        )
    }

    fn command(&self, program: &Path, run_as: &RunAs) -> Command {
        let mut command = match run_as {
            None => Command::new(program),
            Some((user, all_folders)) => command_as(user, program, *all_folders),
        };
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(&name);
            }
        }
        command.env(procs::MARK, &self.folder).env("LC_ALL", "C").stdin(Stdio::null()).process_group(0);
        // Another user may be unable to read the checkout's folder.
        command.current_dir(if run_as.is_none() { self.folder.as_path() } else { Path::new("/") });
        command
    }

    /// Waits until the database answers a query for its version, and returns the version.
    ///
    /// # Errors
    /// The process ended, or five minutes passed. The error contains the end of the log.
    pub(super) async fn wait_ready(&mut self) -> Result<String> {
        let url = self.url("postgres");
        let version = async || Ok(run_sql(&url, "SHOW server_version").await?.unwrap_or_default());
        let log = self.log();
        wait_ready("PostgreSQL", self.child.as_mut(), version, || procs::tail(&log, 20)).await
    }

    /// Shuts the cluster down fast. If that takes more than 10 s, shuts it down immediately, and at last kills it with SIGKILL.
    pub(super) fn stop(&mut self) {
        if let Some(pid) = self.pid() {
            for (signal, seconds) in [(Signal::SIGINT, 10), (Signal::SIGQUIT, 5), (Signal::SIGKILL, 5)] {
                procs::signal(pid, signal);
                let child = &mut self.child;
                let gone = procs::wait_until(Duration::from_secs(seconds), || {
                    // An ended child process has an entry in /proc until its parent waits for it.
                    let reaped = child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))));
                    reaped || procs::command_of(pid).is_none()
                });
                if gone {
                    break;
                }
            }
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn run_as(&self) -> Result<RunAs> {
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        let user = ["postgres", "nobody"].into_iter().find_map(|name| User::from_name(name).ok().flatten());
        let user = user.context("PostgreSQL does not run as root, and the user `postgres` does not exist")?;
        // `test -x` does not work, because access(2) ignores capabilities. `stat` of a file in the folder needs the same rights
        // as PostgreSQL.
        let opens = |all_folders: &bool| {
            let mut look = command_as(&user, Path::new("/usr/bin/stat"), *all_folders);
            look.arg(self.folder.join(".")).current_dir("/").stdout(Stdio::null()).stderr(Stdio::null());
            look.status().is_ok_and(|status| status.success())
        };
        if let Some(all_folders) = [false, true].into_iter().find(opens) {
            return Ok(Some((user, all_folders)));
        }
        bail!(
            "PostgreSQL does not run as root, and the user `{}` cannot reach {}: move the checkout to a folder that others may enter, or run as a plain user",
            user.name,
            self.folder.display()
        )
    }
}
