//! Operator keys, and the keys that secrets are encrypted with at rest.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

use super::values::secret;
use super::{Checked, ConfigError, SecretList};

/// Shortest operator key: it may do everything, so it must not be guessed.
const OPERATOR_KEY_BYTES_MIN: usize = 32;
/// A random key of that length has more different characters than this, in hexadecimal too.
const DISTINCT_CHARACTERS_MIN: usize = 8;

/// Keys that were published as examples with this project: everybody knows them.
const PUBLISHED_OPERATOR_KEYS: [&str; 2] = ["at-least-16-characters", "operator-key-for-development"];
const PUBLISHED_MASTER_KEYS: [&str; 1] = ["MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="];
const PUBLISHED: &str = "a key that was published as an example is not a secret; make one (docs/deployment.md)";

/// Keys that operators call the API and publish with.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Keys")]
pub struct KeysArgs {
    /// Operator keys, comma-separated: two while one is rotated. Optional for ingest, which then takes no operator key. At least 32 characters each.
    #[arg(
        id = "operator-keys",
        long = "operator-keys",
        env = "POSTRIDER_OPERATOR_KEYS",
        hide_env_values = true,
        value_name = "KEY,…",
        default_value = "",
        hide_default_value = true
    )]
    pub operator_keys: SecretList,
}

/// Keys that endpoints' secrets are encrypted with in the database.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Keys")]
pub struct MasterKeysArgs {
    /// Master keys, as comma-separated `id:base64 of 32 bytes`. The first encrypts, all decrypt.
    #[arg(
        id = "master-keys", long = "master-keys",
        env = "POSTRIDER_MASTER_KEYS",
        hide_env_values = true,
        value_name = "ID:KEY,…",
        value_parser = secret
    )]
    pub master_keys: SecretString,
}

impl Checked for KeysArgs {
    fn check(&self) -> Result<(), ConfigError> {
        const VARIABLE: &str = "POSTRIDER_OPERATOR_KEYS";
        let any = |wrong: fn(&str) -> bool| self.operator_keys.0.iter().any(|key| wrong(key.expose_secret()));
        if any(|key| PUBLISHED_OPERATOR_KEYS.contains(&key)) {
            return Err(ConfigError::new(VARIABLE, PUBLISHED));
        }
        if any(|key| key.len() < OPERATOR_KEY_BYTES_MIN) {
            return Err(ConfigError::new(VARIABLE, format!("a key has at least {OPERATOR_KEY_BYTES_MIN} characters")));
        }
        if any(|key| distinct(key) < DISTINCT_CHARACTERS_MIN) {
            tracing::warn!(
                "POSTRIDER_OPERATOR_KEYS has a key of few different characters; make one: `openssl rand -hex 24`"
            );
        }
        if self.operator_keys.0.is_empty() {
            tracing::warn!("POSTRIDER_OPERATOR_KEYS is empty: no request is an operator's");
        }
        Ok(())
    }

    fn summary(&self) -> Vec<(&'static str, String)> {
        vec![("POSTRIDER_OPERATOR_KEYS", format!("{} keys", self.operator_keys.0.len()))]
    }
}

/// How many different characters a key has.
fn distinct(key: &str) -> usize {
    key.chars().collect::<std::collections::BTreeSet<_>>().len()
}

impl MasterKeysArgs {
    /// The ids in their order, each with whether its key has 32 bytes.
    fn ids(&self) -> impl Iterator<Item = (&str, bool)> {
        self.master_keys.expose_secret().split(',').map(str::trim).filter(|part| !part.is_empty()).map(|part| {
            let (id, key) = part.split_once(':').unwrap_or(("", part));
            (id, STANDARD.decode(key).is_ok_and(|key| key.len() == 32))
        })
    }
}

impl Checked for MasterKeysArgs {
    fn check(&self) -> Result<(), ConfigError> {
        const VARIABLE: &str = "POSTRIDER_MASTER_KEYS";
        let ids: Vec<(&str, bool)> = self.ids().collect();
        if ids.is_empty() {
            return Err(ConfigError::new(VARIABLE, "expected at least one `id:base64 of 32 bytes`"));
        }
        let mut keys = self.master_keys.expose_secret().split(',').filter_map(|part| part.trim().split_once(':'));
        if keys.any(|(_, key)| PUBLISHED_MASTER_KEYS.contains(&key)) {
            return Err(ConfigError::new(VARIABLE, PUBLISHED));
        }
        for (index, (id, whole)) in ids.iter().enumerate() {
            if id.is_empty() || !whole {
                let detail = format!("key {} is not `id:base64 of 32 bytes`", index + 1);
                return Err(ConfigError::new(VARIABLE, detail));
            }
            if ids[..index].iter().any(|(other, _)| other == id) {
                return Err(ConfigError::new(VARIABLE, format!("the id `{id}` is there twice")));
            }
        }
        Ok(())
    }

    fn summary(&self) -> Vec<(&'static str, String)> {
        let ids: Vec<&str> = self.ids().map(|(id, _)| id).collect();
        vec![("POSTRIDER_MASTER_KEYS", format!("ids {}", ids.join(",")))]
    }
}
