//! Rewrites the errors of the JSON reader for the people who wrote the JSON.
//!
//! serde and serde_json have a fixed set of messages, in terms of Rust ("expected u8", "expected struct Sample"). Any other
//! message comes from a type of Postrider and is not changed.

/// Rewrites an error about valid JSON with an unexpected value.
pub(super) fn of_data(message: &str) -> String {
    let typed = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    if let Some((got, expected)) = typed.and_then(|rest| rest.rsplit_once(", expected ")) {
        return format!("expected {}, got {}", expected_in_words(expected), got_in_words(got));
    }
    let length = message.strip_prefix("invalid length ").and_then(|rest| rest.split_once(", expected "));
    if let Some((length, expected)) = length {
        return format!("expected {}, got {length} members", expected_in_words(expected));
    }
    match message.strip_prefix("unknown variant ") {
        Some(rest) => format!("unknown value {rest}"),
        None => message.to_owned(),
    }
}

/// Rewrites serde_json's message about a text that is not JSON.
pub(super) fn of_syntax(message: &str) -> &str {
    match message {
        "EOF while parsing a value" => "it ends where a value is expected",
        "EOF while parsing a string" => "it ends in the middle of a string",
        "EOF while parsing an object" => "it ends in the middle of an object",
        "EOF while parsing a list" => "it ends in the middle of an array",
        "expected value" => "a value is expected",
        "expected ident" => "true, false or null is expected",
        "trailing characters" => "more text follows the value",
        "trailing comma" => "a comma without a member after it",
        "key must be a string" => "a member's name must be a string in double quotes",
        "recursion limit exceeded" => "it is nested too deeply",
        "lone leading surrogate in hex escape" | "unexpected end of hex escape" => "an incomplete \\u escape",
        _ if message.starts_with("control character") => "a control character in a string; it must be escaped",
        other => other,
    }
}

fn expected_in_words(expected: &str) -> String {
    let whole = |max: u64| format!("a whole number from 0 to {max}");
    match expected {
        "a borrowed string" | "a string" | "a character" | "string or map" => "a string".into(),
        "a map" => "an object".into(),
        "a sequence" => "an array".into(),
        "a boolean" => "true or false".into(),
        "any valid JSON value" => "a value".into(),
        "unit" => "null".into(),
        "u8" => whole(u8::MAX.into()),
        "u16" => whole(u16::MAX.into()),
        "u32" => whole(u32::MAX.into()),
        "u64" | "usize" => "a whole number, 0 or more".into(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        other if other.starts_with("struct ") => "an object".into(),
        other if other.starts_with("enum ") => "a string".into(),
        other if other.starts_with("variant ") => "a string".into(),
        other if other.starts_with("a tuple of size ") || other.starts_with("tuple struct ") => "an array".into(),
        other => other.into(),
    }
}

fn got_in_words(got: &str) -> String {
    match got {
        "map" => "an object".into(),
        "sequence" => "an array".into(),
        "unit value" | "Option value" => "null".into(),
        other => {
            // From `integer `7``, `floating point `1.5`` and `boolean `true``, only the value between the inner quotes is kept.
            let quoted = other.split_once('`').and_then(|(_, rest)| rest.strip_suffix('`'));
            match quoted {
                Some(value) => value.into(),
                None if other.starts_with("string ") => format!("the {other}"),
                None => other.into(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, words: &str) {
        assert_eq!(of_data(message), words);
    }

    #[test]
    fn no_message_speaks_of_rust() {
        check("invalid type: sequence, expected an object", "expected an object, got an array");
        check("invalid type: map, expected a string", "expected a string, got an object");
        check("invalid type: null, expected struct Sample", "expected an object, got null");
        check(
            "invalid type: string \"x, expected y\", expected u16",
            "expected a whole number from 0 to 65535, got the string \"x, expected y\"",
        );
        check("invalid value: integer `300`, expected u8", "expected a whole number from 0 to 255, got 300");
        check("invalid type: floating point `1.5`, expected i64", "expected a whole number, got 1.5");
        check("invalid type: boolean `true`, expected a sequence", "expected an array, got true");
        check("invalid length 1, expected struct CreateEndpoint with 18 elements", "expected an object, got 1 members");
        check("invalid length 3, expected a tuple of size 2", "expected an array, got 3 members");
        check(
            "unknown variant `own`, expected one of `publish`, `read`",
            "unknown value `own`, expected one of `publish`, `read`",
        );
        check("unknown field `x`, expected `a` or `b`", "unknown field `x`, expected `a` or `b`");
        assert_eq!(of_syntax("EOF while parsing a list"), "it ends in the middle of an array");
        assert_eq!(of_syntax("invalid number"), "invalid number");
    }
}
