//! Metrics of the API, documented in `docs/metrics.md`. No label names a tenant or a key.

use ::metrics::{counter, describe_counter, describe_gauge, gauge};

use crate::refused::Place;

const REFUSED_KEYS: &str = "postrider_api_refused_keys_total";
/// Configuration version in force.
const CONFIG_VERSION: &str = "postrider_api_config_version";

/// Describes every metric of the API to the recorder in force.
pub(crate) fn describe() {
    describe_gauge!(CONFIG_VERSION, "configuration version in force in this process");
    describe_counter!(REFUSED_KEYS, "requests and sign-ins with unknown keys");
    // Exported from the start as 0, so that the first increase is visible.
    for place in [Place::Api, Place::SignIn] {
        counter!(REFUSED_KEYS, "place" => place.as_str()).increment(0);
    }
}

/// Sets the configuration version in force.
#[expect(clippy::cast_precision_loss, reason = "a version stays far below 2^53")]
pub(crate) fn config_version(version: i64) {
    gauge!(CONFIG_VERSION).set(version as f64);
}

/// Counts a request with an unknown key.
pub(crate) fn refused_key(place: Place) {
    counter!(REFUSED_KEYS, "place" => place.as_str()).increment(1);
}
