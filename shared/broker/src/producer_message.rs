//! Messages that producers publish: on the public exchange, and as dead letters.

use bytes::Bytes;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use postrider_model::time::UnixMillis;

/// Maximum number of bytes of header names and values that are kept. All properties of a message must fit in one AMQP frame,
/// even after a dead letter's reason is added.
const HEADERS_BYTES_MAX: usize = 32 * 1024;

/// Headers that the broker or a service sets. A trailing `-` marks a prefix.
const RESERVED: [&str; 7] =
    ["x-reason", "x-source", "x-body-cut", "x-death", "x-delivery-count", "x-first-death-", "x-last-death-"];

/// A message with its properties as text. Leaves out headers that are tables or arrays, because nothing reads them, and headers
/// that would make all headers together longer than 32 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProducerMessage {
    /// The routing key with which the message was published.
    pub routing_key: String,
    /// The property `content_type`.
    pub content_type: Option<String>,
    /// The property `message_id`.
    pub message_id: Option<String>,
    /// The names and values of the headers, ordered by name.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl ProducerMessage {
    /// Reads a message and moves its body out of `delivery`.
    pub(crate) fn take(delivery: &mut Delivery) -> Self {
        let properties = &delivery.properties;
        Self {
            routing_key: delivery.routing_key.as_str().to_owned(),
            content_type: properties.content_type().as_ref().map(|text| text.as_str().to_owned()),
            message_id: properties.message_id().as_ref().map(|text| text.as_str().to_owned()),
            headers: properties.headers().as_ref().map(headers).unwrap_or_default(),
            body: std::mem::take(&mut delivery.data).into(),
        }
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The headers that the producer set, to be forwarded.
    pub(crate) fn own_headers(&self) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in self.headers.iter().filter(|(name, _)| is_producers(name)) {
            table.insert(name.as_str().into(), AMQPValue::LongString(value.as_str().into()));
        }
        table
    }
}

fn is_producers(name: &str) -> bool {
    !RESERVED.iter().any(|mark| name == *mark || (mark.ends_with('-') && name.starts_with(mark)))
}

fn headers(table: &FieldTable) -> Vec<(String, String)> {
    let mut room = HEADERS_BYTES_MAX;
    let mut headers = Vec::new();
    for (name, value) in table.inner() {
        let Some(text) = text(value) else { continue };
        let Some(left) = room.checked_sub(name.as_str().len() + text.len()) else { continue };
        room = left;
        headers.push((name.as_str().to_owned(), text));
    }
    headers
}

/// A header's value as text; `None` for tables, arrays, decimals and void values.
pub(crate) fn text(value: &AMQPValue) -> Option<String> {
    Some(match value {
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        AMQPValue::ShortString(text) => text.as_str().to_owned(),
        AMQPValue::ByteArray(bytes) => String::from_utf8_lossy(bytes.as_slice()).into_owned(),
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::ShortShortInt(value) => value.to_string(),
        AMQPValue::ShortShortUInt(value) => value.to_string(),
        AMQPValue::ShortInt(value) => value.to_string(),
        AMQPValue::ShortUInt(value) => value.to_string(),
        AMQPValue::LongInt(value) => value.to_string(),
        AMQPValue::LongUInt(value) => value.to_string(),
        AMQPValue::LongLongInt(value) => value.to_string(),
        AMQPValue::Float(value) => value.to_string(),
        AMQPValue::Double(value) => value.to_string(),
        // AMQP 0-9-1 defines the value as seconds since 1970.
        AMQPValue::Timestamp(seconds) => {
            let millis = i64::try_from(*seconds).unwrap_or(i64::MAX).saturating_mul(1_000);
            UnixMillis(millis).to_rfc3339_seconds()
        }
        AMQPValue::DecimalValue(_) | AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) | AMQPValue::Void => {
            return None;
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = AMQPValue> {
        prop_oneof![
            vec(any::<u8>(), 0..2_000).prop_map(|bytes| AMQPValue::LongString(bytes.into())),
            vec(any::<u8>(), 0..2_000).prop_map(|bytes| AMQPValue::ByteArray(bytes.into())),
            any::<u64>().prop_map(AMQPValue::Timestamp),
            any::<i64>().prop_map(AMQPValue::LongLongInt),
            any::<i8>().prop_map(AMQPValue::ShortShortInt),
            any::<f64>().prop_map(AMQPValue::Double),
            any::<f32>().prop_map(AMQPValue::Float),
            any::<bool>().prop_map(AMQPValue::Boolean),
            Just(AMQPValue::Void),
            Just(AMQPValue::FieldTable(FieldTable::default())),
        ]
    }

    proptest! {
        #[test]
        fn any_headers_become_bounded_text_and_are_forwarded_unchanged(
            values in btree_map("[a-z:-]{0,40}|x-death|x-first-death-queue", value(), 0..40),
        ) {
            let mut table = FieldTable::default();
            for (name, value) in values {
                table.insert(name.as_str().into(), value);
            }
            let message = ProducerMessage { headers: headers(&table), ..ProducerMessage::default() };
            let bytes: usize = message.headers.iter().map(|(name, text)| name.len() + text.len()).sum();
            prop_assert!(bytes <= HEADERS_BYTES_MAX);
            let forwarded = headers(&message.own_headers());
            let own: Vec<_> = message.headers.into_iter().filter(|(name, _)| is_producers(name)).collect();
            prop_assert_eq!(forwarded, own);
        }
    }

    #[test]
    fn headers_of_the_broker_are_not_forwarded() {
        let headers =
            ["x-reason", "x-death", "x-first-death-queue", "x-last-death-reason", "x-mine", "postrider-version"];
        let message = ProducerMessage {
            headers: headers.map(|name| (name.to_owned(), "v".to_owned())).to_vec(),
            ..ProducerMessage::default()
        };
        let own: Vec<_> = message.own_headers().inner().keys().map(|name| name.as_str().to_owned()).collect();
        assert_eq!(own, ["postrider-version", "x-mine"]);
    }

    #[test]
    fn headers_are_text_and_bounded() {
        let mut table = FieldTable::default();
        table.insert("a".into(), AMQPValue::LongInt(1));
        table.insert("b".into(), AMQPValue::Boolean(true));
        table.insert("c".into(), AMQPValue::Timestamp(1_700_000_000));
        table.insert("d".into(), AMQPValue::FieldTable(FieldTable::default()));
        table.insert("e".into(), AMQPValue::LongString("x".repeat(HEADERS_BYTES_MAX).into()));
        table.insert("f".into(), AMQPValue::LongString("last".into()));
        let read = headers(&table);
        let read: Vec<_> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(read, [("a", "1"), ("b", "true"), ("c", "2023-11-14T22:13:20Z"), ("f", "last")]);
    }
}
