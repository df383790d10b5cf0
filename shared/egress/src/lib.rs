//! The way out: one HTTP request to an endpoint, within every bound, to no address that it must not reach.
//!
//! Owns the HTTP client (the only crate that knows `reqwest`), name resolution, TLS roots and the [`AddressGuard`].
//!
//! Promises:
//! - [`Egress::send`] returns within the request's timeout, whatever the endpoint does: connecting, TLS, sending, the
//!   headers and the body are all inside the one deadline.
//! - No connection is made to an address that the guard refuses. The addresses that a name resolves to are filtered
//!   and then connected to without a second look-up, so a name cannot answer differently the second time.
//! - Redirects are not followed, cookies not kept, bodies not decompressed, proxies of the environment not used.
//! - At most [`RESPONSE_READ_BYTES_MAX`](postrider_model::limits::RESPONSE_READ_BYTES_MAX) bytes of an answer are read, and
//!   what is kept of it is bounded.
//!
//! Does not: sign, retry, decide what a status code means (that is the profile's), or log an endpoint's failures.

mod classify;
mod client;
mod guard;
mod ranges;
mod resolver;
mod response;
mod retry_after;
mod tls;

pub use client::{Egress, EgressConfig, EgressError, Request, Response};
pub use guard::{AddressGuard, BlockedAddress, UrlRefused};
pub use response::{RESPONSE_HEADER_BYTES_MAX, RESPONSE_HEADERS_MAX};
pub use retry_after::retry_after;
/// An endpoint's address, parsed; [`AddressGuard::check_url`] makes it.
pub use url::Url;
