//! A Python that knows a package: `pika`, to run the examples of the documentation with; `schemathesis`, to fuzz the API;
//! `kubernetes-validate`, to check Kubernetes manifests.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::paths::default_folder;

/// A package, and the version that is installed where no Python has it.
struct Package {
    /// The module to import.
    module: &'static str,
    /// What pip is asked for.
    requirement: &'static str,
    /// Where it is installed, in the checkout's ignored folder.
    folder: &'static str,
    /// What else would help.
    hint: &'static str,
}

const PIKA: Package =
    Package { module: "pika", requirement: "pika==1.3.2", folder: "python", hint: "apt-get install -y python3-pika" };

const SCHEMATHESIS: Package = Package {
    module: "schemathesis.cli",
    requirement: "schemathesis==4.32.5",
    folder: "python-schemathesis",
    hint: "it takes Python 3.10 or later with pip (apt-get install -y python3-pip), and pypi.org within reach",
};

/// Brings `yaml` and `jsonschema`, too.
const KUBERNETES_VALIDATE: Package = Package {
    module: "kubernetes_validate",
    requirement: "kubernetes-validate==1.37.0",
    folder: "python-kubernetes-validate",
    hint: "it takes Python 3.9 or later with pip (apt-get install -y python3-pip), and a package index within reach",
};

/// Pythons to look at: the one on the path, and the system's, which apt's packages are for.
const PYTHONS: [&str; 2] = ["python3", "/usr/bin/python3"];

/// A Python 3 command that can `import pika`: one that has it, else one with pip, which installs it into the checkout's
/// ignored folder, once.
///
/// # Errors
/// Neither, and what to install.
pub fn with_pika() -> Result<Command> {
    with(&PIKA)
}

/// The same for `schemathesis`: `-m schemathesis.cli run …`.
///
/// # Errors
/// No Python has it, and none could install it: what pip said.
pub fn with_schemathesis() -> Result<Command> {
    with(&SCHEMATHESIS)
}

/// The same for `kubernetes_validate`, and with it `yaml` and `jsonschema`.
///
/// # Errors
/// As [`with_schemathesis`].
pub fn with_kubernetes_validate() -> Result<Command> {
    with(&KUBERNETES_VALIDATE)
}

fn with(package: &Package) -> Result<Command> {
    if let Some(python) = PYTHONS.into_iter().find(|python| imports(python, package, None)) {
        return Ok(Command::new(python));
    }
    let folder = default_folder().join(package.folder);
    // One of several tests, or of several processes, installs it for all.
    std::fs::create_dir_all(default_folder()).context("making the checkout's folder")?;
    let lock = File::create(folder.with_extension("lock")).context("a lock file")?;
    lock.lock().context("waiting for the lock")?;
    let installed = folder.is_dir();
    let mut said = Vec::new();
    for python in PYTHONS {
        let ready = || imports(python, package, Some(&folder));
        let there = installed && ready();
        if !there {
            said.push(format!("{python}: {}", install(python, package, &folder)?));
        }
        if there || ready() {
            let mut command = Command::new(python);
            command.env("PYTHONPATH", &folder);
            return Ok(command);
        }
    }
    bail!(
        "no python3 with {}, and none that could install it; {}\n{}",
        package.requirement,
        package.hint,
        said.join("\n")
    )
}

/// Whether some Python has `pika` or can get it.
pub(crate) fn can_have_pika() -> bool {
    can_have(&PIKA)
}

/// Whether some Python has `schemathesis` or can get it.
pub(crate) fn can_have_schemathesis() -> bool {
    can_have(&SCHEMATHESIS)
}

fn can_have(package: &Package) -> bool {
    PYTHONS
        .into_iter()
        .any(|python| imports(python, package, None) || runs(Command::new(python).args(["-m", "pip", "--version"])))
}

fn imports(python: &str, package: &Package, folder: Option<&Path>) -> bool {
    let mut command = Command::new(python);
    command.args(["-c", &format!("import {}", package.module)]);
    if let Some(folder) = folder {
        command.env("PYTHONPATH", folder);
    }
    runs(&mut command)
}

fn runs(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Installs into a temporary folder first, so that an existing folder is complete. Returns pip's output.
fn install(python: &str, package: &Package, folder: &Path) -> Result<String> {
    let beside = folder.with_extension(std::process::id().to_string());
    let mut pip = Command::new(python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "--no-compile",
        "--target",
    ])
    .arg(&beside);
    let output = match pip.arg(package.requirement).stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => return Ok(error.to_string()),
    };
    if output.status.success() && std::fs::rename(&beside, folder).is_err() {
        // Another process was first, or the folder belongs to another Python: replace it.
        let _ = std::fs::remove_dir_all(folder);
        std::fs::rename(&beside, folder).with_context(|| format!("making {}", folder.display()))?;
    }
    Ok(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}
