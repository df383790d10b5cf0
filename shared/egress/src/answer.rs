//! An endpoint's answer to a request, as far as it was read.

use std::io;
use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;
use tokio::time::Instant;

use crate::response::{Excerpt, bounded_headers};

/// The parts of an answer that were read.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// The final status code, if its line was read.
    pub(crate) status_code: Option<u16>,
    /// When the status line was read completely.
    pub(crate) first_byte: Option<Instant>,
    /// The headers, limited in number and bytes.
    pub(crate) headers: Vec<(String, String)>,
    /// The text of `Retry-After`.
    pub(crate) retry_after: Option<String>,
    /// The beginning of the body.
    pub(crate) excerpt: Excerpt,
    /// A text that describes the missing part, if the answer is incomplete.
    pub(crate) incomplete: Option<String>,
    /// How the connection can be used for another request; `None` if it cannot.
    pub(crate) reusable: Option<Reusable>,
}

/// How a connection can be used for another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reusable {
    /// How long the server keeps the connection open without a request: `Keep-Alive: timeout=…`.
    pub(crate) keep_alive: Option<Duration>,
}

/// Why no status line was read.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// The connection ended before any byte of an answer.
    Closed(Option<io::Error>),
    /// The connection ended within the first bytes of an answer.
    Cut,
    /// The bytes are not HTTP/1.1, or too many bytes precede the final status line.
    NotHttp(&'static str),
    /// No status line arrived by the deadline.
    TimedOut,
}

impl NoAnswer {
    /// Whether the connection was closed or reset before any byte of an answer. A server may close a kept connection at the
    /// moment when a request is sent on it (RFC 9112 section 9.3.1).
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
