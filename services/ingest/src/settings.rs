//! Settings of ingest.

use std::path::PathBuf;

use postrider_settings::{CheckSettings, Optional, SettingError, check_directory};

/// Settings of ingest.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Mappings")]
pub struct Settings {
    /// Directory of files `<profile>.toml`. Each file contains a mapping from KumoMTA's log records to events of that profile.
    /// A file replaces the built-in mapping with the same name. The other built-in mappings remain in use.
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
