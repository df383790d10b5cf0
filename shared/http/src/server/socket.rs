//! A client's socket that limits the time for which the client may read.
//!
//! hyper limits the time for which a client may send, but not the time for which it may read. Without a limit, a client that
//! requests a large response and reads it slowly or not at all keeps the connection open and the response in memory.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// A socket whose writes fail with [`io::ErrorKind::TimedOut`] if the client does not read the whole response in time.
pub(super) struct Socket {
    stream: TcpStream,
    answer_max: Duration,
    /// The timer runs from the first write that has to wait until all bytes are in the system's buffers.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    /// A socket whose client may take `answer_max` to read a response.
    pub(super) fn new(stream: TcpStream, answer_max: Duration) -> Self {
        Self { stream, answer_max, deadline: None }
    }

    /// Returns a write's result, or an error if the client has not read for too long.
    fn bounded(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_pending() {
            let answer_max = self.answer_max;
            let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(answer_max)));
            ready!(deadline.as_mut().poll(cx));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read its answer")));
        }
        written
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bounded(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper calls this function after it has written the whole response: all bytes are then in the system's buffers.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.deadline = None;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
