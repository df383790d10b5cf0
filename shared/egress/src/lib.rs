//! The way out: one HTTP request to an endpoint, within every bound, to no address that it must not reach.
//!
//! Owns the HTTP client, name resolution, TLS roots and the [`AddressGuard`]. The client is this crate's own, on `httparse`, `rustls`
//! and tokio's sockets: it keeps the spelling of header names, knows the status of an answer that is cut, sends once more when a
//! kept connection turns out to be closed, and counts every byte that it reads.
//!
//! Promises:
//! - [`Egress::send`] returns within the request's timeout, whatever the endpoint does: connecting, TLS, sending, the
//!   headers and the body are all inside the one deadline.
//! - No connection is made to an address that the guard refuses. The addresses that a name resolves to are filtered
//!   and then connected to without a second look-up, so a name cannot answer differently the second time.
//! - Redirects are not followed, cookies not kept, bodies not decompressed, proxies of the environment not used.
//! - A status line is an answer, whatever follows it: an answer that is cut keeps its status, and says that it is incomplete.
//! - A request is written once. Only where a connection that was kept from before is closed or reset before any byte of an
//!   answer, it is written again, on a new one.
//! - Of an answer's head, of informational answers before it and of its body bounded numbers of bytes are read (`RESPONSE_…` in
//!   [`limits`](postrider_model::limits)), and what is kept of it is bounded.
//!
//! Does not: sign, retry, decide what a status code means (that is the profile's), or log an endpoint's failures.

mod answer;
mod body;
mod classify;
mod client;
mod connect;
mod guard;
mod headers;
mod pool;
mod ranges;
mod request;
mod resolver;
mod response;
mod retry_after;
mod settings;
mod stream;
mod tls;

pub use client::{Egress, EgressConfig, EgressError, Request, Response};
pub use guard::{AddressGuard, BlockedAddress, UrlRefused};
pub use headers::{Headers, InvalidHeaderName};
pub use response::{RESPONSE_HEADER_BYTES_MAX, RESPONSE_HEADERS_MAX};
pub use retry_after::retry_after;
pub use settings::Settings;
/// An endpoint's address, parsed; [`AddressGuard::check_url`] makes it.
pub use url::Url;
