//! What a tenant may ask of the API: requests, and changes, which every other change waits for. All its keys draw on one budget.

use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use postrider_http::problem::Problem;
use postrider_model::limits::{API_REQUESTS_BURST, API_REQUESTS_PER_SECOND, EDITS_BURST, EDITS_PER_SECOND};

/// One tenant's.
pub(crate) struct Budget {
    requests: DefaultDirectRateLimiter,
    edits: DefaultDirectRateLimiter,
}

impl Default for Budget {
    fn default() -> Self {
        let requests = Quota::per_second(API_REQUESTS_PER_SECOND).allow_burst(API_REQUESTS_BURST);
        let edits = Quota::per_second(EDITS_PER_SECOND).allow_burst(EDITS_BURST);
        Self { requests: RateLimiter::direct(requests), edits: RateLimiter::direct(edits) }
    }
}

impl Budget {
    /// Charges a request.
    ///
    /// # Errors
    /// 429.
    pub(crate) fn charge_request(&self) -> Result<(), Problem> {
        charge(&self.requests, || {
            format!("a tenant may ask {API_REQUESTS_PER_SECOND} times a second, with all its keys together")
        })
    }

    /// Charges a change.
    ///
    /// # Errors
    /// 429.
    pub(crate) fn charge_edit(&self) -> Result<(), Problem> {
        charge(&self.edits, || format!("a tenant may make {EDITS_PER_SECOND} changes a second, {EDITS_BURST} at once"))
    }
}

fn charge(limiter: &DefaultDirectRateLimiter, detail: impl Fn() -> String) -> Result<(), Problem> {
    limiter.check().map_err(|wait| {
        Problem::too_many_requests(detail(), at_least_a_second(wait.wait_time_from(DefaultClock::default().now())))
    })
}

/// `Retry-After` counts whole seconds.
fn at_least_a_second(wait: Duration) -> Duration {
    wait.max(Duration::from_secs(1))
}
