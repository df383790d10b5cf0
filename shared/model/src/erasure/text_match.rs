//! The search for a value in bytes that need not be JSON: answers of endpoints, headers, dead letters.

use super::Extent;

/// Finds a value in bytes, as it is and in the usual escaped forms.
#[derive(Clone)]
pub struct TextMatch {
    forms: Vec<Vec<u8>>,
    extent: Extent,
}

impl TextMatch {
    pub(super) fn new(value: &str, extent: Extent) -> Self {
        let json = json_inside(value);
        let ascii = ascii_json(&json);
        let mut forms = vec![
            value.as_bytes().to_vec(),
            json.replace('/', "\\/").into_bytes(),
            ascii.replace('/', "\\/").into_bytes(),
            percent_encoded(value).into_bytes(),
            value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").into_bytes(),
            json.into_bytes(),
            ascii.into_bytes(),
        ];
        forms.sort();
        forms.dedup();
        Self { forms, extent }
    }

    /// Whether the bytes hold the value: with [`Extent::Whole`] only where no letter, digit or other character of a longer name
    /// is next to it.
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        self.forms.iter().any(|form| self.has_form(bytes, form))
    }

    fn has_form(&self, bytes: &[u8], form: &[u8]) -> bool {
        // A form has at least `ERASURE_VALUE_BYTES_MIN` bytes, so it has a first byte.
        let Some((first, rest)) = form.split_first() else { return false };
        let mut at = 0;
        while let Some(found) = bytes[at..].iter().position(|byte| byte == first) {
            let start = at + found;
            let end = start + form.len();
            if bytes[start + 1..].starts_with(rest)
                && (self.extent == Extent::Anywhere || (begins(&bytes[..start]) && ends(&bytes[end..])))
            {
                return true;
            }
            at = start + 1;
        }
        false
    }
}

/// Whether a value may begin after these bytes.
fn begins(before: &[u8]) -> bool {
    match before {
        [.., b'\\', b'n' | b'r' | b't' | b'b' | b'f'] | [.., b'\\', b'u', _, _, _, _] | [.., b'%', _, _] => true,
        [.., last] => !(is_of_name(*last) || matches!(last, b'+' | b'.')),
        [] => true,
    }
}

/// Whether a value may end before these bytes.
fn ends(after: &[u8]) -> bool {
    match after {
        // A dot ends a sentence, or a longer name follows.
        [b'.', next, ..] => !is_of_name(*next),
        [first, ..] => !is_of_name(*first),
        [] => true,
    }
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || !byte.is_ascii()
}

/// The value as a JSON string without its quotes.
fn json_inside(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// JSON with every character outside ASCII as `\uXXXX`.
fn ascii_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

fn percent_encoded(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_whole_value_is_found_between_other_text_and_not_in_a_longer_name() {
        let email = TextMatch::new("jo@example.com", Extent::Whole);
        for text in [
            "jo@example.com",
            "unknown user <jo@example.com>.",
            r#"{"email":"jo@example.com"}"#,
            r#"{"error":"first\njo@example.com"}"#,
            r#"{"error":"\u003cjo@example.com\u003e"}"#,
            "email=jo%40example.com&x=1",
            "I know jo@example.com. Bye",
        ] {
            assert!(email.is_in(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "jo@example",
            "bojo@example.com",
            "a.jo@example.com",
            "a+jo@example.com",
            "jo@example.community",
            "jo@example.com.au",
        ] {
            assert!(!email.is_in(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_value_is_found_anywhere_if_asked() {
        let part = TextMatch::new("example.com", Extent::Anywhere);
        assert!(part.is_in(b"jo@example.community") && !part.is_in(b"example.org"));
    }

    #[test]
    fn escaped_forms_of_json_are_found() {
        let name = TextMatch::new("Zoë/\"Z\"", Extent::Whole);
        for text in [r#"["Zoë/\"Z\""]"#, r#"["Zo\u00eb\/\"Z\""]"#, r#"["Zo\u00eb/\"Z\""]"#, "Zo%C3%AB%2F%22Z%22"] {
            assert!(name.is_in(text.as_bytes()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_searched(value in ".{3,8}", bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = TextMatch::new(&value, Extent::Whole).is_in(&bytes);
            let around = [&bytes[..], value.as_bytes(), &bytes[..]].concat();
            prop_assert!(TextMatch::new(&value, Extent::Anywhere).is_in(&around));
        }
    }
}
