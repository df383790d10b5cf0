//! `/v1/event-types`: a tenant's catalog, which is its profile's and what it says itself.

pub(crate) mod handlers;
pub(crate) mod model;
