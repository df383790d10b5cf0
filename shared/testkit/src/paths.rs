//! The checkout's ignored folder, and programs on this machine's path.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Returns the folder that `POSTRIDER_DEV_FOLDER` names, or `<checkout>/.postrider`. The checkout is the one in which this
/// crate was compiled.
pub fn default_folder() -> PathBuf {
    if let Some(named) = set("POSTRIDER_DEV_FOLDER") {
        return named.into();
    }
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).join(".postrider")
}

/// Returns the value of an environment variable; `None` if it is not set or empty.
pub fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Creates a folder and locks it. Other tests and processes that lock the folder wait. Dropping the file unlocks it.
///
/// # Errors
/// The folder cannot be created or locked.
pub fn lock(folder: &Path) -> Result<File> {
    std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let lock = File::create(folder.join("lock")).context("creating a lock file")?;
    lock.lock().with_context(|| format!("waiting for the lock of {}", folder.display()))?;
    Ok(lock)
}

/// Moves a new, complete folder to its final path and replaces the older folder.
pub(crate) fn replace(folder: &Path, new: &Path) -> Result<()> {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::rename(new, folder).with_context(|| format!("moving {} to {}", new.display(), folder.display()))
}

/// Returns the path of a program that is on the path or in a folder of root's programs.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}
