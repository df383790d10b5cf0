//! What the API counts. No label names a tenant or a key; names are documented in `docs/metrics.md`.

use ::metrics::{counter, describe_counter, describe_gauge, gauge};

use crate::refused::Place;

const REFUSED_KEYS: &str = "postrider_api_refused_keys_total";
/// Version of the configuration in force.
const CONFIG_VERSION: &str = "postrider_api_config_version";

/// Describes every metric of the API to the recorder in force.
pub(crate) fn describe() {
    describe_gauge!(CONFIG_VERSION, "version of the configuration in force here");
    describe_counter!(REFUSED_KEYS, "keys that were tried and do not exist");
    // There from the start, so that the first increase is seen as one.
    for place in [Place::Api, Place::SignIn] {
        counter!(REFUSED_KEYS, "place" => place.as_str()).increment(0);
    }
}

/// The configuration in force from now on.
#[expect(clippy::cast_precision_loss, reason = "a version stays far below 2^53")]
pub(crate) fn config_version(version: i64) {
    gauge!(CONFIG_VERSION).set(version as f64);
}

/// A key was tried that does not exist.
pub(crate) fn refused_key(place: Place) {
    counter!(REFUSED_KEYS, "place" => place.as_str()).increment(1);
}
