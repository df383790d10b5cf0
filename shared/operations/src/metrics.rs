//! Metrics of the operations, documented in `docs/metrics.md`. No label names a tenant or a key.

use ::metrics::{counter, describe_counter};

use crate::unknown_keys::Interface;

const REFUSED_KEYS: &str = "postrider_api_refused_keys_total";

/// Describes the metrics to the recorder in force.
pub(crate) fn describe() {
    describe_counter!(REFUSED_KEYS, "requests and sign-ins with unknown keys");
    // Exported from the start as 0, so that the first increase is visible.
    for place in [Interface::Api, Interface::SignIn] {
        counter!(REFUSED_KEYS, "place" => place.as_str()).increment(0);
    }
}

/// Counts a request with an unknown key.
pub(crate) fn refused_key(place: Interface) {
    counter!(REFUSED_KEYS, "place" => place.as_str()).increment(1);
}
