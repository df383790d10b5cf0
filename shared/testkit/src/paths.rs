//! The checkout's ignored folder, and programs on this machine's path.

use std::path::{Path, PathBuf};

/// `<checkout>/.postrider`, found from where this crate was compiled, or the folder that `POSTRIDER_DEV_FOLDER` names.
pub fn default_folder() -> PathBuf {
    if let Some(named) = set("POSTRIDER_DEV_FOLDER") {
        return named.into();
    }
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).join(".postrider")
}

/// An environment variable that is set and not empty.
pub(crate) fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where a program is, on the path or in the folders of root's programs.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}
