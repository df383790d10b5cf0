//! The answer to a request, as far as it was read.

use std::io;
use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;
use tokio::time::Instant;

use crate::response::{Excerpt, bounded_headers};

/// What was read of an answer.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// The final status code, once its line has been read.
    pub(crate) status_code: Option<u16>,
    /// When it was read.
    pub(crate) first_byte: Option<Instant>,
    /// The headers, bounded.
    pub(crate) headers: Vec<(String, String)>,
    /// The text of `Retry-After`.
    pub(crate) retry_after: Option<String>,
    /// The beginning of the body.
    pub(crate) excerpt: Excerpt,
    /// What is missing, in words, if the answer is incomplete.
    pub(crate) incomplete: Option<String>,
    /// Set if the connection can be used for another request.
    pub(crate) reusable: Option<Reusable>,
}

/// A connection that can be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reusable {
    /// How long the server keeps it: `Keep-Alive: timeout=…`.
    pub(crate) keep_alive: Option<Duration>,
}

/// Why there is no status line.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// The connection ended before any byte of an answer.
    Closed(Option<io::Error>),
    /// The connection ended within the first bytes of an answer.
    Cut,
    /// The bytes are not HTTP/1.1, or too many.
    NotHttp(&'static str),
    /// There was no status line by the deadline.
    TimedOut,
}

impl NoAnswer {
    /// Whether the connection was closed or reset before any byte of an answer. On a kept connection, the server may have closed
    /// it just when the request was sent (RFC 9112 section 9.3.1).
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Closed(None) => true,
            Self::Closed(Some(error)) => error.kind() != io::ErrorKind::InvalidData,
            Self::Cut | Self::NotHttp(_) | Self::TimedOut => false,
        }
    }
}

impl Answer {
    pub(crate) fn keep_headers(&mut self, headers: &HeaderMap) {
        self.retry_after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        self.headers = bounded_headers(headers);
    }
}
