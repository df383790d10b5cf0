//! Handles JSON as text, without trees: writes strings, and reads the members of an object.

pub(crate) mod number;
mod stable;

use std::borrow::Cow;
use std::collections::HashMap;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

pub(crate) use stable::stable;

/// Appends `text` as a JSON string with its quotes.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// Appends `text` as a JSON string without its quotes.
fn write_inside(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    write_string(out, text);
    out.pop();
    out.remove(start);
}

/// Appends a UTF-16 unit as an escape, such as `\u001f`.
fn write_escape(out: &mut Vec<u8>, unit: u16) {
    out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
}

/// Escapes all characters except printable ASCII, as Python does. In valid JSON such characters are only in strings, so this
/// needs no parser.
pub(crate) fn to_ascii(body: Vec<u8>) -> Vec<u8> {
    let printable = |byte: &u8| *byte <= b'~';
    if body.iter().all(printable) {
        return body;
    }
    let text = String::from_utf8_lossy(&body);
    let mut out = Vec::with_capacity(body.len() * 2);
    for character in text.chars() {
        if character <= '~' {
            out.push(character as u8);
        } else {
            character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| write_escape(&mut out, *unit));
        }
    }
    out
}

/// The members of a JSON object in the producer's order, with unparsed values. If a name is repeated, its last member counts.
#[derive(Debug, Default)]
pub(crate) struct JsonMembers<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> JsonMembers<'a> {
    /// Reads an object. Returns `None` if the text is not an object.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    /// Returns names and values in order. If a name is repeated, only its last member is included.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        let last: HashMap<&str, usize> = self.0.iter().enumerate().map(|(at, (name, _))| (&**name, at)).collect();
        let members = self.0.iter().enumerate();
        members.filter(move |(at, (name, _))| last[&**name] == *at).map(|(_, (name, value))| (&**name, *value))
    }
}

/// A member's name, borrowed if it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

impl<'de> Deserialize<'de> for JsonMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct JsonMembersVisitor;
        impl<'de> Visitor<'de> for JsonMembersVisitor {
            type Value = JsonMembers<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    members.push((name, value));
                }
                Ok(JsonMembers(members))
            }
        }
        deserializer.deserialize_map(JsonMembersVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascii_escapes_pairs_beyond_the_basic_plane() {
        let ascii = to_ascii("{\"a\":\"é😀\"}".as_bytes().to_vec());
        assert_eq!(String::from_utf8(ascii).unwrap(), r#"{"a":"\u00e9\ud83d\ude00"}"#);
        assert_eq!(to_ascii(b"\"~\x7f\"".to_vec()), br#""~\u007f""#);
    }

    #[test]
    fn members_keep_their_order_and_the_last_of_a_repeated_name() {
        let members = JsonMembers::parse(r#"{"b":1,"a":[ 2 ],"b":3,"\u0063":4}"#).unwrap();
        let listed: Vec<_> = members.iter().map(|(name, value)| (name, value.get())).collect();
        assert_eq!(listed, [("a", "[ 2 ]"), ("b", "3"), ("c", "4")]);
        assert_eq!(members.get("b").unwrap().get(), "3");
        assert!(JsonMembers::parse("[1]").is_none() && JsonMembers::parse("nonsense").is_none());
    }
}
