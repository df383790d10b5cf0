//! The body of a batch: a JSON array of the bodies of its events, in the form that the profile defines.

use postrider_model::ids::EventId;
use serde::Deserialize;

/// What the array of a batch contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchItems {
    /// The bodies of the events, as each would be sent alone.
    #[default]
    Bodies,
    /// Objects with the members `id` and `body`, for profiles whose bodies do not contain the event's id.
    WithIds,
}

/// The form of the bodies of batches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BatchEnvelope {
    /// What the array contains.
    pub items: BatchItems,
    /// The name of the member of an object that contains the array; `None`: the body is the array itself.
    pub member: Option<String>,
}

impl BatchEnvelope {
    /// The number of bytes of a body with these events: `events` are the results of [`BatchEnvelope::item_bytes`].
    pub fn bytes(&self, events: impl IntoIterator<Item = usize>) -> usize {
        events.into_iter().fold(self.prefix().len() + self.suffix().len(), usize::saturating_add)
    }

    /// The number of bytes that an event with a body of `body_bytes` adds to a batch, with the comma before or after it.
    pub fn item_bytes(&self, id: &EventId, body_bytes: usize) -> usize {
        let around = match self.items {
            BatchItems::Bodies => 0,
            BatchItems::WithIds => WITH_ID.map(str::len).iter().sum::<usize>() + id.as_str().len(),
        };
        body_bytes.saturating_add(around + 1)
    }

    /// Writes the body of a batch. The bytes of each event's own body do not change.
    pub fn render<'a>(&self, events: impl IntoIterator<Item = (&'a EventId, &'a [u8])> + Clone) -> Vec<u8> {
        let sizes = events.clone().into_iter().map(|(id, body)| self.item_bytes(id, body.len()));
        let mut out = Vec::with_capacity(self.bytes(sizes));
        out.extend_from_slice(self.prefix().as_bytes());
        for (index, (id, body)) in events.into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            match self.items {
                BatchItems::Bodies => out.extend_from_slice(body),
                BatchItems::WithIds => {
                    // An event's id contains no character that JSON escapes.
                    let [before_id, before_body, end] = WITH_ID.map(str::as_bytes);
                    for part in [before_id, id.as_str().as_bytes(), before_body, body, end] {
                        out.extend_from_slice(part);
                    }
                }
            }
        }
        out.extend_from_slice(self.suffix().as_bytes());
        out
    }

    fn prefix(&self) -> String {
        match &self.member {
            // The profile's file allows only names that JSON does not escape.
            Some(name) => format!("{{\"{name}\":["),
            None => "[".into(),
        }
    }

    fn suffix(&self) -> &'static str {
        if self.member.is_some() { "]}" } else { "]" }
    }
}

/// The text before the id of an event, between id and body, and after the body.
const WITH_ID: [&str; 3] = ["{\"id\":\"", "\",\"body\":", "}"];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(items: BatchItems, member: Option<&str>, expected: &str) {
        let envelope = BatchEnvelope { items, member: member.map(str::to_owned) };
        let ids: [EventId; 2] = ["e1".parse().unwrap(), "e2".parse().unwrap()];
        let bodies: [&[u8]; 2] = [b"{\"n\": 1.0}", b"{}"];
        let events = ids.iter().zip(bodies);
        let body = envelope.render(events.clone());
        assert_eq!(String::from_utf8(body).unwrap(), expected);
        // The last event has no comma.
        let bytes = envelope.bytes(events.map(|(id, body)| envelope.item_bytes(id, body.len())));
        assert_eq!(bytes, expected.len() + 1);
    }

    #[test]
    fn a_batch_is_an_array_in_the_form_of_the_profile() {
        check(BatchItems::Bodies, None, r#"[{"n": 1.0},{}]"#);
        check(BatchItems::WithIds, None, r#"[{"id":"e1","body":{"n": 1.0}},{"id":"e2","body":{}}]"#);
        check(BatchItems::Bodies, Some("events"), r#"{"events":[{"n": 1.0},{}]}"#);
    }
}
