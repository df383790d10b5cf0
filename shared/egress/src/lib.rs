//! The HTTP client for deliveries. It sends a request to allowed addresses only, and limits the bytes that it reads.
//!
//! Owns the client, name resolution, TLS and the [`AddressGuard`]. The client is built on `httparse`, `rustls` and tokio's
//! sockets. It preserves the spelling of header names, returns the status of an incomplete answer, and retries once if the
//! server has closed a kept connection.
//!
//! Promises:
//! - [`Egress::send`] returns within the request's timeout, because connecting, TLS, sending and reading share one deadline.
//! - No connection is made to an address that the guard refuses. The addresses of a name are checked, and the client connects
//!   to the same addresses without a second look-up, so that they cannot change in between.
//! - It follows no redirects, stores no cookies, decompresses no bodies, and ignores proxy environment variables.
//! - A status line is an answer. An answer that ends early keeps its status and is marked as incomplete.
//! - A request is written once, with one exception: if a kept connection is closed or reset before any byte of an answer, the
//!   request is written again on a new connection.
//! - The number of bytes that are read of an answer's head, of informational answers and of its body is limited (`RESPONSE_…`
//!   in [`limits`](postrider_model::limits)), and so is the number of bytes that are kept.
//!
//! It does not sign requests, retry failed requests, decide what a status code means (the profile decides), or log failures of
//! endpoints.

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
/// An endpoint's parsed URL; [`AddressGuard::check_url`] creates it.
pub use url::Url;
