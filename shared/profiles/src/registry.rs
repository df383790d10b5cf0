//! Loads profiles: the built-in files, and the files of a directory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::error::ProfileError;
use crate::file;
use crate::language::Languages;
use crate::profile::Profile;
use crate::toml_files::{self, TomlFile};

/// The profile files in the binary.
const BUILT_IN: [(&str, &str); 6] = [
    ("standard", include_str!("../profiles/standard.toml")),
    ("migma", include_str!("../profiles/migma.toml")),
    ("migomail", include_str!("../profiles/migomail.toml")),
    ("metigan", include_str!("../profiles/metigan.toml")),
    ("magnetite", include_str!("../profiles/magnetite.toml")),
    ("mumara", include_str!("../profiles/mumara.toml")),
];

/// All profiles of the deployment, by name, and the languages that their brands may name.
#[derive(Debug, Clone)]
pub struct Profiles {
    profiles: BTreeMap<String, Arc<Profile>>,
    languages: Languages,
}

impl Profiles {
    /// Loads the built-in profiles.
    ///
    /// # Panics
    /// It never panics, because the crate's tests load every built-in file.
    pub fn builtin() -> Self {
        Self::load(None).unwrap_or_else(|error| panic!("built-in profile: {error}"))
    }

    /// Loads the built-in profiles and the profiles of `dir`. Each `<name>.toml` adds a profile or replaces a built-in profile.
    /// The files in its folder `languages` add [`Languages`].
    ///
    /// # Errors
    /// The directory or a file cannot be read, or a file has a mistake; the first mistake is returned.
    pub fn load(dir: Option<&Path>) -> Result<Self, ProfileError> {
        let languages = Languages::load(dir)?;
        let tags = languages.tags();
        let mut profiles = BTreeMap::new();
        let mut add = |profile: Profile| profiles.insert(profile.name.clone(), Arc::new(profile));
        for (name, text) in BUILT_IN {
            add(file::parse(
                name,
                &format!("{name}.toml (built in)"),
                text,
                &file::Around { folder: None, languages: &tags },
            )?);
        }
        for TomlFile { name, path, text } in toml_files::read(dir)? {
            add(file::parse(&name, &path, &text, &file::Around { folder: dir, languages: &tags })?);
        }
        Ok(Self { profiles, languages })
    }

    /// Returns the profile of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Profile>> {
        self.profiles.get(name)
    }

    /// Returns all profiles, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.profiles.values()
    }

    /// Returns the languages of the dashboard's pages.
    pub fn languages(&self) -> &Languages {
        &self.languages
    }

    /// Returns the names of all profiles, for messages.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.profiles.keys().map(String::as_str)
    }
}
