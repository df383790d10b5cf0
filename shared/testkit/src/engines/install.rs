//! Which engines and tools are installed, and how apt brings those that are not.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;

use super::system::{Release, System};
use super::{EngineOptions, Purpose};
use crate::{browser, debian, python};

/// What may be done about a missing engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Install {
    /// Install it with apt, saying so.
    Apt,
    /// Only say what is missing and how to get it.
    Tell,
}

/// What apt would be asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AptPlan {
    /// The packages, in apt's order.
    pub packages: Vec<&'static str>,
    /// The program and its arguments: a shell with the script, behind `sudo` for a plain user.
    pub command: Vec<String>,
}

// The distribution's services are not needed, so they are kept from starting (policy-rc.d, as in an image build) and
// from coming up at the next boot. A policy that is there already stays as it is.
const SCRIPT: &str = r#"set -e
export DEBIAN_FRONTEND=noninteractive
if [ ! -e /usr/sbin/policy-rc.d ]; then
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
  chmod 755 /usr/sbin/policy-rc.d
fi
apt-get update
apt-get install -y --no-install-recommends "$@"
if [ -d /run/systemd/system ]; then
  for package in "$@"; do systemctl disable --now "$package" >/dev/null 2>&1 || true; done
  case " $* " in *" rabbitmq-server "*) systemctl disable --now epmd.socket epmd.service >/dev/null 2>&1 || true;; esac
fi
"#;

/// The apt command that installs these packages; pure, so that it can be tested without a bare machine.
pub fn apt_plan(packages: &[&'static str], is_root: bool) -> AptPlan {
    let mut command: Vec<String> = Vec::new();
    if !is_root {
        command.push("sudo".into());
    }
    command.extend(["/bin/sh", "-c", SCRIPT, "sh"].map(String::from));
    command.extend(packages.iter().map(|package| (*package).to_owned()));
    AptPlan { packages: packages.to_vec(), command }
}

/// The packages that are not installed: of these engines, or of what makes the system that they come from.
fn missing_engines(rabbit: bool, postgres: bool, options: &EngineOptions) -> Vec<&'static str> {
    let system = System::of(options.release, &options.folder);
    let needed = match options.release {
        Release::Installed => [
            ("rabbitmq-server", rabbit && system.rabbitmq_server().is_err()),
            ("postgresql", postgres && system.postgres_binaries().is_err()),
        ],
        Release::Debian13 => [
            ("debootstrap", on_path("debootstrap").is_none()),
            ("debian-archive-keyring", !Path::new(debian::KEYRING).is_file()),
        ],
    };
    needed.into_iter().filter(|(_, missing)| *missing).map(|(package, _)| package).collect()
}

/// The packages of what only tests need: the languages that they verify deliveries with, as receivers do, the AMQP client of
/// the example producer, pip for the fuzzer, and a browser with npm for the dashboard. Without apt all but the languages are not
/// missing here: the tests that need them say so then.
pub fn missing_tools(
    can_have_pika: impl FnOnce() -> bool,
    can_have_schemathesis: impl FnOnce() -> bool,
    has_browser: impl FnOnce() -> bool,
) -> Vec<&'static str> {
    let programs = [("node", "nodejs"), ("python3", "python3")];
    let mut packages: Vec<_> =
        programs.into_iter().filter(|(program, _)| on_path(program).is_none()).map(|(_, package)| package).collect();
    if on_path("apt-get").is_some() {
        packages.extend((!can_have_pika()).then_some("python3-pika"));
        packages.extend((!can_have_schemathesis()).then_some("python3-pip"));
        packages.extend((!has_browser()).then_some("chromium"));
        packages.extend((!browser::has_npm()).then_some("npm"));
    }
    packages
}

fn missing(rabbit: bool, postgres: bool, options: &EngineOptions) -> Vec<&'static str> {
    let mut packages = missing_engines(rabbit, postgres, options);
    if options.purpose == Purpose::Tests {
        packages.extend(missing_tools(python::can_have_pika, python::can_have_schemathesis, || {
            browser::chromium().is_some()
        }));
    }
    packages
}

/// Installs what is missing, or says what to do.
pub(super) fn ensure(rabbit: bool, postgres: bool, options: &EngineOptions) -> Result<()> {
    let missing_now = || missing(rabbit, postgres, options);
    let missing = missing_now();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    let by_hand = format!("sudo apt-get update && sudo apt-get install -y --no-install-recommends {list}");
    let elsewhere = "or name running ones with POSTRIDER_AMQP_URL and POSTRIDER_DATABASE_URL (for tests: \
                     POSTRIDER_TEST_AMQP_URL, POSTRIDER_TEST_AMQP_API, POSTRIDER_TEST_DATABASE_URL)";
    if on_path("apt-get").is_none() {
        bail!(
            "missing: {list}, and this system has no apt-get to install them with. Install RabbitMQ 3.10 or newer, \
             PostgreSQL 15 or newer and, for tests, Node.js and Python 3 with the system's own means, {elsewhere}. Where \
             Docker is, docker-compose.yml brings Postrider up with everything (docs/deployment.md)"
        );
    }
    if options.install == Install::Tell {
        bail!("missing: {list}. Install with\n  {by_hand}\nor run this without --no-install, {elsewhere}");
    }
    let is_root = Uid::effective().is_root();
    if !is_root && on_path("sudo").is_none() {
        bail!(
            "missing: {list}, and there is no sudo. As root run\n  apt-get update && apt-get install -y --no-install-recommends {list}\n{elsewhere}"
        );
    }
    (options.say)(&format!(
        "installing {list} with apt{} (its own services are not started; ours are private to this checkout)",
        if is_root { "" } else { ", through sudo" }
    ));
    let plan = apt_plan(&missing, is_root);
    let status = Command::new(&plan.command[0])
        .args(&plan.command[1..])
        .status()
        .with_context(|| format!("running {}", plan.command[0]))?;
    if !status.success() {
        bail!(
            "apt could not install {list} ({status}; its messages are above). Mend that, then run\n  {by_hand}\n{elsewhere}"
        );
    }
    let still = missing_now();
    if !still.is_empty() {
        bail!("apt reported success, but the programs of {} are not where they are expected", still.join(" "));
    }
    Ok(())
}

pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_user_installs_through_sudo_and_root_does_not() {
        let plan = apt_plan(&["rabbitmq-server", "postgresql"], false);
        assert_eq!(plan.command[..3], ["sudo", "/bin/sh", "-c"]);
        assert_eq!(plan.command[4..], ["sh", "rabbitmq-server", "postgresql"]);
        assert_eq!(apt_plan(&["postgresql"], true).command[0], "/bin/sh");
    }

    #[test]
    fn pika_pip_and_a_browser_come_with_apt_only_where_they_cannot_be_had_otherwise() {
        let asked = |pika: bool, pip: bool, package: &str| missing_tools(|| pika, || pip, || true).contains(&package);
        let apt = on_path("apt-get").is_some();
        let browser = |has: bool| missing_tools(|| true, || true, || has).contains(&"chromium");
        assert_eq!((browser(true), browser(false)), (false, apt));
        assert_eq!((asked(true, false, "python3-pika"), asked(false, true, "python3-pika")), (false, apt));
        assert_eq!((asked(true, false, "python3-pip"), asked(false, true, "python3-pip")), (apt, false));
    }

    #[test]
    fn the_script_updates_first_never_asks_and_starts_no_service() {
        let script = &apt_plan(&["postgresql"], true).command[2].clone();
        let update = script.find("apt-get update").unwrap();
        let install = script.find("apt-get install -y --no-install-recommends").unwrap();
        assert!(script.find("policy-rc.d").unwrap() < update && update < install);
        assert!(script.contains("DEBIAN_FRONTEND=noninteractive"));
        let checked = Command::new("/bin/sh").args(["-n", "-c", script]).status().unwrap();
        assert!(checked.success());
    }
}
