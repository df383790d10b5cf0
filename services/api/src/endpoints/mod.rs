//! `/v1/endpoints`: where a tenant wants events.

pub(crate) mod breaker;
pub(crate) mod check;
pub(crate) mod handlers;
pub(crate) mod model;
pub(crate) mod rotate;
