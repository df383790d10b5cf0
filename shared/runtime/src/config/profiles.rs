//! Where profiles come from.

use std::path::PathBuf;

use super::{Checked, ConfigError, Optional, directory, shown};

/// Profile files besides the built-in ones.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Profiles")]
pub struct ProfilesArgs {
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

impl Checked for ProfilesArgs {
    fn check(&self) -> Result<(), ConfigError> {
        directory("POSTRIDER_PROFILES_DIR", self.directory.as_ref())
    }

    fn summary(&self) -> Vec<(&'static str, String)> {
        vec![("POSTRIDER_PROFILES_DIR", shown(self.directory.as_ref(), |path| path.display().to_string()))]
    }
}
