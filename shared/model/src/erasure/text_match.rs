//! The search for a value in bytes that need not be JSON: answers of endpoints, headers, dead letters.

use std::borrow::Cow;

use super::Extent;

/// Finds a value in bytes: as it is, and escaped as in JSON, URLs and HTML.
#[derive(Clone)]
pub struct TextMatch {
    /// The value, and the value in HTML.
    forms: Vec<Vec<u8>>,
    extent: Extent,
}

impl TextMatch {
    pub(super) fn new(value: &str, extent: Extent) -> Self {
        let html = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let mut forms = vec![value.as_bytes().to_vec(), html.into_bytes()];
        forms.dedup();
        Self { forms, extent }
    }

    /// Whether the bytes hold the value: with [`Extent::Whole`] only where no letter, digit or other character of a longer name
    /// is next to it.
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        let text = json_decoded(bytes);
        // JSON may contain URLs. Percent signs in bytes that are not JSON may follow a backslash.
        let read = [Cow::Borrowed(bytes), percent_decoded(bytes), percent_decoded(&text), Cow::Borrowed(&*text)];
        let is_new = |(index, read): &(usize, &Cow<'_, [u8]>)| *index == 0 || **read != bytes;
        read.iter().enumerate().filter(is_new).any(|(_, read)| self.forms.iter().any(|form| self.has_form(read, form)))
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

/// The bytes with the escapes of JSON strings decoded. What is no escape stays as it is. The bytes need not be JSON, and may end
/// within a string.
fn json_decoded(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.contains(&b'\\') {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        let (decoded, used) = match (first, after.first()) {
            (b'\\', Some(b'u')) => unicode_escape(rest).unwrap_or(('\\', 1)),
            (b'\\', Some(quoted @ (b'"' | b'\\' | b'/'))) => (char::from(*quoted), 2),
            (b'\\', Some(b'n')) => ('\n', 2),
            (b'\\', Some(b'r')) => ('\r', 2),
            (b'\\', Some(b't')) => ('\t', 2),
            (b'\\', Some(b'b')) => ('\u{8}', 2),
            (b'\\', Some(b'f')) => ('\u{c}', 2),
            _ => {
                out.push(*first);
                rest = after;
                continue;
            }
        };
        out.extend_from_slice(decoded.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &rest[used..];
    }
    Cow::Owned(out)
}

/// The character at the beginning of the bytes that is written as `\uXXXX`, or as two of them, and the length of the escape.
fn unicode_escape(bytes: &[u8]) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0_u16, |unit, digit| Some(unit << 4 | u16::from(hex(*digit)?)))
    };
    let first = unit(0)?;
    if let Some(character) = char::from_u32(first.into()) {
        return Some((character, 6));
    }
    char::decode_utf16([first, unit(6)?]).next()?.ok().map(|character| (character, 12))
}

/// The bytes with every `%XX` decoded.
fn percent_decoded(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.contains(&b'%') {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        rest = after;
        let digits = if let (b'%', [high, low, ..]) = (first, after) { hex(*high).zip(hex(*low)) } else { None };
        match digits {
            Some((high, low)) => {
                out.push(high << 4 | low);
                rest = &after[2..];
            }
            None => out.push(*first),
        }
    }
    Cow::Owned(out)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
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

    #[test]
    fn any_character_may_be_escaped_with_hex_digits_of_any_case() {
        let email = TextMatch::new("jo+a&b@example.com", Extent::Whole);
        for text in [
            r#"{"error":"no user jo\u002Ba\u0026b@example.com"}"#,
            r#"{"error":"no user jo\u002ba\u0026b\u0040example.com", "cut":"\u00"#,
            "jo%2Ba%26b%40example.com",
            "jo%2ba%26b%40example.com",
            r#"{"url":"https:\/\/x\/?to=jo%2ba%26b%40example.com"}"#,
            r"C:\jo%2Ba%26b%40example.com",
            "jo+a&amp;b@example.com",
        ] {
            assert!(email.is_in(text.as_bytes()), "{text}");
        }
        for text in [r"bo\u006Ao\u002Ba\u0026b@example.com", r"\uD83Djo\u002", "jo%2", "%", "\\"] {
            assert!(!email.is_in(text.as_bytes()), "{text}");
        }
        let smile = TextMatch::new("jo😀", Extent::Whole);
        assert!(smile.is_in(br#"["jo\uD83D\uDE00"]"#) && smile.is_in(br#"["jo\ud83d\ude00"]"#));
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
