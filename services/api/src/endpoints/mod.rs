//! `/v1/endpoints`: where a tenant wants events.

mod breaker;
pub(crate) mod check;
pub(crate) mod handlers;
pub(crate) mod model;
pub(crate) mod rotate;
