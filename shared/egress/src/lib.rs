//! The HTTP client for deliveries: one request to an endpoint, within every bound, to allowed addresses only.
//!
//! Owns the client, name resolution, TLS and the [`AddressGuard`]. The client is built on `httparse`, `rustls` and tokio's sockets: it
//! keeps the spelling of header names, knows the status of an incomplete answer, retries once when a kept connection turns out to
//! be closed, and bounds every byte that it reads.
//!
//! Promises:
//! - [`Egress::send`] returns within the request's timeout: connecting, TLS, sending and reading share one deadline.
//! - No connection is made to an address that the guard refuses. The addresses of a name are filtered and connected to without
//!   a second look-up, so that a name cannot change in between.
//! - Redirects are not followed, cookies not stored, bodies not decompressed, proxy variables of the environment not used.
//! - A status line is an answer. An answer that breaks off keeps its status and is marked as incomplete.
//! - A request is written once, except when a kept connection is closed or reset before any byte of an answer: then it is written
//!   again on a new connection.
//! - Bounded numbers of bytes are read of an answer's head, of informational answers and of its body (`RESPONSE_…` in
//!   [`limits`](postrider_model::limits)), and bounded parts are kept.
//!
//! Does not: sign, retry, decide what a status code means (the profile does), or log an endpoint's failures.

mod answer;
mod body;
mod classify;
mod client;
mod connect;
mod error;
mod exchange;
mod guard;
mod head;
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

pub use client::{Egress, EgressConfig, Request, Response};
pub use error::EgressError;
pub use guard::{AddressGuard, BlockedAddress, UrlRefused};
pub use headers::{Headers, InvalidHeaderName};
pub use response::{RESPONSE_HEADER_BYTES_MAX, RESPONSE_HEADERS_MAX};
pub use retry_after::retry_after;
pub use settings::Settings;
/// An endpoint's address, parsed; [`AddressGuard::check_url`] makes it.
pub use url::Url;
