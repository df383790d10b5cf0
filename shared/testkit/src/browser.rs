//! A browser for tests: the system's Chromium, and npm packages that control it. The packages are pinned by a lock file and
//! installed once into the checkout's ignored folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::paths::{default_folder, lock, on_path, replace};

/// The names of Chromium in distributions.
const CHROMIUM: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/// The environment variable that names another browser.
const CHROMIUM_VARIABLE: &str = "POSTRIDER_CHROMIUM";

/// The tools of a browser test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    /// The browser.
    pub browser: PathBuf,
    /// The folder `node_modules`.
    pub modules: PathBuf,
}

/// Returns the browser, and the packages of `manifest`, a folder with `package.json` and `package-lock.json`.
///
/// # Errors
/// Chromium or npm is not installed, or npm fails; then the error contains npm's output.
pub fn tools(manifest: &Path) -> Result<Tools> {
    let Some(browser) = chromium() else {
        bail!("no Chromium on the path: apt-get install -y chromium, or name one with {CHROMIUM_VARIABLE}")
    };
    Ok(Tools { browser, modules: packages(manifest)? })
}

/// Returns the browser that [`CHROMIUM_VARIABLE`] names, or the system's Chromium.
pub(crate) fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os(CHROMIUM_VARIABLE).filter(|named| !named.is_empty()).map(PathBuf::from);
    named.or_else(|| CHROMIUM.into_iter().find_map(on_path))
}

/// Installs the packages into a temporary folder first, so that an existing folder is always complete and matches its lock
/// file.
fn packages(manifest: &Path) -> Result<PathBuf> {
    let _lock = lock(&default_folder().join("node"))?;
    let wanted = std::fs::read(manifest.join("package-lock.json")).context("reading package-lock.json")?;
    let folder = default_folder().join("node/dashboard");
    let modules = folder.join("node_modules");
    if std::fs::read(folder.join("package-lock.json")).is_ok_and(|installed| installed == wanted) && modules.is_dir() {
        return Ok(modules);
    }
    let beside = folder.with_extension(std::process::id().to_string());
    std::fs::create_dir_all(&beside).with_context(|| format!("creating {}", beside.display()))?;
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(manifest.join(file), beside.join(file)).with_context(|| format!("copying {file}"))?;
    }
    // The packages need no install scripts.
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]).current_dir(&beside);
    let output = npm.stdin(Stdio::null()).output().context("running npm (apt-get install -y npm)")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "npm could not install the packages of {}; it needs access to registry.npmjs.org\n{said}",
            manifest.display()
        );
    }
    replace(&folder, &beside)?;
    Ok(modules)
}
