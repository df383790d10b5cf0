//! Installs packages with apt, or reports which packages are missing.

use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;

use super::{Say, programs};
use crate::paths::on_path;
use crate::receivers::Language;
use crate::{browser, python};

/// What to do about missing packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Install {
    /// Installs them with apt and prints that it does so.
    Apt,
    /// Only reports which packages are missing and how to install them.
    Tell,
}

/// One of the two engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    RabbitMq,
    PostgreSql,
}

// Prevents the distribution's services from starting: now (policy-rc.d, as in an image build) and at the next boot. An existing
// policy is not changed.
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

/// Returns a shell command with the script, through `sudo` unless the user is root.
fn apt_command(packages: &[&'static str], user: Uid) -> Vec<String> {
    let sudo = (!user.is_root()).then_some("sudo");
    let words = sudo.into_iter().chain(["/bin/sh", "-c", SCRIPT, "sh"]).chain(packages.iter().copied());
    words.map(String::from).collect()
}

/// Returns the packages of these engines that are not installed.
pub(super) fn missing_engines(needed: &[Engine]) -> Vec<&'static str> {
    let missing = |engine: &&Engine| match engine {
        Engine::RabbitMq => programs::rabbitmq_server().is_err(),
        Engine::PostgreSql => programs::postgres_binaries().is_err(),
    };
    let package = |engine: &Engine| match engine {
        Engine::RabbitMq => "rabbitmq-server",
        Engine::PostgreSql => "postgresql",
    };
    needed.iter().filter(missing).map(package).collect()
}

/// Returns the missing packages that only tests need: the languages that verify deliveries, the AMQP client of the example
/// producer, an SMTP server, pip for the fuzzer, and a browser with npm for the dashboard. Without apt, only the languages are listed; tests
/// that need another package fail and name it.
pub fn missing_tools() -> Vec<&'static str> {
    let languages = Language::ALL.map(Language::program);
    let mut tools: Vec<_> = languages.map(|(program, package)| (package, on_path(program).is_some())).into();
    if on_path("apt-get").is_some() {
        tools.extend([
            ("python3-pika", python::can_have(&python::PIKA)),
            ("python3-aiosmtpd", python::can_have(&python::AIOSMTPD)),
            ("python3-pip", python::can_have(&python::SCHEMATHESIS)),
            ("chromium", browser::chromium().is_some()),
            ("npm", on_path("npm").is_some()),
        ]);
    }
    tools.into_iter().filter(|(_, installed)| !installed).map(|(package, _)| package).collect()
}

/// Installs the missing packages.
///
/// # Errors
/// Packages are missing, and they may not or cannot be installed. The error says what to do.
pub fn ensure(missing_now: impl Fn() -> Vec<&'static str>, install: Install, say: Say) -> Result<()> {
    let missing = missing_now();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    let by_hand = format!("sudo apt-get update && sudo apt-get install -y --no-install-recommends {list}");
    let elsewhere = "or name running engines with POSTRIDER_AMQP_URL and POSTRIDER_DATABASE_URL (for tests: \
                     POSTRIDER_TEST_AMQP_URL, POSTRIDER_TEST_AMQP_API, POSTRIDER_TEST_DATABASE_URL)";
    if on_path("apt-get").is_none() {
        bail!(
            "missing: {list}, and this system has no apt-get. Install RabbitMQ 3.10 or newer, PostgreSQL 15 or newer and, for \
             tests, Node.js, Python 3, PHP, Go, Ruby and Java with the system's package manager, {elsewhere}. With Docker, \
             docker-compose.yml starts Postrider with everything (docs/deployment.md)"
        );
    }
    if install == Install::Tell {
        bail!("missing: {list}. Install with\n  {by_hand}\nor run this without --no-install, {elsewhere}");
    }
    let user = Uid::effective();
    if !user.is_root() && on_path("sudo").is_none() {
        bail!("missing: {list}, and there is no sudo. As root run\n  {}\n{elsewhere}", by_hand.replace("sudo ", ""));
    }
    let through = if user.is_root() { "" } else { ", through sudo" };
    say(&format!("installing {list} with apt{through} (the packages' own services are not started)"));
    let command = apt_command(&missing, user);
    let status = Command::new(&command[0]).args(&command[1..]).status();
    let status = status.with_context(|| format!("running {}", command[0]))?;
    if !status.success() {
        bail!(
            "apt could not install {list} ({status}; see its messages above). Fix that, then run\n  {by_hand}\n{elsewhere}"
        );
    }
    let still = missing_now();
    if !still.is_empty() {
        bail!("apt reported success, but the programs of {} are not in their usual places", still.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_install_through_sudo_and_root_does_not() {
        let command = apt_command(&["rabbitmq-server", "postgresql"], Uid::from_raw(1000));
        assert_eq!(command[..3], ["sudo", "/bin/sh", "-c"]);
        assert_eq!(command[4..], ["sh", "rabbitmq-server", "postgresql"]);
        assert_eq!(apt_command(&["postgresql"], Uid::from_raw(0))[0], "/bin/sh");
    }

    #[test]
    fn the_script_updates_first_asks_nothing_and_starts_no_service() {
        let update = SCRIPT.find("apt-get update").unwrap();
        let install = SCRIPT.find("apt-get install -y --no-install-recommends").unwrap();
        assert!(SCRIPT.find("policy-rc.d").unwrap() < update && update < install);
        assert!(SCRIPT.contains("DEBIAN_FRONTEND=noninteractive"));
        let checked = Command::new("/bin/sh").args(["-n", "-c", SCRIPT]).status().unwrap();
        assert!(checked.success());
    }
}
