//! The events to publish: JSON of a given length that contains a counter and one of ten thousand keys.

/// Default length of an event in bytes.
pub(crate) const EVENT_BYTES: usize = 500;

const COUNTER_DIGITS: usize = 12;
/// The key consists of the last digits of the counter.
const KEY_DIGITS: usize = 4;

/// The JSON of an event. The next event uses the same buffer with another counter.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    bytes: Vec<u8>,
    counter_at: usize,
    key_at: usize,
}

impl Event {
    /// Creates an event of the type `event_type`, padded to `length` bytes. It is longer if `length` is too short for its
    /// members.
    pub(crate) fn new(event_type: &str, length: usize) -> Self {
        let start = format!(r#"{{"type":"{event_type}","data":{{"counter":""#);
        let counter = format!(r#"{}","key":""#, "0".repeat(COUNTER_DIGITS));
        let middle = format!(
            r#"{}","recipient":"someone@example.com","subject":"Your order is on its way","status":"delivered","padding":""#,
            "0".repeat(KEY_DIGITS)
        );
        let end = r#""}}"#;
        let padding = length.saturating_sub(start.len() + counter.len() + middle.len() + end.len());
        let bytes = format!("{start}{counter}{middle}{}{end}", "x".repeat(padding)).into_bytes();
        Self { bytes, counter_at: start.len(), key_at: start.len() + counter.len() }
    }

    /// Returns the event with the counter set to `counter`, and with the key of this number.
    pub(crate) fn numbered(&mut self, counter: u64) -> &[u8] {
        let digits = &mut self.bytes[self.counter_at..self.counter_at + COUNTER_DIGITS];
        let mut rest = counter;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let key = self.counter_at + COUNTER_DIGITS - KEY_DIGITS..self.counter_at + COUNTER_DIGITS;
        self.bytes.copy_within(key, self.key_at);
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_length_asked_for_and_its_counter() {
        let mut event = Event::new("email.delivered", EVENT_BYTES);
        let bytes = event.numbered(14_711).to_vec();
        assert_eq!(bytes.len(), EVENT_BYTES);
        let value: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(value["type"], "email.delivered");
        assert_eq!((&value["data"]["counter"], &value["data"]["key"]), (&"000000014711".into(), &"4711".into()));
    }
}
