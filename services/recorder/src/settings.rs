//! Settings of the recorder.

use std::time::Duration;

use postrider_settings::{CheckSettings, SettingError, duration, number};

/// Minimum days of retention. A delivery may be pending for [`DELIVERY_LIFETIME`](postrider_model::limits::DELIVERY_LIFETIME); a
/// shorter retention would drop the rows of deliveries that are still attempted.
const RETENTION_DAYS_MIN: u16 = 8;
const _: () = assert!(RETENTION_DAYS_MIN as u64 * 86_400 > postrider_model::limits::DELIVERY_LIFETIME.as_secs());

/// Settings of the recorder.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Settings {
    /// The number of days for which events, deliveries and attempts are kept: at least 8, because a delivery may be pending for 7
    /// days. Use the same value for every process.
    #[arg(
        id = "retention-days", long = "retention-days",
        env = "POSTRIDER_RETENTION_DAYS",
        value_name = "DAYS",
        default_value_t = 30,
        value_parser = number(RETENTION_DAYS_MIN..=3_650),
        help_heading = "Retention"
    )]
    pub retention_days: u16,

    /// A delivery whose attempt is overdue by more than this counts as lost and is published again. Use a longer time than
    /// deliveries wait for their endpoint's rate or concurrency. One such wait is at most 10 minutes, but several may follow each
    /// other.
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

/// With a shorter time even a delivery that is being attempted would count as overdue.
const AFTER_MIN: Duration = Duration::from_secs(1);
/// A longer time has no effect, because no delivery is pending for longer.
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
