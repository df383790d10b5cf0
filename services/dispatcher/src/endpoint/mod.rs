//! The endpoints of this dispatcher's deliveries.
//!
//! Owns: the cache of endpoints ([`EndpointCache`]), the code that reads an endpoint ([`EndpointLoader`]), an endpoint that is
//! prepared for attempts ([`PreparedEndpoint`]), the services for people ([`service`]), and the pace
//! that grants permits for POSTs ([`shared_pace`]).

mod cache;
mod loader;
mod prepared_endpoint;
pub(crate) mod service;
pub(crate) mod shared_pace;
mod unusable;

pub(crate) use cache::{
    CacheLimits, CachedEndpoint, DatabaseUnavailable, EndpointCache, EndpointState, LoadedEndpoint, SharedBreakerBoard,
};
pub(crate) use loader::EndpointLoader;
pub(crate) use prepared_endpoint::PreparedEndpoint;
pub(crate) use unusable::Unusable;
