//! Settings of the profiles.

use std::path::PathBuf;

use postrider_settings::{CheckSettings, Optional, SettingError, check_directory};

/// Settings of the profiles.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Profiles")]
pub struct Settings {
    /// A directory of profiles, as files `*.toml`. They are used in addition to the built-in profiles, or replace built-in
    /// profiles of the same name.
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
