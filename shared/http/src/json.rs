//! The strict reader of JSON bodies, with errors that name the field.

mod strict;
mod words;

use postrider_model::json::pointer_token;
use serde::Deserialize;

use crate::problem::{FieldError, Problem};

/// Why a JSON text was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text is not JSON.
    #[error("{0}")]
    Syntax(String),
    /// A field is unknown, missing or of a wrong type.
    #[error("{}: {}", .0.pointer, .0.detail)]
    Field(FieldError),
}

impl From<JsonError> for Problem {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::Syntax(detail) => Self::bad_request(detail),
            JsonError::Field(error) => Self::unprocessable(vec![error]),
        }
    }
}

/// Reads JSON strictly: refuses unknown members, and refuses an array where an object is expected.
///
/// Reads a valid text once. Only an invalid text is read again, to find the field.
///
/// # Errors
/// The position of the mistake, and what is allowed there.
pub fn read<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, JsonError> {
    strict::from_slice(json).map_err(|error| explain::<T>(json, &error))
}

/// Reads the JSON body of a request like [`read`].
///
/// # Errors
/// 400 with line and column if the body is not JSON; 422 with a pointer if a field is unknown, missing or of a wrong type.
pub fn read_json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    Ok(read(body)?)
}

/// Rewrites serde's message about a value of a wrong type in the terms of JSON.
pub fn value_error(message: &str) -> String {
    words::of_data(message)
}

/// Returns why a text is not JSON, with the position of the mistake.
pub fn syntax_error(error: &serde_json::Error) -> String {
    let text = without_place(error);
    format!("{} (line {} column {})", words::of_syntax(&text), error.line(), error.column())
}

/// Converts an error of reading into an error that names the field or the position.
fn explain<'a, T: Deserialize<'a>>(json: &'a [u8], error: &serde_json::Error) -> JsonError {
    let place = |error: &serde_json::Error| format!("line {} column {}", error.line(), error.column());
    if json.is_empty() {
        return JsonError::Syntax("expected a JSON body, got none".to_owned());
    }
    if !error.is_data() {
        return JsonError::Syntax(format!("the body is not valid JSON: {}", syntax_error(error)));
    }
    let mut reader = serde_json::Deserializer::from_slice(json);
    match serde_path_to_error::deserialize::<_, T>(strict::Strict(&mut reader)) {
        Err(failed) => {
            let message = without_place(failed.inner());
            let mut pointer = pointer_of(failed.path());
            // An unknown or missing field is reported at its object. This points at the field itself.
            if let Some(field) = field_in(&message).map(|field| format!("/{}", pointer_token(field)))
                && !pointer.ends_with(&field)
            {
                pointer.push_str(&field);
            }
            let at = place(failed.inner());
            JsonError::Field(FieldError::new(pointer, format!("{} ({at})", words::of_data(&message))))
        }
        // Unreachable, because parsing the same input has just failed.
        Ok(_) => JsonError::Syntax(format!("{} ({})", words::of_data(&without_place(error)), place(error))),
    }
}

/// Removes the position from the end of serde_json's message. Postrider's message has the position at the end of the whole
/// sentence.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

/// Returns the field that a message of serde names: "unknown field `x`, expected …" or "missing field `x`".
fn field_in(message: &str) -> Option<&str> {
    let rest = ["unknown field `", "missing field `", "duplicate field `"]
        .iter()
        .find_map(|start| message.strip_prefix(start))?;
    rest.split('`').next()
}

/// Converts a path of `serde_path_to_error` into a JSON pointer.
fn pointer_of(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => format!("{pointer}/{index}"),
        Segment::Map { key } => format!("{pointer}/{}", pointer_token(key)),
        Segment::Enum { variant } => format!("{pointer}/{}", pointer_token(variant)),
        Segment::Unknown => pointer,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(default)]
        count: u8,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Outer<'a> {
        name: &'a str,
        #[serde(default)]
        items: Vec<Inner>,
    }

    #[track_caller]
    fn check(json: &str, status: u16, pointer: Option<&str>, words: &str) {
        let problem = read_json::<Outer<'_>>(json.as_bytes()).expect_err(json);
        assert_eq!(problem.status, status, "{json}: {problem}");
        assert_eq!(problem.errors.first().map(|error| error.pointer.as_str()), pointer, "{json}: {problem}");
        assert!(problem.detail.contains(words), "{json}: {:?} lacks {words:?}", problem.detail);
    }

    #[test]
    fn a_bad_body_names_the_field_and_the_place() {
        assert_eq!(read_json::<Outer<'_>>(br#"{"name":"x"}"#).unwrap(), Outer { name: "x", items: vec![] });
        check("", 400, None, "expected a JSON body");
        check(r#"{"name": "#, 400, None, "line 1 column 9");
        check("nonsense", 400, None, "not valid JSON");
        check("{}", 422, Some("/name"), "missing field `name`");
        check(r#"{"name":"x","colour":1}"#, 422, Some("/colour"), "unknown field `colour`");
        check(r#"{"name":7}"#, 422, Some("/name"), "expected a string, got 7");
        check("{\"name\":\"x\",\n\"items\":[{},{\"count\":300}]}", 422, Some("/items/1/count"), "line 2");
        check(r#"{"name":"x","items":[{"a/b":1}]}"#, 422, Some("/items/0/a~1b"), "unknown field");
        check(r#"{"name":"x"} {}"#, 400, None, "more text follows the value");
        check("[]", 422, Some(""), "expected an object, got an array");
        check(r#"["x"]"#, 422, Some(""), "expected an object, got an array");
        check(r#"{"name":"x","items":[[3]]}"#, 422, Some("/items/0"), "expected an object, got an array");
    }
}
