//! A Python that knows `pika`, to run the examples of the documentation with.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::engines::default_folder;

/// The version that is installed where the system has none.
const PIKA: &str = "pika==1.3.2";

/// Pythons to look at: the one on the path, and the system's, which apt's packages are for.
const PYTHONS: [&str; 2] = ["python3", "/usr/bin/python3"];

/// A Python 3 command that can `import pika`: one that has it, else one with pip, which installs it into the checkout's
/// ignored folder, once.
///
/// # Errors
/// Neither, and what to install.
pub fn with_pika() -> Result<Command> {
    if let Some(python) = PYTHONS.into_iter().find(|python| imports_pika(python, None)) {
        return Ok(Command::new(python));
    }
    let folder = default_folder().join("python");
    let installed = folder.join("pika").is_dir();
    for python in PYTHONS {
        let ready = || imports_pika(python, Some(&folder));
        if (installed && ready()) || (install(python, &folder)? && ready()) {
            let mut command = Command::new(python);
            command.env("PYTHONPATH", &folder);
            return Ok(command);
        }
    }
    bail!("no python3 with pika, and none with pip to install it: apt-get install -y python3-pika")
}

/// Whether some Python has `pika` or can get it.
pub(crate) fn can_have_pika() -> bool {
    PYTHONS
        .into_iter()
        .any(|python| imports_pika(python, None) || runs(Command::new(python).args(["-m", "pip", "--version"])))
}

fn imports_pika(python: &str, folder: Option<&PathBuf>) -> bool {
    let mut command = Command::new(python);
    command.args(["-c", "import pika"]);
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

/// Installs into a folder beside first, so that one that is there is whole. False without pip.
fn install(python: &str, folder: &PathBuf) -> Result<bool> {
    let beside = folder.with_extension(std::process::id().to_string());
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--target"]).arg(&beside);
    if !runs(pip.arg(PIKA)) {
        return Ok(false);
    }
    if std::fs::rename(&beside, folder).is_err() {
        // Another test was first, or what is there is of another Python: replace it.
        let _ = std::fs::remove_dir_all(folder);
        std::fs::rename(&beside, folder).with_context(|| format!("making {}", folder.display()))?;
    }
    Ok(true)
}
