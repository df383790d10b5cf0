//! Settings of ingest.

use std::path::PathBuf;

use postrider_settings::{CheckSettings, Optional, SettingError, check_directory, share};

/// Settings of ingest.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Mappings")]
pub struct Settings {
    /// A directory of `<profile>.toml` mappings of KumoMTA's log records: more of them, or built-in ones changed.
    #[arg(
        id = "mappings-dir",
        long = "mappings-dir",
        env = "POSTRIDER_MAPPINGS_DIR",
        value_name = "DIRECTORY",
        default_value = "",
        hide_default_value = true
    )]
    pub mappings_dir: Optional<PathBuf>,

    /// The CPU pressure of the machine, from 0 to 1, from which on requests of a tenant beyond its share wait, up to two seconds at
    /// 0.2 more. 1: nobody ever waits, and who sends most may take all of the machine.
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
