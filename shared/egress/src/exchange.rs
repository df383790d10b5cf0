//! Makes one exchange on a connection: writes the request and reads the answer, both within limits.
//!
//! A status line is an answer. A later failure makes the answer incomplete but does not change its meaning (RFC 9110 section
//! 15). Therefore this module reads HTTP/1.1 itself, with the parser `httparse`. A client that returns an answer only after a
//! complete head loses the status of an incomplete answer, and buffers a head of any size that the server sends.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use postrider_model::limits::{
    RESPONSE_HEAD_BYTES_MAX, RESPONSE_INFORMATIONAL_BYTES_MAX, RESPONSE_READ_BYTES_MAX, RESPONSE_REST_MAX,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};

use crate::answer::{Answer, NoAnswer, Reusable};
use crate::body::{Framing, Malformed};
use crate::head;

/// Maximum number of bytes of one read.
const READ_BYTES: usize = 8 * 1024;
/// Maximum length of a status line.
const STATUS_LINE_BYTES_MAX: usize = 8 * 1024;

/// The kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A POST.
    Post,
    /// A CONNECT, which requests a tunnel: a 2xx answer ends with its head (RFC 9110 section 9.3.6).
    Connect,
}

/// Sends a request, which consists of two parts, and reads the answer, at the latest until `deadline`.
pub(crate) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    request: (Bytes, Bytes),
    deadline: Instant,
    kind: Kind,
) -> Result<Answer, NoAnswer> {
    let mut wire = Wire::new(stream, request, kind);
    let code = timeout_at(deadline, wire.status_line()).await.map_err(|_| NoAnswer::TimedOut)??;
    let first_byte = Instant::now();
    let mut answer = Answer { status_code: Some(code), first_byte: Some(first_byte), ..Answer::default() };
    let rest_until = deadline.min(first_byte + RESPONSE_REST_MAX);
    let rest = timeout_at(rest_until, wire.rest(code, &mut answer)).await;
    let rest = rest.unwrap_or_else(|_| {
        let seconds = rest_until.duration_since(first_byte).as_secs_f32();
        Err(format!("the rest did not arrive within {seconds:.1} s of its status line"))
    });
    if let Err(missing) = rest {
        if !wire.head_is_read {
            wire.salvage_headers(&mut answer);
        }
        answer.incomplete = Some(format!("answer incomplete: {missing}"));
    }
    Ok(answer)
}

/// The two directions of a connection during one exchange.
struct Wire<'a, S> {
    stream: &'a mut S,
    kind: Kind,
    /// The bytes that are not written yet. A server may answer before it has read the whole request.
    unsent: bytes::buf::Chain<Bytes, Bytes>,
    flushed: bool,
    /// The error of writing, if writing failed. The server may have sent an answer nevertheless.
    write_error: Option<io::Error>,
    buffer: BytesMut,
    /// All bytes of the answer that were received so far.
    received: usize,
    head_is_read: bool,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Wire<'a, S> {
    fn new(stream: &'a mut S, (first, rest): (Bytes, Bytes), kind: Kind) -> Self {
        Self {
            stream,
            kind,
            unsent: first.chain(rest),
            flushed: false,
            write_error: None,
            buffer: BytesMut::new(),
            received: 0,
            head_is_read: false,
        }
    }

    /// Reads some bytes, and writes the request at the same time. Returns the number of bytes that were read, 0 at the end of
    /// the connection.
    async fn fill(&mut self) -> io::Result<usize> {
        std::future::poll_fn(|cx| {
            if self.write_error.is_none()
                && let Poll::Ready(Err(error)) = self.poll_write(cx)
            {
                self.unsent = Bytes::new().chain(Bytes::new());
                self.write_error = Some(error);
            }
            // The space is on the stack, so that an attempt that waits for its answer does not occupy a buffer.
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

    /// Reads the final status line after any informational answers. The buffer then begins with this line.
    async fn status_line(&mut self) -> Result<u16, NoAnswer> {
        loop {
            let code = self.one_status_line().await?;
            // After 101 the connection speaks another protocol, so no further answer follows.
            if !matches!(code, 100 | 102..=199) {
                return Ok(code);
            }
            let mut searched = 0;
            let end = loop {
                match head::end(&self.buffer, &mut searched) {
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
            // Skips empty lines before a status line, like `httparse`.
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

    /// Receives more bytes while the final status line is incomplete.
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

    /// Reads the rest of an answer after the final status line. The error describes the missing part.
    async fn rest(&mut self, code: u16, answer: &mut Answer) -> Result<(), String> {
        let mut searched = 0;
        let end = loop {
            let end = head::end(&self.buffer, &mut searched);
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
        let bytes = self.buffer.split_to(end);
        self.head_is_read = true;
        let (version, headers) = head::parse(&bytes).map_err(str::to_owned)?;
        answer.keep_headers(&headers);
        if self.kind == Kind::Connect && matches!(code, 200..=299) {
            return if self.buffer.is_empty() { Ok(()) } else { Err("bytes came before the tunnel".to_owned()) };
        }
        let (framing, may_reuse) = Framing::of(code, &headers).map_err(|Malformed(why)| why.to_owned())?;
        let complete = self.body(framing, answer).await?;
        let unread = !self.buffer.is_empty() || self.unsent.has_remaining() || self.write_error.is_some();
        if complete && may_reuse && version == 1 && !unread && !head::closes(&headers) {
            answer.reusable = Some(Reusable { keep_alive: head::keep_alive(&headers) });
        }
        Ok(())
    }

    /// Reads the body. Returns `false` if the body is longer than the maximum that is read.
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
                    // Many servers close a connection without TLS's closing alert.
                    return Ok(true);
                }
                _ => return Err("the connection was closed within its body".to_owned()),
            }
        }
    }

    /// Stores the complete header lines of an incomplete or invalid head in `answer`.
    fn salvage_headers(&self, answer: &mut Answer) {
        let lines = self.buffer.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let bytes = [&self.buffer[..lines], b"\r\n"].concat();
        if let Ok((_, headers)) = head::parse(&bytes) {
            answer.keep_headers(&headers);
        }
    }
}

#[cfg(test)]
mod tests;
