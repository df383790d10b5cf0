//! Metrics of the API, documented in `docs/metrics.md`.

use ::metrics::{counter, describe_counter, describe_gauge, gauge};

/// Configuration version in force.
const CONFIG_VERSION: &str = "postrider_api_config_version";
/// Steps of erasures that this process made.
const ERASURE_STEPS: &str = "postrider_api_erasure_steps_total";

/// Describes every metric of the API to the installed recorder of metrics.
pub(crate) fn describe() {
    describe_gauge!(CONFIG_VERSION, "configuration version in force in this process");
    describe_counter!(ERASURE_STEPS, "steps of erasures that this process made");
    counter!(ERASURE_STEPS).increment(0);
}

/// Counts a step of an erasure.
pub(crate) fn erasure_step() {
    counter!(ERASURE_STEPS).increment(1);
}

/// Sets the configuration version in force.
#[expect(clippy::cast_precision_loss, reason = "a version stays far below 2^53")]
pub(crate) fn config_version(version: i64) {
    gauge!(CONFIG_VERSION).set(version as f64);
}
