//! Settings of ingest.

use std::path::PathBuf;

use postrider_settings::{CheckSettings, Optional, SettingError, check_directory, share};

/// Settings of ingest.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Mappings")]
pub struct Settings {
    /// A directory of `<profile>.toml` mappings of KumoMTA's log records, which add to or replace the built-in ones.
    #[arg(
        id = "mappings-dir",
        long = "mappings-dir",
        env = "POSTRIDER_MAPPINGS_DIR",
        value_name = "DIRECTORY",
        default_value = "",
        hide_default_value = true
    )]
    pub mappings_dir: Optional<PathBuf>,

    /// CPU pressure of the machine, 0 to 1, above which requests of a tenant that exceeds its share are delayed: by up to three
    /// seconds at 0.2 more. 1 disables the delay; a single tenant can then use all CPU.
    #[arg(
        id = "brake-from",
        long = "brake-from",
        env = "POSTRIDER_BRAKE_FROM",
        value_name = "PRESSURE",
        default_value = "0.3",
        value_parser = share,
        help_heading = "Brake"
    )]
    pub brake_from: f64,
}

impl CheckSettings for Settings {
    fn check(&self) -> Result<(), SettingError> {
        check_directory("POSTRIDER_MAPPINGS_DIR", self.mappings_dir.as_ref())
    }
}
