//! The canonical spelling of JSON, for hashing only.

use std::borrow::Cow;

/// Returns the canonical spelling of `json`, which must be valid and nested no deeper than an event may be. Equal values have
/// the same spelling, and different values have different spellings. Members are sorted by name. Members with equal names
/// remain in their order.
pub(super) fn canonical(json: &str) -> Vec<u8> {
    let mut reader = Reader { json: json.as_bytes(), at: 0 };
    let mut out = Vec::with_capacity(json.len() + 16);
    reader.value(&mut out);
    out
}

struct Reader<'a> {
    json: &'a [u8],
    at: usize,
}

/// The position of a member of an object in the output.
struct JsonMember {
    begin: usize,
    name_end: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    /// Skips whitespace and separators, and returns the next byte without consuming it.
    fn next_byte(&mut self) -> Option<u8> {
        let separates = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':');
        let rest = self.json.get(self.at..).unwrap_or_default();
        self.at += rest.iter().take_while(|byte| separates(byte)).count();
        self.json.get(self.at).copied()
    }

    fn value(&mut self, out: &mut Vec<u8>) {
        match self.next_byte() {
            Some(b'{') => self.object(out),
            Some(b'[') => self.array(out),
            Some(b'"') => string(self.string(), out),
            Some(b'-' | b'0'..=b'9') => number(self.scalar(), out),
            Some(_) => out.extend_from_slice(self.scalar()),
            None => {}
        }
    }

    fn array(&mut self, out: &mut Vec<u8>) {
        self.at += 1;
        out.push(b'[');
        while !matches!(self.next_byte(), None | Some(b']')) {
            self.value(out);
            out.push(b',');
        }
        self.at += 1;
        out.push(b']');
    }

    fn object(&mut self, out: &mut Vec<u8>) {
        self.at += 1;
        out.push(b'{');
        let start = out.len();
        let mut members = Vec::new();
        while !matches!(self.next_byte(), None | Some(b'}')) {
            let begin = out.len();
            self.value(out);
            let name_end = out.len();
            self.value(out);
            out.push(b',');
            members.push(JsonMember { begin, name_end, end: out.len() });
        }
        self.at += 1;
        sort(out, start, &mut members);
        out.push(b'}');
    }

    /// Consumes a string with its quotes.
    fn string(&mut self) -> &'a [u8] {
        let (start, json) = (self.at, self.json);
        self.at += 1;
        while json.get(self.at).is_some_and(|byte| *byte != b'"') {
            self.at += if json[self.at] == b'\\' { 2 } else { 1 };
        }
        self.at = (self.at + 1).min(json.len());
        &json[start..self.at]
    }

    /// Consumes a number, `true`, `false` or `null`.
    fn scalar(&mut self) -> &'a [u8] {
        let (start, json) = (self.at, self.json);
        let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
        // Consumes at least one byte, so that the reader always advances.
        self.at += json[start..].iter().take_while(|byte| !ends(byte)).count().max(1);
        &json[start..self.at.min(json.len())]
    }
}

/// Sorts the members by name. `start` is the position of the first member.
fn sort(out: &mut Vec<u8>, start: usize, members: &mut [JsonMember]) {
    let name = |member: &JsonMember| &out[member.begin..member.name_end];
    if members.is_sorted_by_key(name) {
        return;
    }
    members.sort_by(|one, other| name(one).cmp(name(other)));
    let mut sorted = Vec::with_capacity(out.len() - start);
    members.iter().for_each(|member| sorted.extend_from_slice(&out[member.begin..member.end]));
    out.truncate(start);
    out.append(&mut sorted);
}

/// Writes a string as its number of bytes and its characters without escapes. A string with an escaped half of a surrogate pair
/// cannot be written without escapes. Such a string is written unchanged, with a different mark.
fn string(quoted: &[u8], out: &mut Vec<u8>) {
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    let (mark, text) = match inner.contains(&b'\\') {
        false => (b'"', Cow::Borrowed(inner)),
        true => match serde_json::from_slice::<String>(quoted) {
            Ok(text) => (b'"', Cow::Owned(text.into_bytes())),
            Err(_) => (b'\'', Cow::Borrowed(inner)),
        },
    };
    out.push(mark);
    out.extend_from_slice(text.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(&text);
}

/// Writes a number by its exact value: its significant digits and the power of ten. A number whose exponent does not fit in 64
/// bits is written unchanged.
fn number(text: &[u8], out: &mut Vec<u8>) {
    let written = String::from_utf8_lossy(text);
    let (sign, unsigned) = written.strip_prefix('-').map_or(("", &*written), |rest| ("-", rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    let trailing = digits.len() - digits.trim_end_matches('0').len();
    let power = |exponent: i64| {
        exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?.checked_add(i64::try_from(trailing).ok()?)
    };
    match exponent.parse().ok().and_then(power) {
        _ if significant.is_empty() => out.push(b'0'),
        Some(power) => out.extend_from_slice(format!("{sign}{significant}e{power}").as_bytes()),
        None => {
            out.push(b'#');
            out.extend_from_slice(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[track_caller]
    fn same(one: &str, other: &str) {
        assert_eq!(canonical(one).escape_ascii().to_string(), canonical(other).escape_ascii().to_string());
    }

    #[track_caller]
    fn different(one: &str, other: &str) {
        assert_ne!(canonical(one), canonical(other), "{one} {other}");
    }

    #[test]
    fn spelling_makes_no_difference() {
        same(r#" { "a" : [ 1 , true , null ] } "#, r#"{"a":[1,true,null]}"#);
        same(r#"{"a":1,"b":{"d":[],"c":{}}}"#, r#"{"b":{"c":{},"d":[]},"a":1}"#);
        same(r#"{"\u0061":"\/\n\u00e9\ud83d\ude00"}"#, "{\"a\":\"/\\u000aé😀\"}");
        for one in ["1", "1.0", "1.000e0", "10e-1", "0.1E+1", "100E-2"] {
            same("1", one);
        }
        for zero in ["0", "-0", "0.0", "0e5", "-0.0E-99999999999999999999"] {
            same("0", zero);
        }
        same("-120", "-1.2e2");
        same("12345678901234567890123", "1.2345678901234567890123e22");
    }

    #[test]
    fn values_that_differ_have_different_spellings() {
        different("12345678901234567890123", "12345678901234567890124");
        different("0.1", "0.10000000000000001");
        different("1", "-1");
        different("1", "\"1\"");
        different("1e99999999999999999999", "1e99999999999999999998");
        different("null", "\"null\"");
        different("[1,2]", "[2,1]");
        different("[12]", "[1,2]");
        different("[[1],2]", "[[1,2]]");
        different("[]", "{}");
        different("[{}]", "[{},{}]");
        different(r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#);
        different(r#"{"a":"b"}"#, r#"{"b":"a"}"#);
        different(r#"["a","b"]"#, r#"["a,b"]"#);
        different(r#"["\ud800"]"#, r#"["\ud801"]"#);
        different(r#"["\ud800"]"#, r#"["\\ud800"]"#);
    }

    #[test]
    fn the_deepest_and_the_widest_event_has_one_in_no_time() {
        let names: Vec<String> = (0..30_000).rev().map(|n| format!("\"{n:x}\":1")).collect();
        let wide = format!("{{{}}}", names.join(","));
        let deep = format!("{}{wide}{}", "{\"b\":1,\"a\":".repeat(63), "}".repeat(63));
        assert!(canonical(&deep).len() < 4 * deep.len());
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            ".{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let members = prop::collection::btree_map("[\"a\\\\]{0,2}", inner.clone(), 0..4);
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(Value::from),
                members.prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn equal_values_and_no_others_have_the_same_spelling(one in json(), other in json()) {
            let (pretty, compact) = (serde_json::to_string_pretty(&one).unwrap(), one.to_string());
            prop_assert_eq!(canonical(&pretty), canonical(&compact));
            prop_assert_eq!(canonical(&compact) == canonical(&other.to_string()), one == other);
        }

        #[test]
        fn every_text_comes_to_an_end(text in "[\\[\\]{}:,\"\\\\0-9eE.\\- a]{0,60}") {
            canonical(&text);
        }
    }
}
