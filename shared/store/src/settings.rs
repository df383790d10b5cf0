//! Settings: the address of PostgreSQL, and the keys that encrypt secrets at rest.

use std::path::PathBuf;

use postrider_settings::{CheckSettings, Optional, SettingError, check_file, number, secret};
use secrecy::{ExposeSecret, SecretString};

use crate::crypto::MasterKeys;

/// How to connect to PostgreSQL, which stores the configuration and the history.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "PostgreSQL")]
pub struct DatabaseSettings {
    /// The URL of the database, as `postgres://user:password@host:port/database?sslmode=…`.
    #[arg(
        id = "database-url", long = "database-url",
        env = "POSTRIDER_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        value_parser = secret
    )]
    pub url: SecretString,

    /// A PEM file with root certificates for TLS to PostgreSQL, in addition to the system's.
    #[arg(
        id = "database-ca-file",
        long = "database-ca-file",
        env = "POSTRIDER_DATABASE_CA_FILE",
        value_name = "FILE",
        default_value = "",
        hide_default_value = true
    )]
    pub ca_file: Optional<PathBuf>,

    /// Maximum number of connections from this process to PostgreSQL.
    #[arg(
        id = "database-connections-max", long = "database-connections-max",
        env = "POSTRIDER_DATABASE_CONNECTIONS_MAX",
        value_name = "COUNT",
        default_value_t = 16,
        value_parser = number(2..=500_u16)
    )]
    pub connections_max: u16,
}

impl CheckSettings for DatabaseSettings {
    fn check(&self) -> Result<(), SettingError> {
        let url = self.url.expose_secret();
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(SettingError::new("POSTRIDER_DATABASE_URL", "expected postgres://… or postgresql://…"));
        }
        if ["sslmode=prefer", "sslmode=allow"].iter().any(|mode| url.contains(mode)) && self.ca_file.is_none() {
            tracing::warn!(
                "POSTRIDER_DATABASE_URL says sslmode=prefer or allow, which is no TLS here; use sslmode=verify-full, or \
                 sslmode=disable on a network that you trust"
            );
        }
        check_file("POSTRIDER_DATABASE_CA_FILE", self.ca_file.as_ref())
    }
}

/// Example keys that this project has published. They are not secret.
const PUBLISHED_MASTER_KEYS: [&str; 1] = ["MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="];
const PUBLISHED: &str = "a key that was published as an example is not a secret; make one (docs/deployment.md)";

/// The keys with which the secrets of endpoints are encrypted in the database.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Keys")]
pub struct MasterKeySettings {
    /// Master keys, separated by commas. Each is an id, a colon and the base64 of 32 bytes. The first key encrypts; every key
    /// decrypts.
    #[arg(
        id = "master-keys", long = "master-keys",
        env = "POSTRIDER_MASTER_KEYS",
        hide_env_values = true,
        value_name = "ID:KEY,…",
        value_parser = secret
    )]
    pub master_keys: SecretString,
}

impl CheckSettings for MasterKeySettings {
    fn check(&self) -> Result<(), SettingError> {
        const VARIABLE: &str = "POSTRIDER_MASTER_KEYS";
        let mut keys = self.master_keys.expose_secret().split(',').filter_map(|part| part.trim().split_once(':'));
        if keys.any(|(_, key)| PUBLISHED_MASTER_KEYS.contains(&key)) {
            return Err(SettingError::new(VARIABLE, PUBLISHED));
        }
        let keys = MasterKeys::parse(self.master_keys.expose_secret())
            .map_err(|error| SettingError::new(VARIABLE, error.to_string()))?;
        tracing::info!(ids = keys.ids().join(","), "read the master keys: the first encrypts, all decrypt");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key of 32 bytes.
    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn a_published_master_key_is_refused() {
        let keys = MasterKeySettings { master_keys: format!("k1:{}", PUBLISHED_MASTER_KEYS[0]).into() };
        assert!(keys.check().unwrap_err().to_string().contains("published"));
    }

    #[test]
    fn master_keys_are_checked() {
        let check = |keys: &str| MasterKeySettings { master_keys: keys.into() }.check();
        assert_eq!(check(&format!("a:{KEY}, b:{KEY}")), Ok(()));
        for wrong in ["", ",", "a:", KEY, "a:AAEC", "a:not base64!"] {
            assert_eq!(check(wrong).unwrap_err().variable, "POSTRIDER_MASTER_KEYS", "{wrong}");
        }
        assert!(check(&format!("a:{KEY},a:{KEY}")).unwrap_err().detail.contains("twice"));
    }
}
