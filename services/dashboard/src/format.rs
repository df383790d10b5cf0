//! Formats numbers, names and JSON for people.

use axum::http::StatusCode;
use postrider_model::time::UnixMillis;

use crate::language::{key, t, text};

/// An example whose translation says how a language writes numbers: the mark between groups of three digits, and the mark before
/// decimal places.
const EXAMPLE: &str = key!("1,234.5");

/// The marks of the page's language, see [`EXAMPLE`].
fn marks() -> (String, String) {
    let example = text(EXAMPLE);
    let marks = || {
        let (_, rest) = example.split_once('1')?;
        let (group, rest) = rest.split_once("234")?;
        let (decimal, _) = rest.split_once('5')?;
        Some((group.to_owned(), decimal.to_owned()))
    };
    marks().unwrap_or_else(|| (",".to_owned(), ".".to_owned()))
}

/// A number with this many decimal places, with the decimal mark of the page's language.
pub(crate) fn decimal(number: f64, places: usize) -> String {
    with_mark(&format!("{number:.places$}"))
}

/// A number that Rust has formatted, with the decimal mark of the page's language.
pub(crate) fn with_mark(number: &str) -> String {
    number.replace('.', &marks().1)
}

/// A status code with its reason phrase: `503 Service Unavailable`.
pub(crate) fn status_line(code: u16) -> String {
    let reason = StatusCode::from_u16(code).ok().and_then(|code| code.canonical_reason());
    reason.map_or_else(|| code.to_string(), |reason| format!("{code} {reason}"))
}

/// A duration in milliseconds, in the unit that suits its length.
pub(crate) fn duration(ms: f64) -> String {
    match ms {
        ms if ms < 0.05 => "0 ms".to_owned(),
        ms if ms < 10.0 => format!("{} ms", decimal(ms, 1)),
        ms if ms < 1_000.0 => format!("{ms:.0} ms"),
        ms if ms < 60_000.0 => format!("{} s", decimal(ms / 1_000.0, 1)),
        ms if ms < 5_400_000.0 => format!("{:.0} min", ms / 60_000.0),
        ms if ms < 172_800_000.0 => format!("{} h", decimal(ms / 3_600_000.0, 1)),
        ms => t!("{number} days", number = format!("{:.0}", ms / 86_400_000.0)).into_owned(),
    }
}

/// A number of bytes, in the unit that suits its size.
pub(crate) fn bytes(number: usize) -> String {
    match number {
        0..1_024 => t!("{number} bytes", number = number).into_owned(),
        1_024..1_048_576 => format!("{} KiB", decimal(number as f64 / 1_024.0, 1)),
        _ => format!("{} MiB", decimal(number as f64 / 1_048_576.0, 1)),
    }
}

/// A count with marks between groups of three digits.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    if digits.len() <= 3 {
        return digits;
    }
    let (group, _) = marks();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push_str(&group);
        }
        text.push(digit);
    }
    text
}

/// The text with a capital letter at its start.
pub(crate) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters.clone()).collect()
}

/// A count with its noun: "1 delivery", "2 deliveries".
pub(crate) fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A share from 0 to 1 in percent. It is rounded down, so that only a share of 1 is shown as 100 %.
pub(crate) fn percent(share: Option<f64>) -> String {
    match share {
        None => "–".to_owned(),
        Some(share) if share >= 1.0 => "100 %".to_owned(),
        Some(share) if share > 0.999 => format!("{} %", decimal((share * 10_000.0).floor() / 100.0, 2)),
        Some(share) => format!("{} %", decimal((share * 1_000.0).floor() / 10.0, 1)),
    }
}

/// A delay of a retry schedule, such as `30s`, `1m`, `2h` or `1d`.
fn seconds(seconds: u32) -> String {
    match seconds {
        s if s >= 86_400 && s.is_multiple_of(86_400) => format!("{}d", s / 86_400),
        s if s >= 3_600 && s.is_multiple_of(3_600) => format!("{}h", s / 3_600),
        s if s >= 60 && s.is_multiple_of(60) => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// A retry schedule in the format of the form's field.
pub(crate) fn schedule(all: &[u32]) -> String {
    if all.is_empty() { "none".to_owned() } else { all.iter().map(|s| seconds(*s)).collect::<Vec<_>>().join(", ") }
}

/// The label of an attribute: `Sending domain` for `sending_domain`.
pub(crate) fn attribute(name: &str) -> String {
    match name {
        "dedicated_ip" => return t!("Dedicated IP").into_owned(),
        "sending_domain" => return t!("Sending domain").into_owned(),
        _ => {}
    }
    let mut words = name.replace('_', " ");
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    words
}

/// Encodes a text for use as one segment of a path, or as a value in a query.
pub(crate) fn path_segment(text: &str) -> String {
    // The encoding of forms writes a space as `+`, which in a path would mean a plus sign.
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// Indents JSON. The tokens remain exactly as they are in `text`.
pub(crate) fn pretty_json(text: &str) -> String {
    let (mut out, mut depth, mut in_string, mut escaped) =
        (String::with_capacity(text.len() * 2), 0_usize, false, false);
    let mut chars = text.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        (0..depth).for_each(|_| out.push_str("  "));
    };
    while let Some(c) = chars.next() {
        if in_string {
            out.push(c);
            (in_string, escaped) = (escaped || c != '"', !escaped && c == '\\');
            continue;
        }
        match c {
            '"' => {
                in_string = true;
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                if let Some(close) = chars.next_if(|c| matches!(c, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

/// Converts the value of a `datetime-local` field, which is in UTC, to RFC 3339. A text in RFC 3339 is returned unchanged.
pub(crate) fn utc(text: &str) -> String {
    match text.len() {
        0 => String::new(),
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        _ => text.to_owned(),
    }
}

/// Converts a time in RFC 3339 to the value of a `datetime-local` field, which is in UTC. Such a value, and text that is not a
/// time, is returned unchanged.
pub(crate) fn local(text: &str) -> String {
    let minute = |at: UnixMillis| at.to_rfc3339_seconds().chars().take("2026-01-02T03:04".len()).collect();
    utc(text).parse().map_or_else(|_| text.to_owned(), minute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_rounded_down_and_grouped() {
        assert_eq!(percent(Some(0.999_96)), "99.99 %");
        assert_eq!(percent(Some(0.9555)), "95.5 %");
        assert_eq!(percent(Some(1.0)), "100 %");
        assert_eq!(percent(None), "–");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(100), "100");
        assert_eq!(duration(1_530.0), "1.5 s");
        assert_eq!(duration(7_200_000.0), "2.0 h");
        assert_eq!(schedule(&[1, 60, 3_600, 86_400, 90]), "1s, 1m, 1h, 1d, 90s");
        assert_eq!(schedule(&[]), "none");
        assert_eq!(attribute("dedicated_ip"), "Dedicated IP");
        assert_eq!(attribute("sending_node"), "Sending node");
    }

    #[test]
    fn a_time_field_shows_the_utc_minute_of_any_rfc3339_time() {
        let check = |text: &str, expected: &str| assert_eq!(local(text), expected, "{text}");
        check("2026-11-30T10:00:00+02:00", "2026-11-30T08:00");
        check("2026-11-30T23:59:59.999-01:00", "2026-12-01T00:59");
        check("2026-11-30T10:00:00Z", "2026-11-30T10:00");
        check("2026-11-30T10:00", "2026-11-30T10:00");
        check("", "");
        check("soon", "soon");
    }

    #[test]
    fn json_is_indented_and_its_tokens_stay() {
        let text = r#"{"b":1.50,"a":[1,{"x":"a,{\"}:"}],"e":{ },"f":[]}"#;
        let pretty = "{\n  \"b\": 1.50,\n  \"a\": [\n    1,\n    {\n      \"x\": \"a,{\\\"}:\"\n    }\n  ],\n  \"e\": {},\n  \"f\": []\n}";
        assert_eq!(pretty_json(text), pretty);
        assert_eq!(pretty_json("7"), "7");
        assert_eq!(pretty_json(r#""\\""#), r#""\\""#);
    }
}
