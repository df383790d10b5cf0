//! Finds the end of a response's head, parses the head, and reads its headers about the connection.

use std::time::Duration;

use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue};

/// Maximum number of headers in a response.
const HEADERS_MAX: usize = 100;
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Returns the length of the head including its empty line. The first `searched` bytes contain no end; `searched` is updated.
pub(crate) fn end(bytes: &[u8], searched: &mut usize) -> Option<usize> {
    let lines = bytes.iter().enumerate().skip(*searched).filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    *searched = bytes.len().saturating_sub(2);
    lines.into_iter().find_map(|line| match &bytes[line..] {
        [b'\n', ..] => Some(line + 1),
        [b'\r', b'\n', ..] => Some(line + 2),
        _ => None,
    })
}

/// Parses a head. Returns the minor version of HTTP/1, and the headers.
pub(crate) fn parse(head: &[u8]) -> Result<(u8, HeaderMap), &'static str> {
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

/// Returns the members of all comma-separated lists in headers with this name.
fn members<'a>(headers: &'a HeaderMap, name: &'a HeaderName) -> impl Iterator<Item = &'a str> {
    let texts = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).map(str::trim)
}

/// Whether the server closes the connection after this response.
pub(crate) fn closes(headers: &HeaderMap) -> bool {
    members(headers, &CONNECTION).any(|option| option.eq_ignore_ascii_case("close"))
}

/// Returns how long the server keeps the connection open without a request: `Keep-Alive: timeout=…`.
pub(crate) fn keep_alive(headers: &HeaderMap) -> Option<Duration> {
    members(headers, &KEEP_ALIVE).find_map(|parameter| {
        let (name, seconds) = parameter.split_once('=')?;
        let seconds = seconds.trim().trim_matches('"').parse().ok()?;
        name.trim().eq_ignore_ascii_case("timeout").then(|| Duration::from_secs(seconds))
    })
}
