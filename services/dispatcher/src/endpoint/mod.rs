//! The endpoints that this dispatcher delivers to.
//!
//! Owns: the cache of endpoints ([`EndpointCache`]), how one is read and made ready for attempts ([`EndpointLoader`],
//! [`PreparedEndpoint`]), and the gate that grants its POSTs ([`gate`]).

mod cache;
pub(crate) mod gate;
mod loader;
mod prepared_endpoint;
pub(crate) mod pushover;
mod unusable;

pub(crate) use cache::{
    CacheLimits, CachedEndpoint, DatabaseUnavailable, EndpointCache, EndpointState, LoadedEndpoint, SharedBreakerBoard,
};
pub(crate) use loader::EndpointLoader;
pub(crate) use prepared_endpoint::PreparedEndpoint;
pub(crate) use unusable::Unusable;
