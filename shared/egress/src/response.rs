//! The parts of an answer that are kept for the history.

use bytes::Bytes;
use http::HeaderMap;
use http::header::SET_COOKIE;
use postrider_model::limits::RESPONSE_EXCERPT_BYTES_MAX;

/// Maximum number of headers of an answer that are kept.
pub const RESPONSE_HEADERS_MAX: usize = 32;
/// Maximum number of bytes of an answer's headers that are kept, names and values together.
pub const RESPONSE_HEADER_BYTES_MAX: usize = 4 * 1024;

/// Returns the headers to keep, in order: limited in number and bytes, without cookie values, and with invalid UTF-8 replaced.
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

/// The beginning of a body. It is a copy, so that the connection's read buffer can be freed.
#[derive(Debug, Default)]
pub(crate) struct Excerpt(Vec<u8>);

impl Excerpt {
    /// Appends bytes up to the maximum and ignores the rest.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        let room = RESPONSE_EXCERPT_BYTES_MAX - self.0.len();
        self.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        Bytes::from(self.0)
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
    fn an_excerpt_is_the_beginning() {
        let mut excerpt = Excerpt::default();
        for byte in 0..10 {
            excerpt.take(&[byte; 1_000]);
        }
        let kept = excerpt.into_bytes();
        assert_eq!((kept.len(), kept[3_999], kept[4_000]), (RESPONSE_EXCERPT_BYTES_MAX, 3, 4));
    }
}
