//! Reads the TOML files of a directory of profiles or mappings.

use std::path::Path;

use crate::error::ProfileError;

/// A `*.toml` file.
pub(crate) struct TomlFile {
    /// The stem of the file's name.
    pub(crate) name: String,
    /// The file's path, for error messages.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Reads the `*.toml` files of a directory. They are sorted, so that errors have a stable order.
pub(crate) fn read(dir: Option<&Path>) -> Result<Vec<TomlFile>, ProfileError> {
    let Some(dir) = dir else { return Ok(Vec::new()) };
    let unreadable = |source| ProfileError::Read { path: dir.to_owned(), source };
    let entries = std::fs::read_dir(dir).map_err(unreadable)?;
    let mut paths = entries.map(|entry| Ok(entry.map_err(unreadable)?.path())).collect::<Result<Vec<_>, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let file = |path: std::path::PathBuf| {
        let text =
            std::fs::read_to_string(&path).map_err(|source| ProfileError::Read { path: path.clone(), source })?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(TomlFile { name, path: path.display().to_string(), text })
    };
    paths.into_iter().map(file).collect()
}
