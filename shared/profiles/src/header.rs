//! The headers that a product adds, and the rules for header names and values.

use crate::envelope::TimestampFormat;

/// One header that a profile adds to every delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderTemplate {
    /// The name as the product writes it.
    pub name: String,
    /// The source of its value.
    pub value: HeaderValue,
}

/// The source of a header's value: a constant or a property of the event, but not the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderValue {
    /// A constant text.
    Constant(String),
    /// The event's type.
    Type,
    /// The event type's name in bodies and headers.
    WireType,
    /// The event's id.
    Id,
    /// When the event occurred.
    Timestamp(TimestampFormat),
}

/// Whether `name` is a header name (RFC 9110, section 5.6.2) of at most 128 bytes.
pub fn is_header_name(name: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=128).contains(&name.len()) && name.bytes().all(token)
}

/// Whether `value` can be a header's value: visible ASCII characters, with spaces or tabs between them.
pub fn is_header_value(value: &str) -> bool {
    let visible = |b: u8| b.is_ascii_graphic() || b == b' ' || b == b'\t';
    value.bytes().all(visible) && value.trim_ascii() == value
}

/// Whether Postrider or HTTP sets this header. If so, a profile's `headers` and an endpoint's headers must not set it. (A profile
/// sets its user agent and its signature header in other fields.)
pub fn is_reserved_header(name: &str) -> bool {
    const NAMES: [&str; 16] = [
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "proxy-authorization",
    ];
    let lower = name.to_ascii_lowercase();
    NAMES.contains(&lower.as_str())
        || ["webhook-", "postrider-", "proxy-"].iter().any(|prefix| lower.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_follow_http() {
        for good in ["X-Magnetite-Event", "a", "x_y"] {
            assert!(is_header_name(good), "{good}");
        }
        for bad in ["", "x y", "x:", "é", "x\n", &"x".repeat(129)] {
            assert!(!is_header_name(bad), "{bad:?}");
        }
        assert!(is_header_value("a b") && is_header_value(""));
        for bad in [" a", "a ", "a\nb", "a\0", "é"] {
            assert!(!is_header_value(bad), "{bad:?}");
        }
    }

    #[test]
    fn headers_of_postrider_and_http_are_reserved() {
        for name in ["Webhook-Id", "content-type", "Host", "postrider-delivery", "User-Agent", "TraceParent"] {
            assert!(is_reserved_header(name), "{name}");
        }
        assert!(!is_reserved_header("Authorization") && !is_reserved_header("X-Team"));
    }
}
