//! Programs of Debian 13 that check deployment files. Their packages are unpacked into the checkout's ignored folder, on any
//! Debian. Nothing is installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::paths::{default_folder, lock, on_path};

/// The release: Debian 13.
pub const SUITE: &str = "trixie";
/// The keys that sign Debian's archives.
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A program of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    package: &'static str,
    /// The path of the program's file in the package.
    file: &'static str,
}

/// Kustomize 5.6.
pub const KUSTOMIZE: Tool = Tool { package: "kustomize", file: "usr/bin/kustomize" };
/// Docker Compose 2.26, which reads files without Docker.
pub const DOCKER_COMPOSE: Tool =
    Tool { package: "docker-compose", file: "usr/libexec/docker/cli-plugins/docker-compose" };
/// Prometheus 2.53.
pub const PROMETHEUS: Tool = Tool { package: "prometheus", file: "usr/bin/prometheus" };
/// The promtool of Prometheus 2.53.
pub const PROMTOOL: Tool = Tool { package: "promtool", file: "usr/bin/promtool" };
/// nginx 1.26.
pub const NGINX: Tool = Tool { package: "nginx", file: "usr/sbin/nginx" };

/// The packages of all tools.
const PACKAGES: [&str; 5] = ["kustomize", "docker-compose", "prometheus", "promtool", "nginx"];

/// Returns the path of a program. The first call on a machine downloads the packages, which takes some seconds. On a machine
/// without apt, returns the program with this name on the path.
///
/// # Errors
/// The program is not on the path, or apt fails; then the error contains apt's message.
pub fn tool(tool: Tool) -> Result<PathBuf> {
    if on_path("apt-get").is_none() {
        let name = tool.file.rsplit('/').next().unwrap_or_default();
        return on_path(name)
            .with_context(|| format!("{name} is not installed, and there is no apt-get to install it"));
    }
    let folder = default_folder().join("debian");
    let _lock = lock(&folder)?;
    let program = folder.join("root").join(tool.file);
    if !program.is_file() {
        unpack(&folder).with_context(|| {
            format!("cannot download {} of Debian's {SUITE}, which checks deployment files", tool.package)
        })?;
    }
    if !program.is_file() {
        bail!("{} is not in Debian's package {}", tool.file, tool.package);
    }
    Ok(program)
}

/// Downloads every package with apt, without using the system's apt configuration and state, and unpacks it.
fn unpack(folder: &Path) -> Result<()> {
    let apt = folder.join("apt");
    for state in ["lists/partial", "cache/archives/partial"] {
        std::fs::create_dir_all(apt.join(state))?;
    }
    std::fs::write(apt.join("status"), "")?;
    std::fs::write(apt.join("sources.list"), format!("deb [signed-by={KEYRING}] {} {SUITE} main\n", mirror()?))?;
    let option = |name: &str, value: &str| format!("{name}={}", apt.join(value).display());
    let options = [
        option("Dir::Etc::SourceList", "sources.list"),
        "Dir::Etc::SourceParts=/dev/null".into(),
        option("Dir::State::Lists", "lists"),
        option("Dir::State::Status", "status"),
        option("Dir::Cache", "cache"),
        "APT::Sandbox::User=".into(),
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".into(),
        "Acquire::Languages=none".into(),
        "Acquire::Retries=3".into(),
    ];
    let apt_get = |arguments: &[&str]| -> Result<()> {
        let mut command = Command::new("apt-get");
        for option in &options {
            command.args(["-o", option]);
        }
        run(command.args(arguments).current_dir(&apt)).map(drop)
    };
    apt_get(&["update"])?;
    apt_get(&[&["download"], PACKAGES.as_slice()].concat())?;
    let root = folder.join("root");
    for entry in std::fs::read_dir(&apt)?.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("--extract").arg(entry.path()).arg(&root))?;
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(std::fs::remove_dir_all(&apt)?)
}

/// Returns the Debian mirror in this machine's apt configuration, or Debian's own mirror.
///
/// # Errors
/// apt fails.
pub fn mirror() -> Result<String> {
    let format = "$(REPO_URI) $(ORIGIN) $(LABEL)";
    let sources = run(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]))?;
    Ok(mirror_of(&sources).unwrap_or("http://deb.debian.org/debian").to_owned())
}

/// Returns the first source of Debian's own packages, not of security updates or third parties. Before the first
/// `apt-get update` sources have no labels; then the address must end with `/debian`.
fn mirror_of(sources: &str) -> Option<&str> {
    let known = sources.lines().filter(|line| line.starts_with("http")).map(|line| {
        let (uri, labels) = line.split_once(' ').unwrap_or((line, ""));
        (uri.trim_end_matches('/'), labels.trim())
    });
    let of = |is_debian: fn(&(&str, &str)) -> bool| known.clone().find(is_debian).map(|(uri, _)| uri);
    of(|(_, labels)| *labels == "Debian Debian").or_else(|| of(|(uri, _)| uri.ends_with("/debian")))
}

/// The proxy that apt uses for `http` or `https`, if any.
///
/// # Errors
/// apt fails.
pub fn proxy(scheme: &str) -> Result<Option<String>> {
    let name = format!("Acquire::{scheme}::Proxy");
    let words = run(Command::new("apt-config").args(["shell", "proxy", &name]))?;
    Ok(proxy_of(&words).map(str::to_owned))
}

/// The value in `proxy='…'`, the line that apt-config prints for shells.
fn proxy_of(words: &str) -> Option<&str> {
    let value = words.trim().strip_prefix("proxy='")?.strip_suffix('\'')?;
    Some(value).filter(|value| !value.is_empty() && *value != "DIRECT")
}

fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("running {program}"))?;
    if !output.status.success() {
        bail!("{program}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_first_source_labelled_as_debian() {
        let sources = "https://packages.example/apt Example Example\n\
                       http://mirror.example/debian-security/ Debian Debian-Security\n\
                       http://mirror.example/proxy/deb/ Debian Debian\n\
                       http://other.example/debian/ Debian Debian\n";
        assert_eq!(mirror_of(sources), Some("http://mirror.example/proxy/deb"));
        assert_eq!(
            mirror_of("http://x.example/debian-security  \nhttp://x.example/debian/  \n"),
            Some("http://x.example/debian")
        );
        assert_eq!(mirror_of("http://archive.example/ubuntu/ Ubuntu Ubuntu\n"), None);
    }

    #[test]
    fn the_proxy_is_read_from_the_output_of_apt_config() {
        assert_eq!(proxy_of("proxy='http://proxy.example:3142'\n"), Some("http://proxy.example:3142"));
        for none in ["", "proxy=''\n", "proxy='DIRECT'\n"] {
            assert_eq!(proxy_of(none), None, "{none}");
        }
    }
}
