//! When producers that send more than their tenant's share are slowed.

use super::values::share;
use super::{Checked, ConfigError};

/// Slowing what is beyond a tenant's share.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Brake")]
pub struct BrakeArgs {
    /// The CPU pressure of the machine, from 0 to 1, from which on requests of a tenant beyond its share wait, up to two seconds at
    /// 0.2 more. 1: nobody ever waits, and who sends most may take all of the machine.
    #[arg(
        id = "brake-from",
        long = "brake-from",
        env = "POSTRIDER_BRAKE_FROM",
        value_name = "PRESSURE",
        default_value = "0.3",
        value_parser = share
    )]
    pub from: f64,
}

impl Checked for BrakeArgs {
    fn check(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    fn summary(&self) -> Vec<(&'static str, String)> {
        vec![("POSTRIDER_BRAKE_FROM", self.from.to_string())]
    }
}
