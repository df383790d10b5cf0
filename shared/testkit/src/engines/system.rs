//! The system whose programs run as the engines: this machine's own, or another Debian's in a folder of the checkout.
//!
//! Owns: where programs are in it, which users it has, and the way into it. Promises: a process that was started in another
//! system sees the engines' data under the same path, is the very child that was spawned (so that its pid is the program's, and
//! a kill -9 kills that), and its mounts are in a namespace of its own: the kernel ends them with it, whatever way it ends.
//! Does not: make a system (`debian13`), install anything here (`install`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Result};
use nix::unistd::{Uid, User};

use super::{debian13, default_folder, set};

/// Whose RabbitMQ and PostgreSQL are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// What this machine has installed.
    Installed,
    /// Debian 13's packages, in a folder of the checkout: RabbitMQ 4.0 and PostgreSQL 17. Only root can run them.
    Debian13,
}

impl Release {
    /// How tests that start engines of their own know which.
    pub const VARIABLE: &str = "POSTRIDER_TEST_ENGINES";

    /// What [`Release::VARIABLE`] says, or the installed ones.
    ///
    /// # Errors
    /// It says something else.
    pub fn chosen() -> Result<Self> {
        set(Self::VARIABLE).map_or(Ok(Self::Installed), |name| name.parse().context(Self::VARIABLE))
    }

    /// As it is written on a command line and in [`Release::VARIABLE`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::Debian13 => "debian13",
        }
    }

    /// What is kept for it below the checkout's folder.
    pub(super) fn folder(self, folder: &Path) -> PathBuf {
        match self {
            Self::Installed => folder.to_path_buf(),
            Self::Debian13 => folder.join(self.name()),
        }
    }
}

impl FromStr for Release {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let all = [Self::Installed, Self::Debian13];
        let found = all.into_iter().find(|release| release.name() == name);
        found.with_context(|| format!("no engines {name:?}; there are {}", all.map(Self::name).join(", ")))
    }
}

/// A system with programs in it.
#[derive(Debug, Clone)]
pub(super) struct System {
    /// The folder that is its `/`; none for this machine's own.
    root: Option<PathBuf>,
}

/// A user of a system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

// `$0` is the system's root; the places before `--` are seen in it under the same path. The folders to mount on stay behind,
// the mounts do not.
const ENTER: &str = r#"set -e
PATH="$PATH:/usr/sbin:/sbin"
for place in /proc /sys /dev; do mount --rbind "$place" "$0$place"; done
while [ "$1" != -- ]; do mkdir -p "$0$1"; mount --bind "$1" "$0$1"; shift; done
shift
exec chroot "$0" "$@""#;

impl System {
    /// The system of a release, below the checkout's folder.
    pub(super) fn of(release: Release, folder: &Path) -> Self {
        match release {
            Release::Installed => Self { root: None },
            Release::Debian13 => Self { root: Some(debian13::root(&release.folder(folder))) },
        }
    }

    /// That of [`Release::chosen`].
    ///
    /// # Errors
    /// The variable names no release.
    pub(super) fn chosen() -> Result<Self> {
        Ok(Self::of(Release::chosen()?, &default_folder()))
    }

    /// The same program in this system, with `data` (which must exist) and the folder for temporary files in their places. Put
    /// environment, files and the like on what is returned; for another user see [`Account::command`].
    pub(super) fn command(&self, program: Command, data: &Path) -> Command {
        let Some(root) = &self.root else { return program };
        let mut command = Command::new("unshare");
        command.args(["--mount", "/bin/sh", "-c", ENTER]).arg(root).arg(std::env::temp_dir()).arg(data).arg("--");
        command.arg(program.get_program()).args(program.get_args());
        command
    }

    /// Where this machine sees a path of the system.
    fn outside(&self, path: &str) -> PathBuf {
        self.root.as_ref().map_or_else(|| path.into(), |root| root.join(path.trim_start_matches('/')))
    }

    /// RabbitMQ's own script, as the system sees it: where `POSTRIDER_RABBITMQ_SERVER` says, or where distributions put it.
    /// Debian's wrapper in /usr/sbin insists on the user `rabbitmq` and is never taken.
    ///
    /// # Errors
    /// It is not there.
    pub(super) fn rabbitmq_server(&self) -> Result<PathBuf> {
        let known = [
            "/usr/lib/rabbitmq/bin/rabbitmq-server",
            "/opt/rabbitmq/sbin/rabbitmq-server",
            "/usr/local/lib/rabbitmq/sbin/rabbitmq-server",
        ];
        let named = set("POSTRIDER_RABBITMQ_SERVER").filter(|_| self.root.is_none());
        let candidates = named.map_or_else(|| known.map(String::from).to_vec(), |named| vec![named]);
        let found = candidates.into_iter().find(|path| self.outside(path).is_file());
        found.map(PathBuf::from).with_context(|| self.lacks("RabbitMQ"))
    }

    /// Folders with `postgres` and `initdb` (`POSTRIDER_POSTGRES_BIN` names one), as the system sees them, newest major version
    /// first.
    ///
    /// # Errors
    /// There are none.
    pub(super) fn postgres_binaries(&self) -> Result<Vec<PathBuf>> {
        let usable = |bin: &PathBuf| {
            let bin = self.outside(&bin.to_string_lossy());
            bin.join("postgres").is_file() && bin.join("initdb").is_file()
        };
        let mut found: Vec<PathBuf> = Vec::new();
        if let Some(named) = set("POSTRIDER_POSTGRES_BIN").filter(|_| self.root.is_none()) {
            found.extend(Some(PathBuf::from(named)).filter(usable));
        } else {
            let versions = std::fs::read_dir(self.outside(POSTGRES_VERSIONS)).into_iter().flatten().flatten();
            let bins = versions.map(|entry| Path::new(POSTGRES_VERSIONS).join(entry.file_name()).join("bin"));
            found.extend(bins.filter(usable));
            found.sort_by_key(|bin| std::cmp::Reverse(postgres_major(bin).and_then(|major| major.parse::<u32>().ok())));
            if self.root.is_none() {
                let initdb = super::install::on_path("initdb");
                found.extend(initdb.and_then(|file| file.parent().map(Path::to_path_buf)).filter(usable));
            }
        }
        if found.is_empty() { Err(anyhow::anyhow!(self.lacks("PostgreSQL"))) } else { Ok(found) }
    }

    fn lacks(&self, engine: &str) -> String {
        match &self.root {
            None => format!("{engine} is not installed"),
            Some(root) => {
                format!("{engine} is not in {}; `cargo xtask test --engines debian13` puts it there", root.display())
            }
        }
    }

    /// The first of these users that the system has.
    pub(super) fn account(&self, names: &[&str]) -> Option<Account> {
        let find = |name: &&str| match &self.root {
            None => User::from_name(name).ok().flatten().map(|user| Account {
                name: user.name,
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
            }),
            Some(root) => Account::find(&std::fs::read_to_string(root.join("etc/passwd")).ok()?, name),
        };
        names.iter().find_map(find)
    }
}

const POSTGRES_VERSIONS: &str = "/usr/lib/postgresql";

/// The major version that a folder of binaries is of, by asking it where the path does not say.
pub(super) fn postgres_major(bin: &Path) -> Option<String> {
    let folder = bin.parent()?.file_name()?.to_str()?;
    if folder.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(folder.to_owned());
    }
    let output = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.split_whitespace().nth(2)?.split('.').next()?.to_owned())
}

impl Account {
    /// The user of this name in the text of an `/etc/passwd`.
    fn find(passwd: &str, name: &str) -> Option<Self> {
        passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let (uid, gid) = (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
            (fields[0] == name).then(|| Self { name: name.to_owned(), uid, gid })
        })
    }

    /// A program as this user. With `pass_through` it keeps the one capability that lets it into folders closed to it.
    pub(super) fn command(&self, program: &Path, pass_through: bool) -> Command {
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={}", self.uid)).arg(format!("--regid={}", self.gid)).arg("--clear-groups");
        if pass_through {
            command.args(["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]);
        }
        command.arg(program);
        command
    }
}

/// Whether this process may enter another system, as [`System::command`] does.
///
/// # Errors
/// It may not; says what would have to be.
pub(super) fn may_enter() -> Result<()> {
    if !Uid::effective().is_root() {
        anyhow::bail!(
            "only root can make a Debian 13 and run engines in it (chroot): run this as root, as in \
             `sudo --preserve-env=PATH,HOME cargo xtask test --engines debian13`"
        );
    }
    let output = Command::new("unshare").args(["--mount", "true"]).output().context("running unshare")?;
    if !output.status.success() {
        anyhow::bail!(
            "a Debian 13 needs mounts of its own, which this root may not make ({}): in a container give it the \
             capability SYS_ADMIN",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_known_by_its_name_and_another_is_refused_with_the_names_there_are() {
        assert_eq!("debian13".parse::<Release>().unwrap(), Release::Debian13);
        assert_eq!(Release::Installed.name().parse::<Release>().unwrap(), Release::Installed);
        let error = "debian14".parse::<Release>().unwrap_err().to_string();
        assert_eq!(error, r#"no engines "debian14"; there are installed, debian13"#);
    }

    #[test]
    fn engines_of_different_releases_share_no_folder() {
        let folder = Path::new("/checkout/.postrider");
        assert_eq!(Release::Installed.folder(folder), folder);
        assert_eq!(Release::Debian13.folder(folder), folder.join("debian13"));
    }

    #[test]
    fn a_program_of_another_system_is_entered_with_its_data_and_this_ones_runs_as_it_is() {
        let data = Path::new("/data");
        let program = || {
            let mut program = Command::new("/usr/bin/postgres");
            program.args(["-D", "/data/a b"]);
            program
        };
        let of = |release| System::of(release, Path::new("/c")).command(program(), data);
        assert_eq!(of(Release::Installed).get_program(), "/usr/bin/postgres");
        let entered = of(Release::Debian13);
        let arguments: Vec<_> = entered.get_args().collect();
        assert_eq!((entered.get_program(), arguments[0]), ("unshare".as_ref(), "--mount".as_ref()));
        assert_eq!(arguments[4], "/c/debian13/root");
        assert_eq!(arguments[6..], ["/data", "--", "/usr/bin/postgres", "-D", "/data/a b"]);
        assert!(Command::new("/bin/sh").args(["-n", "-c", ENTER]).status().unwrap().success());
    }

    #[test]
    fn a_user_is_found_in_the_other_systems_own_list() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\npostgres:x:101:103:,,,:/var/lib/postgresql:/bin/bash\n";
        let expected = Account { name: "postgres".into(), uid: 101, gid: 103 };
        assert_eq!(Account::find(passwd, "postgres"), Some(expected));
        assert_eq!(Account::find(passwd, "nobody"), None);
    }

    #[test]
    fn missing_programs_are_said_to_be_missing_where_they_were_looked_for() {
        let system = System::of(Release::Debian13, Path::new("/nowhere"));
        let error = system.rabbitmq_server().unwrap_err().to_string();
        assert!(error.contains("RabbitMQ is not in /nowhere/debian13/root"), "{error}");
        assert!(system.postgres_binaries().unwrap_err().to_string().contains("PostgreSQL is not in"));
    }
}
