//! The operator key and the master key of this checkout. They are created once.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use postrider_testkit::paths::set;
use serde::{Deserialize, Serialize};

/// The operator keys and the master keys of the services.
pub(super) struct Keys {
    /// The first operator key. `up` uses and prints it.
    pub(super) operator: String,
    /// The value of `POSTRIDER_OPERATOR_KEYS`.
    pub(super) operator_keys: String,
    /// The value of `POSTRIDER_MASTER_KEYS`.
    pub(super) master: String,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    operator_key: String,
    master_keys: String,
}

fn path(folder: &Path) -> PathBuf {
    folder.join("keys.json")
}

/// Returns the keys in the environment, otherwise the keys of an earlier start, otherwise new keys.
pub(super) fn load_or_make(folder: &Path) -> Result<Keys> {
    let kept: Kept = match std::fs::read(path(folder)) {
        Ok(raw) => serde_json::from_slice(&raw).with_context(|| format!("{}", path(folder).display()))?,
        Err(_) => {
            let kept = Kept {
                operator_key: format!("op_{}", BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 24]>())),
                master_keys: format!("dev:{}", BASE64_STANDARD.encode(rand::random::<[u8; 32]>())),
            };
            write_private(&path(folder), &serde_json::to_vec_pretty(&kept)?)?;
            kept
        }
    };
    let operator_keys = set("POSTRIDER_OPERATOR_KEYS").unwrap_or(kept.operator_key);
    let operator = operator_keys.split(',').next().unwrap_or_default().trim().to_owned();
    Ok(Keys { operator, operator_keys, master: set("POSTRIDER_MASTER_KEYS").unwrap_or(kept.master_keys) })
}

/// Removes the keys, so that the next start creates new keys.
pub(super) fn forget(folder: &Path) -> Result<()> {
    remove(&path(folder))
}

/// Writes a file that only its owner can read.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    // The mode applies only to a new file. Therefore an existing file is removed.
    remove(path)?;
    let mut file = std::fs::File::options()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(file.write_all(bytes)?)
}

/// Removes a file if it exists.
pub(super) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}
