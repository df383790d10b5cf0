//! Settings: one struct a concern, each flag with its environment variable, unit and default. `--help` is the reference.
//!
//! A service's command flattens the structs that it needs. Values are parsed and checked one by one by clap, then once
//! together ([`Checked::check`]); nothing reads the environment afterwards. A variable that is set but empty counts as unset,
//! since compose files and manifests pass such on. Secrets are [`SecretString`](secrecy::SecretString)s: neither `--help`
//! nor [`Checked::summary`] shows them.

mod amqp;
mod brake;
mod database;
mod egress;
mod http;
mod keys;
mod mappings;
mod profiles;
mod public;
mod reconcile;
mod values;

pub use amqp::AmqpArgs;
pub use brake::BrakeArgs;
pub use database::{DatabaseArgs, RetentionArgs};
pub use egress::{EgressArgs, OptionalSecret};
pub use http::HttpArgs;
pub use keys::{KeysArgs, MasterKeysArgs};
pub use mappings::MappingsArgs;
pub use profiles::ProfilesArgs;
pub use public::PublicArgs;
pub use reconcile::ReconcileArgs;
pub use values::{Cidrs, Optional, SecretList, redacted_url};

use values::cut;

/// A setting that cannot be used, found after parsing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {detail}")]
pub struct ConfigError {
    /// The environment variable.
    pub variable: &'static str,
    /// What is wrong with it, and what is allowed. Never its value when that is a secret.
    pub detail: String,
}

impl ConfigError {
    /// An error about `variable`.
    pub fn new(variable: &'static str, detail: impl Into<String>) -> Self {
        Self { variable, detail: detail.into() }
    }
}

/// What every struct of settings can do.
pub trait Checked {
    /// Checks what a single value's parser cannot: files that must be there, values that contradict each other.
    /// Logs a warning for what is allowed and dangerous.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    fn check(&self) -> Result<(), ConfigError>;

    /// The settings for the log, one pair each, secrets left out.
    fn summary(&self) -> Vec<(&'static str, String)>;
}

/// Checks everything and logs one line a setting.
///
/// # Errors
/// The first setting that cannot be used.
pub fn check_all(settings: &[&dyn Checked]) -> Result<(), ConfigError> {
    for group in settings {
        group.check()?;
        for (setting, value) in group.summary() {
            tracing::info!(setting, value, "configured");
        }
    }
    Ok(())
}

/// A file that a setting names must be readable.
fn readable(variable: &'static str, path: Option<&std::path::PathBuf>) -> Result<(), ConfigError> {
    match path.map(|path| (path, std::fs::File::open(path))) {
        Some((path, Err(error))) => Err(ConfigError::new(
            variable,
            format!("cannot read the file {}: {error}", cut(&path.display().to_string())),
        )),
        _ => Ok(()),
    }
}

/// A directory that a setting names must be there.
fn directory(variable: &'static str, path: Option<&std::path::PathBuf>) -> Result<(), ConfigError> {
    match path {
        Some(path) if !path.is_dir() => {
            Err(ConfigError::new(variable, format!("{} is not a directory", cut(&path.display().to_string()))))
        }
        _ => Ok(()),
    }
}

/// `-` for what is not set.
fn shown<T>(value: Option<&T>, show: impl FnOnce(&T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

#[cfg(test)]
mod tests;
