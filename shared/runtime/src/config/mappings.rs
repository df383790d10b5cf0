//! Where mappings of log records come from.

use std::path::PathBuf;

use super::{Checked, ConfigError, Optional, directory, shown};

/// Mapping files besides the built-in ones.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Mappings")]
pub struct MappingsArgs {
    /// A directory of `<profile>.toml` mappings of KumoMTA's log records: more of them, or built-in ones changed.
    #[arg(
        id = "mappings-dir",
        long = "mappings-dir",
        env = "POSTRIDER_MAPPINGS_DIR",
        value_name = "DIRECTORY",
        default_value = "",
        hide_default_value = true
    )]
    pub directory: Optional<PathBuf>,
}

impl Checked for MappingsArgs {
    fn check(&self) -> Result<(), ConfigError> {
        directory("POSTRIDER_MAPPINGS_DIR", self.directory.as_ref())
    }

    fn summary(&self) -> Vec<(&'static str, String)> {
        vec![("POSTRIDER_MAPPINGS_DIR", shown(self.directory.as_ref(), |path| path.display().to_string()))]
    }
}
