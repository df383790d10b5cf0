//! JSON Schemas of event types: which ones are taken, and what is wrong with data that does not fit one.
//!
//! A schema is a stranger's program that runs on every event, so that it is taken only where its cost has a bound.
//!
//! # What it promises
//! - Checking never leaves the process: a schema refers to nothing outside itself.
//! - Checking ends, in a time that grows with the data and no faster: references form no circle, the subschemas that they
//!   unfold into are counted (`EVENT_SCHEMA_CHECKS_MAX`, `EVENT_SCHEMA_DEPTH_MAX`), and patterns are regular expressions of
//!   the linear kind, without look-around and back-references.
//! - A mistake says where it is and shows nothing of the data but names of members.
//!
//! # What it does not
//! It keeps no schemas and knows no tenants.

mod unfold;

use jsonschema::{PatternOptions, Validator};
use postrider_model::event::json_depth;
use postrider_model::limits::{
    EVENT_SCHEMA_BYTES_MAX, EVENT_SCHEMA_ERRORS_MAX, EVENT_SCHEMA_PATTERN_BYTES_MAX, JSON_DEPTH_MAX,
};
use serde_json::Value;

/// The dialects that `$schema` can name; absent, it is the last.
const DIALECTS: [&str; 5] = [
    "http://json-schema.org/draft-04/schema",
    "http://json-schema.org/draft-06/schema",
    "http://json-schema.org/draft-07/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
];
/// Values of the data times checks of the schema up to which each mistake is looked for. Beyond, looking for all of them
/// could take more memory than there is.
const SEARCH_MAX: usize = 100_000;
/// Most bytes of what is said about one mistake.
const DETAIL_BYTES_MAX: usize = 300;

/// Something that is wrong, in a schema or in data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where: a JSON pointer into the schema or the data; empty: all of it.
    pub pointer: String,
    /// What is wrong, and what is allowed.
    pub detail: String,
}

impl Mistake {
    fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

/// The schema of an event type's `data`, ready to check with.
#[derive(Debug)]
pub struct EventSchema {
    validator: Validator,
    checks: usize,
}

impl EventSchema {
    /// Reads a schema of one of the drafts 4, 6, 7, 2019-09 and 2020-12.
    ///
    /// # Errors
    /// The first mistake, with a pointer into the schema.
    pub fn read(text: &str) -> Result<Self, Mistake> {
        if text.len() > EVENT_SCHEMA_BYTES_MAX {
            return Err(Mistake::new("", format!("at most {EVENT_SCHEMA_BYTES_MAX} bytes, got {}", text.len())));
        }
        if json_depth(text) > JSON_DEPTH_MAX {
            return Err(Mistake::new("", format!("nested deeper than {JSON_DEPTH_MAX} levels")));
        }
        let schema: Value = serde_json::from_str(text).map_err(|error| Mistake::new("", error.to_string()))?;
        if !(schema.is_object() || schema.is_boolean()) {
            return Err(Mistake::new("", "a schema is an object, true or false"));
        }
        check_dialect(&schema)?;
        jsonschema::meta::validate(&schema).map_err(|error| mistake(&error))?;
        let checks = unfold::count(&schema)?;
        let patterns = PatternOptions::regex()
            .size_limit(EVENT_SCHEMA_PATTERN_BYTES_MAX)
            .dfa_size_limit(EVENT_SCHEMA_PATTERN_BYTES_MAX);
        let options = jsonschema::options().offline().with_pattern_options(patterns);
        let validator = options.build(&schema).map_err(|error| mistake(&error))?;
        Ok(Self { validator, checks })
    }

    /// Checks `data`, as its producer wrote it.
    ///
    /// # Errors
    /// What is wrong with it, at most [`EVENT_SCHEMA_ERRORS_MAX`] mistakes, each with a pointer into the data. Of data that is
    /// too large for a search only that it does not fit.
    pub fn check(&self, data: &str) -> Result<(), Vec<Mistake>> {
        let tree: Value = serde_json::from_str(data)
            .map_err(|error| vec![Mistake::new("", format!("cannot be checked by the type's schema: {error}"))])?;
        if self.validator.is_valid(&tree) {
            return Ok(());
        }
        if values(&tree).saturating_mul(self.checks) > SEARCH_MAX {
            let detail = "does not fit the type's schema; the data is too large for saying where";
            return Err(vec![Mistake::new("", detail)]);
        }
        Err(self.validator.iter_errors(&tree).take(EVENT_SCHEMA_ERRORS_MAX).map(|error| mistake(&error)).collect())
    }
}

fn check_dialect(schema: &Value) -> Result<(), Mistake> {
    let known = match schema.get("$schema") {
        None => true,
        Some(Value::String(name)) => DIALECTS.contains(&name.strip_suffix('#').unwrap_or(name)),
        Some(_) => false,
    };
    let detail = || format!("not a dialect that is known here; there are: {}", DIALECTS.join(", "));
    if known { Ok(()) } else { Err(Mistake::new("/$schema", detail())) }
}

/// A validator's own words, without the value that they are about.
fn mistake(error: &jsonschema::ValidationError<'_>) -> Mistake {
    let mut detail = error.masked().to_string();
    if detail.len() > DETAIL_BYTES_MAX {
        let end = (0..=DETAIL_BYTES_MAX).rev().find(|end| detail.is_char_boundary(*end));
        detail.truncate(end.unwrap_or_default());
        detail.push('…');
    }
    Mistake::new(error.instance_path().as_str(), detail)
}

/// How many values there are, itself included.
fn values(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(values).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(values).sum::<usize>(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests;
