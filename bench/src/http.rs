//! The subset of HTTP/1.1 that the generator, the sink and the bare path use: keep-alive connections, and bodies with
//! `Content-Length`.
//!
//! This is not a general client or server. A chunked body is an error.

use anyhow::{Context as _, bail, ensure};
use httparse::{EMPTY_HEADER, Header, Status};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Maximum number of headers in a request or response.
const HEADERS_MAX: usize = 64;

/// The parsed head of a request.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    /// The method.
    pub(crate) method: &'a str,
    /// The target of the request.
    pub(crate) target: &'a str,
    /// Length of the head in bytes, including the empty line.
    pub(crate) head_bytes: usize,
    /// Value of `Content-Length`, or 0 if the header is absent.
    pub(crate) body_bytes: usize,
    /// Value of `webhook-id`, empty if the header is absent.
    pub(crate) webhook_id: &'a [u8],
}

/// Parses the head of a request at the start of `buffer`. Returns `None` while the head is incomplete.
pub(crate) fn parse_head(buffer: &[u8]) -> anyhow::Result<Option<Head<'_>>> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let Status::Complete(head_bytes) = request.parse(buffer)? else { return Ok(None) };
    Ok(Some(Head {
        method: request.method.unwrap_or_default(),
        target: request.path.unwrap_or_default(),
        head_bytes,
        body_bytes: body_bytes(request.headers)?,
        webhook_id: header(request.headers, "webhook-id").unwrap_or_default(),
    }))
}

fn body_bytes(headers: &[Header<'_>]) -> anyhow::Result<usize> {
    ensure!(header(headers, "transfer-encoding").is_none(), "a chunked body, which the benchmark does not read");
    let Some(value) = header(headers, "content-length") else { return Ok(0) };
    std::str::from_utf8(value)?.parse().context("Content-Length")
}

fn header<'a>(headers: &[Header<'a>], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// A response. Its body is borrowed from the connection.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    /// The status code.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: &'a [u8],
}

/// A keep-alive connection of a client.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects to `address` (`host:port`).
    pub(crate) async fn open(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096) })
    }

    /// Sends a whole request (head and body together) and reads the whole response.
    pub(crate) async fn send(&mut self, request: &[u8]) -> anyhow::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let (status, body) = loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the connection ended before the answer");
            }
            let mut headers = [EMPTY_HEADER; HEADERS_MAX];
            let mut head = httparse::Response::new(&mut headers);
            let Status::Complete(head_bytes) = head.parse(&self.buffer)? else { continue };
            let whole = head_bytes + body_bytes(head.headers)?;
            if self.buffer.len() >= whole {
                break (head.code.unwrap_or_default(), head_bytes..whole);
            }
        };
        Ok(Answer { status, body: &self.buffer[body] })
    }
}

/// Returns the bytes of a request to `host` with a JSON body. `headers` consists of whole lines with line ends.
pub(crate) fn request(method: &str, target: &str, host: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "{method} {target} HTTP/1.1\r\nhost: {host}\r\n{headers}content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Sends a JSON request with the key of the operator or of a tenant. It is for the preparation of a measurement.
pub(crate) async fn call(
    address: &str,
    key: &str,
    method: &str,
    target: &str,
    body: &serde_json::Value,
) -> anyhow::Result<serde_json::Value> {
    let headers = format!("authorization: Bearer {key}\r\n");
    let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(body)? };
    let mut connection = Connection::open(address).await?;
    let answer = connection.send(&request(method, target, address, &headers, &bytes)).await?;
    if !(200..300).contains(&answer.status) {
        bail!("{method} {target}: {} {}", answer.status, String::from_utf8_lossy(answer.body));
    }
    if answer.body.is_empty() {
        return Ok(serde_json::Value::Null);
    }
    serde_json::from_slice(answer.body).with_context(|| format!("{method} {target}: the answer is not JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_parsed_once_it_is_complete() {
        let bytes = b"POST /e/3 HTTP/1.1\r\nHost: x\r\nWebhook-Id: evt_1\r\ncontent-length: 5\r\n\r\nhello";
        assert!(parse_head(&bytes[..40]).expect("valid").is_none());
        let head = parse_head(bytes).expect("valid").expect("complete");
        assert_eq!((head.method, head.target, head.body_bytes, head.webhook_id), ("POST", "/e/3", 5, &b"evt_1"[..]));
        assert_eq!(&bytes[head.head_bytes..], b"hello");
    }

    #[test]
    fn a_chunked_body_is_refused() {
        assert!(parse_head(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }
}
