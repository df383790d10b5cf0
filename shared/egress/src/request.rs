//! Builds the bytes of a request.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use url::{Position, Url};

use crate::connect::ForwardProxy;
use crate::headers::Headers;

/// Headers of the connection. The client ignores the caller's values, which could make the endpoint read a different request.
const CONNECTION_HEADERS: [HeaderName; 7] = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, UPGRADE, TE, TRAILER];

/// Maximum number of bytes of a body that is written together with the head. A larger body is written after the head.
const SMALL_BODY_BYTES_MAX: usize = 8 * 1024;

/// Returns the bytes of a POST of `body` to `url` in two consecutive parts. `proxy` is the proxy of a request without TLS. (A
/// request with TLS goes through a tunnel, so the proxy does not see it.)
pub(crate) fn post(url: &Url, headers: &Headers<'_>, body: Bytes, proxy: Option<&ForwardProxy>) -> (Bytes, Bytes) {
    let is_small = body.len() <= SMALL_BODY_BYTES_MAX;
    let mut head = Vec::with_capacity(1_024 + if is_small { body.len() } else { 0 });
    head.extend_from_slice(b"POST ");
    // A parsed URL contains neither spaces nor line ends.
    let from = if proxy.is_some() { Position::BeforeScheme } else { Position::BeforePath };
    head.extend_from_slice(url[from..Position::AfterQuery].as_bytes());
    head.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    head.extend_from_slice(url[Position::BeforeHost..Position::AfterPort].as_bytes());
    head.extend_from_slice(b"\r\n");
    let is_reserved = |name: &str| CONNECTION_HEADERS.iter().any(|own| own.as_str().eq_ignore_ascii_case(name));
    for (name, value) in headers.iter().filter(|(name, _)| !is_reserved(name)) {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    if headers.get("accept").is_none() {
        head.extend_from_slice(b"Accept: */*\r\n");
    }
    if let Some(proxy) = proxy {
        head.extend_from_slice(proxy.authorization.as_bytes());
    }
    head.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    if is_small {
        head.extend_from_slice(&body);
        return (head.into(), Bytes::new());
    }
    (head.into(), body)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(url: &str, proxy: Option<&str>, headers: &[(&'static str, &'static str)], expected: &str) {
        let mut map = Headers::default();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_static(value)).unwrap();
        }
        let proxy = proxy.map(|proxy| ForwardProxy::parse(proxy).unwrap());
        let (head, _) = post(&url.parse().unwrap(), &map, Bytes::from_static(b"{\"a\":1}"), proxy.as_ref());
        assert_eq!(String::from_utf8(head.into()).unwrap(), format!("{expected}{{\"a\":1}}"));
    }

    #[test]
    fn header_names_keep_their_spelling() {
        check(
            "https://example.com:8443/hook?a=%20b#part",
            None,
            &[
                ("X-Api-KEY", "k"),
                ("webhook-id", "evt_1"),
                ("hOsT", "evil"),
                ("Content-length", "1"),
                ("ACCEPT", "a/b"),
            ],
            "POST /hook?a=%20b HTTP/1.1\r\nHost: example.com:8443\r\nX-Api-KEY: k\r\nwebhook-id: evt_1\r\nACCEPT: a/b\r\n\
             Content-Length: 7\r\n\r\n",
        );
        check(
            "http://[2001:db8::1]:80",
            None,
            &[],
            "POST / HTTP/1.1\r\nHost: [2001:db8::1]\r\nAccept: */*\r\nContent-Length: 7\r\n\r\n",
        );
    }

    #[test]
    fn a_proxy_gets_the_whole_url_and_its_own_credentials() {
        check(
            "http://example.com/hook",
            Some("http://u:p@proxy"),
            &[],
            "POST http://example.com/hook HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\nProxy-Authorization: Basic dTpw\r\n\
             Content-Length: 7\r\n\r\n",
        );
    }
}
