//! Settings of ingest.

use std::path::PathBuf;

use postrider_settings::{CheckSettings, Optional, SettingError, check_directory};

/// Settings of ingest.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Mappings")]
pub struct Settings {
    /// A directory of files `<profile>.toml`, each with a mapping from KumoMTA's log records to events of that profile. They are
    /// used in addition to the built-in mappings, or replace those of the same name.
    #[arg(
        id = "mappings-dir",
        long = "mappings-dir",
        env = "POSTRIDER_MAPPINGS_DIR",
        value_name = "DIRECTORY",
        default_value = "",
        hide_default_value = true
    )]
    pub mappings_dir: Optional<PathBuf>,
}

impl CheckSettings for Settings {
    fn check(&self) -> Result<(), SettingError> {
        check_directory("POSTRIDER_MAPPINGS_DIR", self.mappings_dir.as_ref())
    }
}
