//! Finds or prepares a Python with a package that tests need.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::paths::{default_folder, lock, replace};

/// A package, and the version to install if no Python has the package.
pub struct Package {
    /// The name of the module to import.
    module: &'static str,
    /// The requirement for pip.
    requirement: &'static str,
    /// The name of the folder into which the package is installed.
    folder: &'static str,
    /// What to install if pip cannot install the package.
    hint: &'static str,
}

/// The package that runs the examples of the documentation.
pub const PIKA: Package =
    Package { module: "pika", requirement: "pika==1.3.2", folder: "pika", hint: "apt-get install -y python3-pika" };

/// The SMTP server that takes e-mail in tests.
pub const AIOSMTPD: Package = Package {
    module: "aiosmtpd.smtp",
    requirement: "aiosmtpd==1.4.6",
    folder: "aiosmtpd",
    hint: "apt-get install -y python3-aiosmtpd",
};

/// The package that fuzzes the API: `-m schemathesis.cli run …`.
pub const SCHEMATHESIS: Package = Package {
    module: "schemathesis.cli",
    requirement: "schemathesis==4.32.5",
    folder: "schemathesis",
    hint: "it needs Python 3.10 or later with pip (apt-get install -y python3-pip), and access to pypi.org",
};

/// The package that checks Kubernetes manifests. It depends on `yaml` and `jsonschema`.
pub const KUBERNETES_VALIDATE: Package = Package {
    module: "kubernetes_validate",
    requirement: "kubernetes-validate==1.37.0",
    folder: "kubernetes-validate",
    hint: "it needs Python 3.9 or later with pip (apt-get install -y python3-pip), and access to a package index",
};

/// The Python on the path, and the system's Python, which has the packages that apt installs.
const PYTHONS: [&str; 2] = ["python3", "/usr/bin/python3"];

/// Returns a Python 3 command that can import a package: a Python that has the package, or a Python whose pip installs it once
/// into the checkout's ignored folder.
///
/// # Errors
/// No Python has the package, and no pip can install it. The error says what to install.
pub fn with(package: &Package) -> Result<Command> {
    if let Some(python) = PYTHONS.into_iter().find(|python| imports(python, package, None)) {
        return Ok(Command::new(python));
    }
    let folder = default_folder().join("python").join(package.folder);
    let _lock = lock(&default_folder().join("python"))?;
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
    bail!("no python3 has {}, and none could install it; {}\n{}", package.requirement, package.hint, said.join("\n"))
}

/// Whether any Python has the package or can install it.
pub(crate) fn can_have(package: &Package) -> bool {
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

/// Installs the package into a temporary folder first, so that an existing folder is always complete. Returns pip's output.
fn install(python: &str, package: &Package, folder: &Path) -> Result<String> {
    let beside = folder.with_extension(std::process::id().to_string());
    let mut pip = Command::new(python);
    pip.args("-m pip install --quiet --no-input --disable-pip-version-check --no-compile --target".split(' '))
        .arg(&beside);
    let output = match pip.arg(package.requirement).stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => return Ok(error.to_string()),
    };
    if output.status.success() {
        replace(folder, &beside)?;
    }
    Ok(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}
