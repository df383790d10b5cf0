//! The versioned messages on the broker.
//!
//! Every internal hop moves **bundles** ([`bundle`]): up to 32 members, each a JSON head and raw payload bytes. The head
//! is one of [`messages`]; the payload is bytes that nobody on the way parses (an event's `data`, a delivery's rendered
//! body, a response's excerpt).
//!
//! Versioning: the bundle's first bytes name the format's version; unknown fields of a head are ignored, so a field may
//! be added when the old services can do without it. Whatever they could not do without is a new version.

pub mod bundle;
pub mod headers;
pub mod http;
pub mod loop_guard;
pub mod messages;
#[cfg(feature = "testing")]
pub mod testing;
