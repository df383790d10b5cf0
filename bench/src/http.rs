//! The subset of HTTP/1.1 that generator, receiver and bare path speak: keep-alive, `Content-Length` bodies.
//!
//! Not a general client or server. Chunked bodies are refused, not misread.

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A parsed head: of a request or of a response.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    /// The request line or status line, without its line end.
    pub(crate) start_line: &'a [u8],
    /// The head's length in bytes, the empty line included.
    pub(crate) head_bytes: usize,
    /// `Content-Length`, 0 when there is none.
    pub(crate) body_bytes: usize,
    /// `webhook-id`.
    pub(crate) webhook_id: Option<&'a [u8]>,
}

/// Parses the head at the start of `buffer`; `None` while it is not all there.
pub(crate) fn parse_head(buffer: &[u8]) -> anyhow::Result<Option<Head<'_>>> {
    let mut head = Head { start_line: &[], head_bytes: 0, body_bytes: 0, webhook_id: None };
    let mut at = 0;
    loop {
        let Some(end) = buffer[at..].iter().position(|byte| *byte == b'\n').map(|found| at + found) else {
            return Ok(None);
        };
        let line = buffer[at..end].strip_suffix(b"\r").unwrap_or(&buffer[at..end]);
        if at == 0 {
            head.start_line = line;
        } else if line.is_empty() {
            head.head_bytes = end + 1;
            return Ok(Some(head));
        } else {
            read_header(line, &mut head)?;
        }
        at = end + 1;
    }
}

fn read_header<'a>(line: &'a [u8], head: &mut Head<'a>) -> anyhow::Result<()> {
    // The length tells most headers apart without looking at their letters.
    if let Some(value) = header(line, b"webhook-id") {
        head.webhook_id = Some(value);
    } else if let Some(value) = header(line, b"content-length") {
        let text = std::str::from_utf8(value).context("Content-Length")?;
        head.body_bytes = text.parse().context("Content-Length")?;
    } else if header(line, b"transfer-encoding").is_some() {
        bail!("a chunked body, which the benchmark does not read");
    }
    Ok(())
}

fn header<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let found = line.len() > name.len() && line[name.len()] == b':' && line[..name.len()].eq_ignore_ascii_case(name);
    found.then(|| line[name.len() + 1..].trim_ascii())
}

/// An answer: borrowed from the connection until its next request.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    /// The status code.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: &'a [u8],
}

/// One keep-alive connection of a client.
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

    /// Sends a whole request (head and body in one) and reads the whole answer.
    pub(crate) async fn send(&mut self, request: &[u8]) -> anyhow::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let (status, body) = loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the connection ended before the answer");
            }
            let Some(head) = parse_head(&self.buffer)? else { continue };
            let whole = head.head_bytes + head.body_bytes;
            if self.buffer.len() >= whole {
                break (status_of(head.start_line)?, head.head_bytes..whole);
            }
        };
        Ok(Answer { status, body: &self.buffer[body] })
    }
}

fn status_of(line: &[u8]) -> anyhow::Result<u16> {
    let code = line.get(9..12).and_then(|code| std::str::from_utf8(code).ok()).context("a short status line")?;
    code.parse().context("status code")
}

/// The bytes of a request to `host` with a JSON body; `headers` are whole lines with their ends.
pub(crate) fn request(method: &str, target: &str, host: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "{method} {target} HTTP/1.1\r\nhost: {host}\r\n{headers}content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// One JSON request with the operator's or a tenant's key, for set-up.
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
    fn a_head_is_parsed_when_it_is_whole() {
        let bytes = b"POST /e/3 HTTP/1.1\r\nHost: x\r\nWebhook-Id: evt_1\r\ncontent-length: 5\r\n\r\nhello";
        assert!(parse_head(&bytes[..40]).expect("so far valid").is_none());
        let head = parse_head(bytes).expect("valid").expect("whole");
        assert_eq!(head.start_line, b"POST /e/3 HTTP/1.1");
        assert_eq!((head.body_bytes, head.webhook_id), (5, Some(&b"evt_1"[..])));
        assert_eq!(&bytes[head.head_bytes..], b"hello");
    }

    #[test]
    fn a_chunked_body_is_refused() {
        assert!(parse_head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }
}
