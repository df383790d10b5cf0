//! Loads profiles: the built-in files, and those of a directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::file;
use crate::profile::Profile;

/// The files in the binary.
const BUILT_IN: [(&str, &str); 6] = [
    ("standard", include_str!("../profiles/standard.toml")),
    ("migma", include_str!("../profiles/migma.toml")),
    ("migomail", include_str!("../profiles/migomail.toml")),
    ("metigan", include_str!("../profiles/metigan.toml")),
    ("magnetite", include_str!("../profiles/magnetite.toml")),
    ("mumara", include_str!("../profiles/mumara.toml")),
];

/// Every profile of the deployment, by name.
#[derive(Debug, Clone)]
pub struct Profiles(BTreeMap<String, Arc<Profile>>);

/// A profile or a mapping cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The directory or a file in it cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A file has a mistake.
    #[error("{file}, line {line}, {field}: {detail}")]
    Invalid {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The field, such as `envelope.from`; empty if the text is not TOML.
        field: String,
        /// What is wrong, and what is allowed.
        detail: String,
    },
}

impl Profiles {
    /// The built-in profiles.
    ///
    /// # Panics
    /// Never: the crate's tests load every built-in file.
    pub fn builtin() -> Self {
        Self::load(None).unwrap_or_else(|error| panic!("built-in profile: {error}"))
    }

    /// The built-in profiles, and those of `dir`: each `<name>.toml` adds a profile or replaces the one with this name.
    ///
    /// # Errors
    /// An unreadable directory or file, or the first mistake in a file.
    pub fn load(dir: Option<&Path>) -> Result<Self, ProfileError> {
        let mut profiles = BTreeMap::new();
        let mut add = |profile: Profile| profiles.insert(profile.name.clone(), Arc::new(profile));
        for (name, text) in BUILT_IN {
            add(file::parse(name, &format!("{name}.toml (built in)"), text)?);
        }
        for path in dir.map(files).transpose()?.unwrap_or_default() {
            let text =
                std::fs::read_to_string(&path).map_err(|source| ProfileError::Read { path: path.clone(), source })?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            add(file::parse(&name, &path.display().to_string(), &text)?);
        }
        Ok(Self(profiles))
    }

    /// The profile of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Profile>> {
        self.0.get(name)
    }

    /// Every profile, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.0.values()
    }

    /// Their names, for messages.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// The `*.toml` of a directory, sorted, so that errors come in a stable order.
pub(crate) fn files(dir: &Path) -> Result<Vec<PathBuf>, ProfileError> {
    let unreadable = |source| ProfileError::Read { path: dir.to_owned(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
