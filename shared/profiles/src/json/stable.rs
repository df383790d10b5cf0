//! Writes JSON that does not change when a receiver parses it and prints it again: `body = "js-stable"`.
//!
//! Some receivers verify a signature of `JSON.stringify(req.body)` instead of the received bytes. For these receivers, bodies are
//! written as JavaScript prints them: without whitespace, members with array indices as names first, other members in the
//! producer's order, repeated names once, and strings and numbers in JavaScript's spelling. One pass over the tokens writes the
//! body; an object's members are ordered when the object ends.

use std::collections::HashMap;

use postrider_model::json::{Container, Scanner, Token};

use super::number::{self, Printer};
use super::{write_escape, write_inside};

/// Returns the same JSON as `printer` prints it.
pub(crate) fn stable(json: &str, printer: Printer) -> Vec<u8> {
    let mut writer = Writer { out: Vec::with_capacity(json.len()), members: Vec::new(), objects: Vec::new(), printer };
    for token in Scanner::new(json) {
        writer.write(token);
    }
    writer.out
}

/// The position of a written member in the output, and where its name ends.
struct JsonMember {
    start: usize,
    name_end: usize,
    end: usize,
}

struct Writer {
    out: Vec<u8>,
    /// The members of all open objects, innermost last.
    members: Vec<JsonMember>,
    /// The index in `members` of each open object's first member.
    objects: Vec<usize>,
    printer: Printer,
}

impl Writer {
    fn write(&mut self, token: Token<'_>) {
        if matches!(token, Token::Key(_) | Token::Close(Container::Object)) {
            self.end_member();
        }
        if !matches!(token, Token::Close(_)) {
            self.separate();
        }
        match token {
            Token::Open(Container::Array) => self.out.push(b'['),
            Token::Close(Container::Array) => self.out.push(b']'),
            Token::Open(Container::Object) => {
                self.out.push(b'{');
                self.objects.push(self.members.len());
            }
            Token::Close(Container::Object) => {
                let first = self.objects.pop().unwrap_or_default();
                put_in_order(&mut self.out, &self.members[first..]);
                self.members.truncate(first);
                self.out.push(b'}');
            }
            Token::Key(name) => {
                let start = self.out.len();
                write_text(&mut self.out, name);
                self.members.push(JsonMember { start, name_end: self.out.len(), end: start });
                self.out.push(b':');
            }
            Token::Text(text) => write_text(&mut self.out, text),
            Token::Number(number) => number::write(&mut self.out, number, self.printer),
            Token::Word(word) => self.out.extend_from_slice(word.as_bytes()),
        }
    }

    /// Sets the end of the innermost object's last member, if it has one.
    fn end_member(&mut self) {
        let first = self.objects.last().copied().unwrap_or_default();
        if let Some(member) = self.members[first..].last_mut() {
            member.end = self.out.len();
        }
    }

    /// Writes a comma unless the next member or element is the first.
    fn separate(&mut self) {
        if !matches!(self.out.last(), None | Some(b'{' | b'[' | b':')) {
            self.out.push(b',');
        }
    }
}

/// Orders the members at the end of `out` as JavaScript does (ECMAScript, section 10.1.11.1): array indices first, ascending. A
/// repeated name keeps its first position and its last value.
fn put_in_order(out: &mut Vec<u8>, members: &[JsonMember]) {
    let Some(first) = members.first() else { return };
    let mut places: HashMap<&[u8], usize> = HashMap::with_capacity(members.len());
    let mut order: Vec<(Option<u32>, &JsonMember)> = Vec::with_capacity(members.len());
    for member in members {
        let name = &out[member.start + 1..member.name_end - 1];
        match places.insert(name, order.len()) {
            Some(place) => {
                order[place].1 = member;
                places.insert(name, place);
            }
            None => order.push((array_index(name), member)),
        }
    }
    let is_ordered = order.len() == members.len() && order.is_sorted_by_key(|(index, _)| sort_key(*index));
    if is_ordered {
        return;
    }
    order.sort_by_key(|(index, _)| sort_key(*index));
    let parts: Vec<&[u8]> = order.iter().map(|(_, member)| &out[member.start..member.end]).collect();
    let ordered = parts.join(&b',');
    out.truncate(first.start);
    out.extend_from_slice(&ordered);
}

fn sort_key(index: Option<u32>) -> u64 {
    index.map_or(u64::MAX, u64::from)
}

/// Parses a name as an array index (ECMAScript, section 6.1.7): a whole number below 2^32 - 1 in its shortest spelling.
fn array_index(name: &[u8]) -> Option<u32> {
    let shortest = name == b"0" || !name.starts_with(b"0");
    if !shortest || !name.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(name).ok()?.parse().ok().filter(|index| *index != u32::MAX)
}

/// Writes a string as JavaScript prints it, with only the necessary escapes. A lone half of a surrogate pair remains an escape
/// (ECMAScript, section 25.5.2.3), because UTF-8 cannot encode it.
fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let (unit, length) = escaped_unit(&rest[at..]);
        rest = &rest[at + length..];
        let (second, second_length) = escaped_unit(rest);
        match char::decode_utf16([unit, second]).next() {
            Some(Ok(character)) => {
                if character.len_utf16() == 2 {
                    rest = &rest[second_length..];
                }
                write_inside(out, character.encode_utf8(&mut [0; 4]));
            }
            _ => write_escape(out, unit),
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

/// Returns the UTF-16 unit of the escape at the start of `text`, and the escape's length; zeros if there is no escape.
fn escaped_unit(text: &str) -> (u16, usize) {
    const REPLACEMENT: u16 = 0xfffd;
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'\\') {
        return (0, 0);
    }
    match bytes.get(1) {
        Some(b'u') => {
            let unit = text.get(2..6).and_then(|hex| u16::from_str_radix(hex, 16).ok());
            unit.map_or((REPLACEMENT, 2), |unit| (unit, 6))
        }
        Some(b'b') => (0x08, 2),
        Some(b'f') => (0x0c, 2),
        Some(b'n') => (0x0a, 2),
        Some(b'r') => (0x0d, 2),
        Some(b't') => (0x09, 2),
        Some(other) if other.is_ascii() => (u16::from(*other), 2),
        _ => (REPLACEMENT, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: &str) {
        assert_eq!(String::from_utf8(stable(json, Printer::JavaScript)).unwrap(), expected, "{json}");
        assert_eq!(String::from_utf8(stable(expected, Printer::JavaScript)).unwrap(), expected, "{json}: not stable");
    }

    #[test]
    fn whitespace_goes_and_the_producers_order_stays() {
        check(
            "{ \"z\" : [ 1 , [ ] , { } ] ,\n\t\"a\" : { \"y\" : null , \"b\" : true } }",
            r#"{"z":[1,[],{}],"a":{"y":null,"b":true}}"#,
        );
        check(" \"text\" ", r#""text""#);
        check("[]", "[]");
    }

    #[test]
    fn array_indices_come_first_and_ascending() {
        check(
            r#"{"b":1,"10":2,"9":{"2":1,"1":2},"01":3,"4294967295":4,"4294967294":5,"-1":6,"0":7}"#,
            r#"{"0":7,"9":{"1":2,"2":1},"10":2,"4294967294":5,"b":1,"01":3,"4294967295":4,"-1":6}"#,
        );
    }

    #[test]
    fn a_repeated_name_keeps_its_first_place_and_its_last_value() {
        check(r#"{"a":1,"b":2,"a":{"c":1,"c":[3]},"\u0061":{"d":4}}"#, r#"{"a":{"d":4},"b":2}"#);
        check(r#"[{"1":1,"0":{"x":[],"x":[{}]},"1":{}}]"#, r#"[{"0":{"x":[{}]},"1":{}}]"#);
    }

    #[test]
    fn strings_have_one_spelling() {
        check(
            r#""\u00e9 \/ \u0041 \" \\ \u001F \u0000 \b\f\n\r\t \u007f \u2028""#,
            "\"é / A \\\" \\\\ \\u001f \\u0000 \\b\\f\\n\\r\\t \u{7f} \u{2028}\"",
        );
        check(
            r#""\ud83d\ude00 \uD83D \ude00\ud83d x \ud83d\u0041 \ud83d\n \ud83d""#,
            r#""😀 \ud83d \ude00\ud83d x \ud83dA \ud83d\n \ud83d""#,
        );
        check(r#"{"\ud800":1,"\uD800":2,"\"":3}"#, r#"{"\ud800":2,"\"":3}"#);
    }

    proptest::proptest! {
        #[test]
        fn invalid_json_does_not_panic(text in "[\\[\\]{}\",:0-9a\\\\ué]{0,30}") {
            stable(&text, Printer::JavaScript);
            stable(&text, Printer::Python);
        }
    }
}
