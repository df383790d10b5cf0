//! JSON Schemas of event types: decides which schemas are accepted, and describes the mistakes of data that does not match a
//! schema.
//!
//! A customer supplies a schema, and it is evaluated for every event. A schema is accepted only if its cost is limited.
//!
//! # What it promises
//! - A check uses nothing outside of the process, because a schema can only refer to itself.
//! - The cost of a check is known before the check begins. References form no cycle. The subschemas into which they unfold are
//!   counted (`EVENT_SCHEMA_CHECKS_MAX`, `EVENT_SCHEMA_DEPTH_MAX`) and weighed in steps (`cost.rs`). Patterns are linear-time
//!   regular expressions, without look-around and back-references. Data whose check may exceed `EVENT_SCHEMA_STEPS_MAX` steps
//!   is refused without a check, because a running check cannot be stopped.
//! - Every mistake has a pointer. A mistake contains nothing of the data except names of members.
//!
//! # What it does not do
//! It stores no schemas and does not depend on tenants.

mod cost;
mod unfold;

use jsonschema::{PatternOptions, Validator};
use postrider_model::json;
use postrider_model::limits::{
    EVENT_SCHEMA_BYTES_MAX, EVENT_SCHEMA_ERRORS_MAX, EVENT_SCHEMA_PATTERN_BYTES_MAX, EVENT_SCHEMA_STEPS_MAX,
    JSON_DEPTH_MAX,
};
use serde_json::Value;

use crate::cost::{Size, Sizes};
use crate::unfold::Unfolded;

/// The dialects that `$schema` may name. The last one is the default.
const DIALECTS: [&str; 5] = [
    "http://json-schema.org/draft-04/schema",
    "http://json-schema.org/draft-06/schema",
    "http://json-schema.org/draft-07/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
];
/// Maximum product of the number of the data's values and the number of the schema's checks for which every mistake is listed.
/// Above it, the list could need too much memory.
const SEARCH_MAX: u64 = 100_000;
/// Maximum number of steps of a check for which every mistake is listed, because listing mistakes repeats checks.
const SEARCH_STEPS_MAX: u64 = 1_000_000;
/// Approximate bytes of memory for a schema, for each of its checks, and for each of its patterns.
const MEMORY_BYTES: usize = 16 * 1024;
const CHECK_BYTES: usize = 512;
const PATTERN_BYTES: usize = 64 * 1024;
/// Maximum number of bytes of a mistake's description.
const DETAIL_BYTES_MAX: usize = 300;

/// A mistake in a schema or in data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// A JSON pointer into the schema or the data. The empty pointer means the whole schema or data.
    pub pointer: String,
    /// What is wrong, and what is allowed.
    pub detail: String,
}

impl Mistake {
    fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

/// The schema of an event type's `data`, ready for checks.
#[derive(Debug)]
pub struct EventSchema {
    validator: Validator,
    unfolded: Unfolded,
}

impl EventSchema {
    /// Parses a schema of draft 4, 6, 7, 2019-09 or 2020-12.
    ///
    /// # Errors
    /// The first mistake, with a pointer into the schema.
    pub fn read(text: &str) -> Result<Self, Mistake> {
        if text.len() > EVENT_SCHEMA_BYTES_MAX {
            return Err(Mistake::new("", format!("at most {EVENT_SCHEMA_BYTES_MAX} bytes, got {}", text.len())));
        }
        if json::depth(text) > JSON_DEPTH_MAX {
            return Err(Mistake::new("", format!("nested deeper than {JSON_DEPTH_MAX} levels")));
        }
        let schema: Value = serde_json::from_str(text).map_err(|error| Mistake::new("", error.to_string()))?;
        if !(schema.is_object() || schema.is_boolean()) {
            return Err(Mistake::new("", "a schema is an object, true or false"));
        }
        check_dialect(&schema)?;
        jsonschema::meta::validate(&schema).map_err(|error| mistake(&error))?;
        let unfolded = unfold::count(&schema)?;
        let patterns = PatternOptions::regex()
            .size_limit(EVENT_SCHEMA_PATTERN_BYTES_MAX)
            .dfa_size_limit(EVENT_SCHEMA_PATTERN_BYTES_MAX);
        let options = jsonschema::options().offline().with_pattern_options(patterns);
        let validator = options.build(&schema).map_err(|error| mistake(&error))?;
        unfolded.check_cost()?;
        Ok(Self { validator, unfolded })
    }

    /// Returns the maximum number of steps to check JSON of this size. If it exceeds `EVENT_SCHEMA_STEPS_MAX`, a check may
    /// refuse the data.
    pub fn steps_at_most(&self, data_bytes: usize) -> u64 {
        self.unfolded.costs.most().steps(&Size::at_most(data_bytes))
    }

    /// Returns the maximum number of steps to check this text; `None` if it is not JSON.
    pub fn steps(&self, data: &str) -> Option<u64> {
        serde_json::from_str(data).ok().map(|tree| self.unfolded.costs.steps(&Sizes::of(&tree)))
    }

    /// Returns the approximate memory of the schema in bytes. Most of it is for compiled patterns.
    pub fn memory_bytes(&self) -> usize {
        MEMORY_BYTES + self.unfolded.checks * CHECK_BYTES + self.unfolded.patterns * PATTERN_BYTES
    }

    /// Checks `data`, as its producer wrote it.
    ///
    /// # Errors
    /// At most [`EVENT_SCHEMA_ERRORS_MAX`] mistakes, each with a pointer into the data. If the data is too large for a check or
    /// for a list of mistakes, there is one mistake without a pointer.
    pub fn check(&self, data: &str) -> Result<(), Vec<Mistake>> {
        let tree: Value = serde_json::from_str(data)
            .map_err(|error| vec![Mistake::new("", format!("cannot be checked by the type's schema: {error}"))])?;
        let sizes = Sizes::of(&tree);
        let (size, steps) = (sizes.total(), self.unfolded.costs.steps(&sizes));
        if steps > EVENT_SCHEMA_STEPS_MAX {
            let detail = format!(
                "too large to be checked by the type's schema: {} values and {} bytes of text may take {steps} steps, at \
                 most {EVENT_SCHEMA_STEPS_MAX}",
                size.values, size.bytes
            );
            return Err(vec![Mistake::new("", detail)]);
        }
        if self.validator.is_valid(&tree) {
            return Ok(());
        }
        if size.values.saturating_mul(self.unfolded.checks as u64) > SEARCH_MAX || steps > SEARCH_STEPS_MAX {
            let detail = "does not match the type's schema; the data is too large to find the place";
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

/// Converts a validator's error into a mistake that does not contain the value.
fn mistake(error: &jsonschema::ValidationError<'_>) -> Mistake {
    let mut detail = error.masked().to_string();
    if detail.len() > DETAIL_BYTES_MAX {
        detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
        detail.push('…');
    }
    Mistake::new(error.instance_path().as_str(), detail)
}

#[cfg(test)]
mod tests;
