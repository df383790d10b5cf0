//! Settings: the keys of operators.

use postrider_settings::{CheckSettings, SecretList, SettingError};
use secrecy::ExposeSecret;

/// Minimum length of an operator key in bytes, so that the key cannot be guessed.
const OPERATOR_KEY_BYTES_MIN: usize = 32;
/// Minimum number of different characters in an operator key. Random keys have more, also in hexadecimal.
const DISTINCT_CHARACTERS_MIN: usize = 8;

/// Example keys that this project has published.
const PUBLISHED_OPERATOR_KEYS: [&str; 2] = ["at-least-16-characters", "operator-key-for-development"];
const PUBLISHED: &str = "a key that was published as an example is not a secret; make one (docs/deployment.md)";

/// Keys with which operators call the API and publish.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Keys")]
pub struct Settings {
    /// Operator keys of at least 32 characters, separated by commas. List several keys while one key replaces another. Without
    /// a key, operators have no access.
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

impl CheckSettings for Settings {
    fn check(&self) -> Result<(), SettingError> {
        const VARIABLE: &str = "POSTRIDER_OPERATOR_KEYS";
        let any = |wrong: fn(&str) -> bool| self.operator_keys.0.iter().any(|key| wrong(key.expose_secret()));
        if any(|key| PUBLISHED_OPERATOR_KEYS.contains(&key)) {
            return Err(SettingError::new(VARIABLE, PUBLISHED));
        }
        if any(|key| key.len() < OPERATOR_KEY_BYTES_MIN) {
            return Err(SettingError::new(VARIABLE, format!("a key has at least {OPERATOR_KEY_BYTES_MIN} characters")));
        }
        if any(|key| distinct(key) < DISTINCT_CHARACTERS_MIN) {
            tracing::warn!(
                "POSTRIDER_OPERATOR_KEYS has a key of few different characters; generate one with `openssl rand -hex 24`"
            );
        }
        if self.operator_keys.0.is_empty() {
            tracing::warn!("POSTRIDER_OPERATOR_KEYS is empty: operators have no access");
        }
        Ok(())
    }
}

/// Counts the different characters of a key.
fn distinct(key: &str) -> usize {
    key.chars().collect::<std::collections::BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_and_short_operator_keys_are_refused_without_being_shown() {
        let check = |keys: &str| Settings { operator_keys: keys.parse().unwrap() }.check();
        for published in PUBLISHED_OPERATOR_KEYS {
            assert!(check(published).unwrap_err().to_string().contains("published"), "{published}");
        }
        assert!(!check("short").unwrap_err().to_string().contains("short"));
        assert_eq!(check("operator-key-of-the-settings-tests-0001"), Ok(()));
    }
}
