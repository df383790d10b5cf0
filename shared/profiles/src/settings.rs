//! Where profiles come from.

use std::path::PathBuf;

use postrider_settings::{CheckSettings, Optional, SettingError, check_directory};

/// Profile files besides the built-in ones.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Profiles")]
pub struct Settings {
    /// A directory of `*.toml` profiles: more of them, or built-in ones changed.
    #[arg(
        id = "profiles-dir",
        long = "profiles-dir",
        env = "POSTRIDER_PROFILES_DIR",
        value_name = "DIRECTORY",
        default_value = "",
        hide_default_value = true
    )]
    pub directory: Optional<PathBuf>,
}

impl CheckSettings for Settings {
    fn check(&self) -> Result<(), SettingError> {
        check_directory("POSTRIDER_PROFILES_DIR", self.directory.as_ref())
    }
}
