//! A browser and what drives it: Chromium as the system has it, and npm packages that a lock file pins, installed once into the
//! checkout's ignored folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use crate::paths::{default_folder, on_path};

/// Names that distributions give to Chromium.
const CHROMIUM: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/// Where another one can be named.
const CHROMIUM_VARIABLE: &str = "POSTRIDER_CHROMIUM";

/// What a browser test needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    /// The browser.
    pub browser: PathBuf,
    /// The folder `node_modules`.
    pub modules: PathBuf,
}

/// The browser, and the packages that `manifest` (a folder with `package.json` and `package-lock.json`) asks for.
///
/// # Errors
/// There is no Chromium, or no npm, or it could not install: what it said.
pub fn tools(manifest: &Path) -> Result<Tools> {
    let Some(browser) = chromium() else {
        bail!("no Chromium on the path: apt-get install -y chromium, or name one with {CHROMIUM_VARIABLE}")
    };
    Ok(Tools { browser, modules: packages(manifest)? })
}

/// The system's Chromium, or the one that is named.
pub(crate) fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os(CHROMIUM_VARIABLE).filter(|named| !named.is_empty()).map(PathBuf::from);
    named.or_else(|| CHROMIUM.into_iter().find_map(on_path))
}

/// One test of a process installs, the others wait for it.
static INSTALLING: Mutex<()> = Mutex::new(());

/// Installs into a temporary folder first, so that an existing folder is complete and matches its lock file.
fn packages(manifest: &Path) -> Result<PathBuf> {
    let _alone = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let lock = std::fs::read(manifest.join("package-lock.json")).context("reading package-lock.json")?;
    let folder = default_folder().join("node-dashboard");
    let modules = folder.join("node_modules");
    if std::fs::read(folder.join("package-lock.json")).is_ok_and(|installed| installed == lock) && modules.is_dir() {
        return Ok(modules);
    }
    let beside = folder.with_extension(std::process::id().to_string());
    std::fs::create_dir_all(&beside).with_context(|| format!("making {}", beside.display()))?;
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(manifest.join(file), beside.join(file)).with_context(|| format!("copying {file}"))?;
    }
    // Scripts of packages are not run: nothing here needs any.
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]).current_dir(&beside);
    let output = npm.stdin(Stdio::null()).output().context("running npm (apt-get install -y npm)")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "npm could not install what {} asks for; it takes registry.npmjs.org within reach\n{said}",
            manifest.display()
        );
    }
    if std::fs::rename(&beside, &folder).is_err() {
        // Another process was first, or the folder belongs to another lock file: replace it.
        let _ = std::fs::remove_dir_all(&folder);
        if std::fs::rename(&beside, &folder).is_err() && !modules.is_dir() {
            bail!("could not put {} in its place", folder.display());
        }
    }
    Ok(modules)
}
