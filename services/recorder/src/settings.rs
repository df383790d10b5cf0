//! Settings of the recorder.

use std::time::Duration;

use postrider_settings::{CheckSettings, SettingError, duration, number};

/// Minimum retention in days. A delivery may be pending for [`DELIVERY_LIFETIME`](postrider_model::limits::DELIVERY_LIFETIME).
/// A shorter retention would drop the rows of pending deliveries.
const RETENTION_DAYS_MIN: u16 = 8;
const _: () = assert!(RETENTION_DAYS_MIN as u64 * 86_400 > postrider_model::limits::DELIVERY_LIFETIME.as_secs());

/// Settings of the recorder.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Settings {
    /// Number of days for which events, deliveries and attempts are stored. The minimum is 8, because a delivery may be pending
    /// for 7 days. Use the same value for every process.
    #[arg(
        id = "retention-days", long = "retention-days",
        env = "POSTRIDER_RETENTION_DAYS",
        value_name = "DAYS",
        default_value_t = 30,
        value_parser = number(RETENTION_DAYS_MIN..=3_650),
        help_heading = "Retention"
    )]
    pub retention_days: u16,

    /// A delivery whose attempt is overdue by more than this duration counts as lost and is published again. Use a duration
    /// that is longer than deliveries wait for their endpoint's rate or concurrency. One such wait is at most 10 minutes, but a
    /// delivery may wait several times.
    #[arg(
        id = "reconcile-after", long = "reconcile-after",
        env = "POSTRIDER_RECONCILE_AFTER",
        value_name = "DURATION",
        default_value = "15m",
        value_parser = duration(AFTER_MIN..=AFTER_MAX),
        help_heading = "Reconciler"
    )]
    pub reconcile_after: Duration,
}

/// Minimum of `reconcile_after`. With a shorter duration, even a delivery that is being attempted would count as overdue.
const AFTER_MIN: Duration = Duration::from_secs(1);
/// Maximum of `reconcile_after`. A longer duration has no effect, because no delivery is pending for longer.
const AFTER_MAX: Duration = postrider_model::limits::DELIVERY_LIFETIME;

impl CheckSettings for Settings {
    fn check(&self) -> Result<(), SettingError> {
        let longest = postrider_model::limits::HOLD_MAX;
        if self.reconcile_after < longest {
            tracing::warn!(
                reconcile_after = %humantime::format_duration(self.reconcile_after),
                hold_max = %humantime::format_duration(longest),
                "deliveries may be held for longer than POSTRIDER_RECONCILE_AFTER: such a delivery is published again, and its \
                 first copy is dropped"
            );
        }
        Ok(())
    }
}
