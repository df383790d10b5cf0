//! One exchange on a connection: the request is written, the answer is read within bounds.
//!
//! The status line is the answer: from it on, everything that goes wrong makes the answer incomplete and changes nothing about
//! its meaning (RFC 9110 section 15). So this reads HTTP/1.1 itself, on the parser `httparse`: a client that hands out an answer
//! only when its head is complete loses the status of a cut one, and buffers as much of a head as a server sends.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use postrider_model::limits::{
    RESPONSE_HEAD_BYTES_MAX, RESPONSE_INFORMATIONAL_BYTES_MAX, RESPONSE_READ_BYTES_MAX, RESPONSE_REST_MAX,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};

use crate::body::{Framing, Malformed};
use crate::response::{Excerpt, bounded_headers};

/// Most headers of an answer that are read.
const HEADERS_MAX: usize = 100;
/// Bytes that are read at once at most.
const READ_BYTES: usize = 8 * 1024;
/// Longest status line.
const STATUS_LINE_BYTES_MAX: usize = 8 * 1024;
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// What is known of an answer so far.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// The final status code, once its line has been read.
    pub(crate) status_code: Option<u16>,
    /// When it was.
    pub(crate) first_byte: Option<Instant>,
    /// The headers, bounded.
    pub(crate) headers: Vec<(String, String)>,
    /// The text of `Retry-After`.
    pub(crate) retry_after: Option<String>,
    /// The beginning of the body.
    pub(crate) excerpt: Excerpt,
    /// What is missing, in words, when the answer is not complete.
    pub(crate) incomplete: Option<String>,
    /// Whether the connection can be used for another request, and how long the server says that it keeps it.
    pub(crate) reusable: Option<Reusable>,
}

/// A connection after a complete answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reusable {
    /// `Keep-Alive: timeout=…`.
    pub(crate) announced: Option<Duration>,
}

/// Why there is no status line.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// The connection ended before any byte of an answer.
    Closed(Option<io::Error>),
    /// The connection ended within the first bytes of an answer.
    Cut,
    /// What came is not HTTP/1.1, or too long.
    NotHttp(&'static str),
    /// Nothing came until the deadline.
    Late,
}

impl NoAnswer {
    /// Whether the connection was closed or reset before any byte of an answer. On a connection that was used before, this
    /// is how a server's close looks that crossed the request (RFC 9112 section 9.3.1).
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Closed(None) => true,
            Self::Closed(Some(error)) => error.kind() != io::ErrorKind::InvalidData,
            Self::Cut | Self::NotHttp(_) | Self::Late => false,
        }
    }
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An answer.
    Post,
    /// A tunnel: a 2xx answer ends with its head (RFC 9110 section 9.3.6).
    Connect,
}

/// Sends a request (`head` with its empty line, then `body`) and reads the answer, until `deadline` at most.
pub(crate) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    head: Vec<u8>,
    body: Bytes,
    deadline: Instant,
    kind: Kind,
) -> Result<Answer, NoAnswer> {
    let mut wire = Wire::new(stream, head, body, kind);
    let code = timeout_at(deadline, wire.status_line()).await.map_err(|_| NoAnswer::Late)??;
    let first_byte = Instant::now();
    let mut answer = Answer { status_code: Some(code), first_byte: Some(first_byte), ..Answer::default() };
    let rest_until = deadline.min(first_byte + RESPONSE_REST_MAX);
    let rest = timeout_at(rest_until, wire.rest(code, &mut answer)).await;
    let rest = rest.unwrap_or_else(|_| Err(late(first_byte, rest_until)));
    if let Err(missing) = rest {
        if !wire.head_is_read {
            wire.salvage_headers(&mut answer);
        }
        answer.incomplete = Some(format!("answer incomplete: {missing}"));
    }
    Ok(answer)
}

fn late(from: Instant, until: Instant) -> String {
    format!("the rest did not come within {:.1} s of its status line", until.duration_since(from).as_secs_f32())
}

/// The two directions of a connection during one exchange.
struct Wire<'a, S> {
    stream: &'a mut S,
    kind: Kind,
    /// What is still to be written. A server may answer before it has read the whole request.
    unsent: bytes::buf::Chain<Bytes, Bytes>,
    flushed: bool,
    /// Set when writing failed: an answer may be there to read all the same.
    write_error: Option<io::Error>,
    buffer: BytesMut,
    /// Bytes of the answer that have been read.
    received: usize,
    head_is_read: bool,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Wire<'a, S> {
    fn new(stream: &'a mut S, mut head: Vec<u8>, body: Bytes, kind: Kind) -> Self {
        // A small body goes out in the same packet as the head.
        let body = if body.len() <= READ_BYTES {
            head.extend_from_slice(&body);
            Bytes::new()
        } else {
            body
        };
        Self {
            stream,
            kind,
            unsent: Bytes::from(head).chain(body),
            flushed: false,
            write_error: None,
            buffer: BytesMut::new(),
            received: 0,
            head_is_read: false,
        }
    }

    /// Reads some bytes, writing meanwhile; 0 at the end of the connection.
    async fn fill(&mut self) -> io::Result<usize> {
        std::future::poll_fn(|cx| {
            if self.write_error.is_none()
                && let Poll::Ready(Err(error)) = self.poll_write(cx)
            {
                self.unsent = Bytes::new().chain(Bytes::new());
                self.write_error = Some(error);
            }
            // On the stack, so that an attempt that waits for its answer holds no buffer.
            let mut space = [const { MaybeUninit::uninit() }; READ_BYTES];
            let mut space = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut *self.stream).poll_read(cx, &mut space))?;
            self.buffer.extend_from_slice(space.filled());
            self.received += space.filled().len();
            Poll::Ready(Ok(space.filled().len()))
        })
        .await
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unsent.has_remaining() {
            let written = ready!(Pin::new(&mut *self.stream).poll_write(cx, self.unsent.chunk()))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(written);
        }
        if !self.flushed {
            ready!(Pin::new(&mut *self.stream).poll_flush(cx))?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads up to the final status line, past informational answers. The buffer then begins with the line.
    async fn status_line(&mut self) -> Result<u16, NoAnswer> {
        loop {
            let code = self.one_status_line().await?;
            // After 101 the connection would speak another protocol: there is no further answer on it.
            if !matches!(code, 100 | 102..=199) {
                return Ok(code);
            }
            let mut looked_at = 0;
            let end = loop {
                match head_end(&self.buffer, &mut looked_at) {
                    Some(end) => break end,
                    None if self.buffer.len() > RESPONSE_HEAD_BYTES_MAX => {
                        return Err(NoAnswer::NotHttp("an informational answer (1xx) is larger than 64 KiB"));
                    }
                    None => self.fill_head().await?,
                }
            };
            self.buffer.advance(end);
        }
    }

    async fn one_status_line(&mut self) -> Result<u16, NoAnswer> {
        loop {
            // Empty lines before a status line are skipped, as the parser does.
            let blank = self.buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            self.buffer.advance(blank);
            let begin = self.buffer.len().min(b"HTTP/".len());
            if self.buffer[..begin] != b"HTTP/"[..begin] {
                return Err(NoAnswer::NotHttp("the answer is not HTTP/1.1"));
            }
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let mut parsed = httparse::Response::new(&mut []);
                let read = parsed.parse(&self.buffer[..=end]);
                let code = read.ok().and(parsed.code).filter(|code| *code >= 100);
                return code.ok_or(NoAnswer::NotHttp("the answer is not HTTP/1.1"));
            }
            if self.buffer.len() > STATUS_LINE_BYTES_MAX {
                return Err(NoAnswer::NotHttp("the answer's status line is longer than 8 KiB"));
            }
            self.fill_head().await?;
        }
    }

    /// Reads more of what comes before the final status line.
    async fn fill_head(&mut self) -> Result<(), NoAnswer> {
        if self.received > RESPONSE_INFORMATIONAL_BYTES_MAX {
            return Err(NoAnswer::NotHttp("more than 512 KiB of informational answers (1xx) came before the answer"));
        }
        match self.fill().await {
            Ok(1..) => Ok(()),
            Ok(0) | Err(_) if self.received > 0 => Err(NoAnswer::Cut),
            Ok(0) => Err(NoAnswer::Closed(self.write_error.take())),
            Err(error) => Err(NoAnswer::Closed(Some(error))),
        }
    }

    /// Reads what follows the final status line. The error says what is missing.
    async fn rest(&mut self, code: u16, answer: &mut Answer) -> Result<(), String> {
        let mut looked_at = 0;
        let end = loop {
            let end = head_end(&self.buffer, &mut looked_at);
            if let Some(end) = end.filter(|end| *end <= RESPONSE_HEAD_BYTES_MAX) {
                break end;
            }
            if self.buffer.len() > RESPONSE_HEAD_BYTES_MAX {
                return Err("its headers are larger than 64 KiB".to_owned());
            }
            match self.fill().await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Err("the connection was closed within its headers".to_owned()),
            }
        };
        let head = self.buffer.split_to(end);
        self.head_is_read = true;
        let (version, headers) = parse_head(&head).map_err(str::to_owned)?;
        answer.keep_headers(&headers);
        if self.kind == Kind::Connect && matches!(code, 200..=299) {
            return if self.buffer.is_empty() { Ok(()) } else { Err("bytes came before the tunnel".to_owned()) };
        }
        let (framing, may_reuse) = Framing::of(code, &headers).map_err(|Malformed(why)| why.to_owned())?;
        let complete = self.body(framing, answer).await?;
        let unread = !self.buffer.is_empty() || self.unsent.has_remaining() || self.write_error.is_some();
        if complete && may_reuse && version == 1 && !unread && !closes(&headers) {
            answer.reusable = Some(Reusable { announced: announced(&headers) });
        }
        Ok(())
    }

    /// Reads the body; false when there is more of it than is read.
    async fn body(&mut self, mut framing: Framing, answer: &mut Answer) -> Result<bool, String> {
        let before = self.received - self.buffer.len();
        let whole = framing;
        loop {
            let done =
                framing.decode(&mut self.buffer, &mut answer.excerpt).map_err(|Malformed(why)| why.to_owned())?;
            if done {
                return Ok(true);
            }
            if self.received - before >= RESPONSE_READ_BYTES_MAX {
                return Ok(false);
            }
            match (self.fill().await, whole, framing) {
                (Ok(1..), ..) => {}
                (Ok(0), Framing::UntilClose, _) => return Ok(true),
                (_, Framing::Length(length), Framing::Length(left)) => {
                    return Err(format!(
                        "the connection was closed after {} of {length} bytes of its body",
                        length - left
                    ));
                }
                (Err(error), Framing::UntilClose, _) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    // TLS that ends without its closing alert, as many servers do.
                    return Ok(true);
                }
                _ => return Err("the connection was closed within its body".to_owned()),
            }
        }
    }

    /// Keeps the headers that came of a head that is not complete or not valid.
    fn salvage_headers(&self, answer: &mut Answer) {
        let lines = self.buffer.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let head = [&self.buffer[..lines], b"\r\n"].concat();
        if let Ok((_, headers)) = parse_head(&head) {
            answer.keep_headers(&headers);
        }
    }
}

impl Answer {
    fn keep_headers(&mut self, headers: &HeaderMap) {
        self.retry_after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        self.headers = bounded_headers(headers);
    }
}

/// Where a head ends: behind its empty line. Bytes before `looked_at` are known to hold no end.
fn head_end(bytes: &[u8], looked_at: &mut usize) -> Option<usize> {
    let lines = bytes.iter().enumerate().skip(*looked_at).filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    *looked_at = bytes.len().saturating_sub(2);
    lines.into_iter().find_map(|line| match &bytes[line..] {
        [b'\n', ..] => Some(line + 1),
        [b'\r', b'\n', ..] => Some(line + 2),
        _ => None,
    })
}

/// The minor version of HTTP/1 and the headers.
fn parse_head(head: &[u8]) -> Result<(u8, HeaderMap), &'static str> {
    let mut space = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut space);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err("it has more than 100 headers"),
        Ok(httparse::Status::Partial) | Err(_) => return Err("its headers are not HTTP/1.1"),
    }
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for header in parsed.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(header.value)) else {
            return Err("its headers are not HTTP/1.1");
        };
        headers.append(name, value);
    }
    Ok((parsed.version.unwrap_or_default(), headers))
}

/// The members of a header's comma-separated lists.
fn members<'a>(headers: &'a HeaderMap, name: &'a HeaderName) -> impl Iterator<Item = &'a str> {
    let texts = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).map(str::trim)
}

/// Whether the server closes the connection after this answer.
fn closes(headers: &HeaderMap) -> bool {
    members(headers, &CONNECTION).any(|option| option.eq_ignore_ascii_case("close"))
}

/// `Keep-Alive: timeout=…`: seconds without a request after which the server closes the connection.
fn announced(headers: &HeaderMap) -> Option<Duration> {
    members(headers, &KEEP_ALIVE).find_map(|parameter| {
        let (name, seconds) = parameter.split_once('=')?;
        let seconds = seconds.trim().trim_matches('"').parse().ok()?;
        name.trim().eq_ignore_ascii_case("timeout").then(|| Duration::from_secs(seconds))
    })
}

#[cfg(test)]
mod tests;
