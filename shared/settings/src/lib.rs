//! How settings are read: the types into which their values are parsed, and the checks after parsing.
//!
//! Each setting is declared in the crate that reads it: a field of a `clap::Args` struct with its environment variable, unit
//! and default. `--help` is the reference. The binary flattens these structs into its commands, calls [`CheckSettings::check`]
//! once on each, and logs them. Nothing else reads the environment. A variable that is set but empty counts as unset, because
//! compose files and manifests pass empty variables to the process. Secrets are [`SecretString`](secrecy::SecretString)s with
//! `hide_env_values`: neither `--help` nor the log shows them.

mod values;

use std::path::PathBuf;

pub use values::{
    Cidrs, Hosts, Optional, OptionalSecret, SecretList, address, cut, duration, http_url, number, optional_address,
    optional_http_url, redacted_url, secret, switch,
};

/// An error of a setting that is found after parsing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {detail}")]
pub struct SettingError {
    /// The environment variable.
    pub variable: &'static str,
    /// The mistake and what is allowed. Never contains the value of a secret.
    pub detail: String,
}

impl SettingError {
    /// An error about `variable`.
    pub fn new(variable: &'static str, detail: impl Into<String>) -> Self {
        Self { variable, detail: detail.into() }
    }
}

/// A struct of settings.
pub trait CheckSettings {
    /// Checks what the parser of a single value cannot check: files that must exist, values that contradict each other. Logs a
    /// warning for a setting that is allowed but dangerous.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    fn check(&self) -> Result<(), SettingError>;
}

/// Checks that the file in a setting can be read.
///
/// # Errors
/// The file cannot be opened.
pub fn check_file(variable: &'static str, path: Option<&PathBuf>) -> Result<(), SettingError> {
    match path.map(|path| (path, std::fs::File::open(path))) {
        Some((path, Err(error))) => Err(SettingError::new(
            variable,
            format!("cannot read the file {}: {error}", cut(&path.display().to_string())),
        )),
        _ => Ok(()),
    }
}

/// Checks that the directory in a setting exists.
///
/// # Errors
/// The path is not a directory.
pub fn check_directory(variable: &'static str, path: Option<&PathBuf>) -> Result<(), SettingError> {
    match path {
        Some(path) if !path.is_dir() => {
            Err(SettingError::new(variable, format!("{} is not a directory", cut(&path.display().to_string()))))
        }
        _ => Ok(()),
    }
}
