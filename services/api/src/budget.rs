//! Limits the request rate of a tenant, over all its keys.

use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use postrider_http::problem::Problem;
use postrider_model::limits::{API_REQUESTS_BURST, API_REQUESTS_PER_SECOND};

/// The budget of one tenant.
pub(crate) struct Budget {
    requests: DefaultDirectRateLimiter,
}

impl Default for Budget {
    fn default() -> Self {
        let requests = Quota::per_second(API_REQUESTS_PER_SECOND).allow_burst(API_REQUESTS_BURST);
        Self { requests: RateLimiter::direct(requests) }
    }
}

impl Budget {
    /// Charges a request.
    ///
    /// # Errors
    /// 429.
    pub(crate) fn charge_request(&self) -> Result<(), Problem> {
        charge(&self.requests, || {
            format!("a tenant may make {API_REQUESTS_PER_SECOND} requests a second with all its keys together")
        })
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
