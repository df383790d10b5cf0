//! Programs of Debian 13 that deployment files are checked with, on any Debian: their packages are unpacked into the
//! checkout's ignored folder, and nothing is installed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::paths::{default_folder, on_path};

/// The release that has them all.
pub const SUITE: &str = "trixie";
/// What Debian's archives are signed with.
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A program, found by its name here, and its place in the package of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Kustomize 5.6.
    Kustomize,
    /// Docker Compose 2.26, which reads files without Docker.
    DockerCompose,
    /// Prometheus 2.53.
    Prometheus,
    /// Its promtool.
    Promtool,
    /// nginx 1.26.
    Nginx,
}

impl Tool {
    const ALL: [Self; 5] = [Self::Kustomize, Self::DockerCompose, Self::Prometheus, Self::Promtool, Self::Nginx];

    fn package(self) -> &'static str {
        match self {
            Self::Kustomize => "kustomize",
            Self::DockerCompose => "docker-compose",
            Self::Prometheus => "prometheus",
            Self::Promtool => "promtool",
            Self::Nginx => "nginx",
        }
    }

    fn place(self) -> &'static str {
        match self {
            Self::Kustomize => "usr/bin/kustomize",
            Self::DockerCompose => "usr/libexec/docker/cli-plugins/docker-compose",
            Self::Prometheus => "usr/bin/prometheus",
            Self::Promtool => "usr/bin/promtool",
            Self::Nginx => "usr/sbin/nginx",
        }
    }
}

/// Where a program is, after getting what is missing. The first call on a machine takes some seconds. Without apt it is what the
/// path has under that name.
///
/// # Errors
/// Neither, or apt's own words.
pub fn tool(tool: Tool) -> Result<PathBuf> {
    if on_path("apt-get").is_none() {
        let name = tool.place().rsplit('/').next().unwrap_or_default();
        return on_path(name)
            .with_context(|| format!("{name} is not installed, and there is no apt-get to get it with"));
    }
    let folder = default_folder().join("debian");
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let program = folder.join("root").join(tool.place());
    // One of several tests, or of several processes, gets them for all.
    let lock = File::create(folder.join("lock")).context("a lock file")?;
    lock.lock().context("waiting for the lock")?;
    if !program.is_file() {
        unpack(&folder).with_context(|| {
            format!("getting {} of Debian's {SUITE}; without it deployment files cannot be checked", tool.package())
        })?;
    }
    if !program.is_file() {
        bail!("{} is not in Debian's package {}", tool.place(), tool.package());
    }
    Ok(program)
}

/// Downloads every package with apt, in a world of its own, and unpacks it.
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
    let packages: Vec<_> = Tool::ALL.into_iter().map(Tool::package).collect();
    apt_get(&[&["download"], packages.as_slice()].concat())?;
    let root = folder.join("root");
    for entry in std::fs::read_dir(&apt)?.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("--extract").arg(entry.path()).arg(&root))?;
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(std::fs::remove_dir_all(&apt)?)
}

/// The mirror that this machine's apt takes Debian's packages from, or Debian's own.
///
/// # Errors
/// apt fails.
pub fn mirror() -> Result<String> {
    let format = "$(REPO_URI) $(ORIGIN) $(LABEL)";
    let sources = run(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]))?;
    Ok(mirror_of(&sources).unwrap_or("http://deb.debian.org/debian").to_owned())
}

/// The first source that is Debian itself, and not its security updates or third-party packages. Before the first `apt-get
/// update` only the address tells.
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

/// The value of `proxy='…'`, as apt-config prints it for a shell.
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
    fn the_mirror_is_the_first_source_that_says_it_is_debian() {
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
    fn apts_proxy_is_taken_and_none_is_none() {
        assert_eq!(proxy_of("proxy='http://proxy.example:3142'\n"), Some("http://proxy.example:3142"));
        for none in ["", "proxy=''\n", "proxy='DIRECT'\n"] {
            assert_eq!(proxy_of(none), None, "{none}");
        }
    }
}
