//! When what was lost on its way is given up for lost.

use std::time::Duration;

use super::values::duration;
use super::{Checked, ConfigError};

/// Repairing what a broker lost.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Reconciler")]
pub struct ReconcileArgs {
    /// Deliveries on record whose attempt is overdue by more than this are published again: longer than any delivery of yours is
    /// held for its endpoint's rate or concurrency (holds are 10 minutes at most, and may follow each other).
    #[arg(
        id = "reconcile-after", long = "reconcile-after",
        env = "POSTRIDER_RECONCILE_AFTER",
        value_name = "DURATION",
        default_value = "15m",
        value_parser = duration(AFTER_MIN..=AFTER_MAX)
    )]
    pub after: Duration,
}

/// Below this even a delivery that is being attempted would be overdue.
const AFTER_MIN: Duration = Duration::from_secs(1);
/// No delivery is pending for longer.
const AFTER_MAX: Duration = postrider_model::limits::DELIVERY_LIFETIME;

impl Checked for ReconcileArgs {
    fn check(&self) -> Result<(), ConfigError> {
        let longest = postrider_model::limits::HOLD_MAX;
        if self.after < longest {
            tracing::warn!(
                reconcile_after = %humantime::format_duration(self.after),
                hold_max = %humantime::format_duration(longest),
                "deliveries may be held for longer than that: those are published again, and their originals dropped"
            );
        }
        Ok(())
    }

    fn summary(&self) -> Vec<(&'static str, String)> {
        vec![("POSTRIDER_RECONCILE_AFTER", humantime::format_duration(self.after).to_string())]
    }
}
