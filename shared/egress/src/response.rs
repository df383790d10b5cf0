//! What is read of an answer, and what is kept.

use bytes::Bytes;
use http::HeaderMap;
use http::header::SET_COOKIE;
use postrider_model::limits::{RESPONSE_EXCERPT_BYTES_MAX, RESPONSE_READ_BYTES_MAX};

/// Most headers of an answer that are kept.
pub const RESPONSE_HEADERS_MAX: usize = 32;
/// Most bytes of an answer's headers that are kept, names and values together.
pub const RESPONSE_HEADER_BYTES_MAX: usize = 4 * 1024;

/// The headers to keep, in the order they came: bounded, cookies hidden, bytes that are no UTF-8 replaced.
pub(crate) fn bounded_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut left = RESPONSE_HEADER_BYTES_MAX;
    let mut kept = Vec::with_capacity(headers.len().min(RESPONSE_HEADERS_MAX));
    for (name, value) in headers.iter().take(RESPONSE_HEADERS_MAX) {
        let size = name.as_str().len() + value.len();
        if size > left {
            break;
        }
        left -= size;
        let value = if name == SET_COOKIE { "(hidden)".into() } else { String::from_utf8_lossy(value.as_bytes()) };
        kept.push((name.as_str().to_owned(), value.into_owned()));
    }
    kept
}

/// The beginning of a body. Copies, so that it does not keep the connection's read buffer alive.
#[derive(Debug, Default)]
pub(crate) struct Excerpt {
    kept: Vec<u8>,
    read: usize,
}

impl Excerpt {
    /// Takes a chunk; false when enough was read (the connection is then closed, not read to its end).
    pub(crate) fn take(&mut self, chunk: &[u8]) -> bool {
        let room = RESPONSE_EXCERPT_BYTES_MAX - self.kept.len();
        self.kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
        self.read = self.read.saturating_add(chunk.len());
        self.read < RESPONSE_READ_BYTES_MAX
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        Bytes::from(self.kept)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn kept_headers_are_bounded_in_count_and_bytes() {
        let mut headers = HeaderMap::new();
        for index in 0..40 {
            headers.insert(HeaderName::try_from(format!("x-{index}")).unwrap(), HeaderValue::from_static("v"));
        }
        assert_eq!(bounded_headers(&headers).len(), RESPONSE_HEADERS_MAX);

        let mut headers = HeaderMap::new();
        headers.insert("a", HeaderValue::try_from("x".repeat(4_000)).unwrap());
        headers.insert("b", HeaderValue::try_from("x".repeat(1_000)).unwrap());
        assert_eq!(bounded_headers(&headers).len(), 1);
    }

    #[test]
    fn cookies_are_hidden_and_odd_bytes_replaced() {
        let mut headers = HeaderMap::new();
        headers.insert(SET_COOKIE, HeaderValue::from_static("session=secret"));
        headers.insert("x-odd", HeaderValue::from_bytes(b"a\xffb").unwrap());
        let kept = bounded_headers(&headers);
        assert_eq!(kept[0], ("set-cookie".to_owned(), "(hidden)".to_owned()));
        assert_eq!(kept[1].1, "a\u{fffd}b");
    }

    #[test]
    fn an_excerpt_is_the_beginning_and_reading_ends() {
        let mut excerpt = Excerpt::default();
        let chunk = vec![7_u8; 3_000];
        let chunks = (1..100).take_while(|_| excerpt.take(&chunk)).count();
        assert_eq!(chunks, RESPONSE_READ_BYTES_MAX / 3_000);
        assert_eq!(excerpt.into_bytes().len(), RESPONSE_EXCERPT_BYTES_MAX);
    }
}
