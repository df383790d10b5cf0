//! Metrics of the operations, documented in `docs/metrics.md`. No label names a tenant or a key.

use ::metrics::{counter, describe_counter};

const REFUSED_KEYS: &str = "postrider_api_refused_keys_total";

/// Where a key was tried.
#[derive(Debug, Clone, Copy)]
pub enum Interface {
    /// In a request to the API.
    Api,
    /// In the sign-in form of the dashboard.
    SignIn,
}

impl Interface {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::SignIn => "sign_in",
        }
    }
}

/// Describes the metrics to the installed recorder of metrics.
pub(crate) fn describe() {
    describe_counter!(REFUSED_KEYS, "requests and sign-ins with unknown keys");
    // The counters start at 0, so that their first increase is visible.
    for place in [Interface::Api, Interface::SignIn] {
        counter!(REFUSED_KEYS, "place" => place.as_str()).increment(0);
    }
}

/// Counts a request with an unknown key.
pub(crate) fn refused_key(place: Interface) {
    counter!(REFUSED_KEYS, "place" => place.as_str()).increment(1);
}
