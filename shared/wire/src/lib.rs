//! The versioned messages between services, and the public contract of publishing ([`http`]).
//!
//! Services exchange **bundles** ([`bundle`]): up to 32 members, each a JSON head and raw payload bytes. The head is one of
//! [`messages`]. The payload (an event's `data`, a delivery's body, an excerpt of a response) is not parsed on the way.
//!
//! Versioning: the first bytes of a bundle contain the version of the format. Unknown fields of a head are ignored, so a field
//! may be added if older services work without it. Every other change needs a new version.

pub mod bundle;
pub mod headers;
pub mod http;
pub mod loop_guard;
pub mod messages;
#[cfg(feature = "testing")]
pub mod testing;
