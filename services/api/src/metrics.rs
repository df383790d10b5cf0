//! What the API counts. Names are documented in `docs/metrics.md`.

use ::metrics::{counter, describe_counter};

use crate::refused::Place;

const REFUSED_KEYS: &str = "postrider_api_refused_keys_total";

/// Describes every metric of the API to the recorder in force.
pub(crate) fn describe() {
    describe_counter!(REFUSED_KEYS, "keys that were tried and do not exist");
    // There from the start, so that the first increase is seen as one.
    for place in [Place::Api, Place::SignIn] {
        counter!(REFUSED_KEYS, "place" => place.as_str()).increment(0);
    }
}

/// A key was tried that does not exist.
pub(crate) fn refused_key(place: Place) {
    counter!(REFUSED_KEYS, "place" => place.as_str()).increment(1);
}
