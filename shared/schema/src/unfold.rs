//! What a schema unfolds into when its references are followed, and whether that has an end.

use std::borrow::Cow;

use postrider_model::limits::{EVENT_SCHEMA_CHECKS_MAX, EVENT_SCHEMA_DEPTH_MAX, EVENT_SCHEMA_PATTERNS_MAX};
use serde_json::{Map, Value};

use crate::Mistake;

/// Keywords whose value is a schema, or a list of them.
const SCHEMAS: [&str; 18] = [
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "oneOf",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
    "disallow",
    "extends",
];
/// Keywords whose value holds schemas by name.
const NAMED: [&str; 6] =
    ["$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"];
/// Keywords that a validator looks at their neighbours for, again at each level that has them.
const LOOK_AGAIN: [&str; 2] = ["unevaluatedItems", "unevaluatedProperties"];
/// Deepest nesting of those: each level may double the work.
const LOOK_AGAIN_MAX: usize = 4;

/// Counts the checks of a schema: subschemas, values of `enum` and names of `required`, each as often as references lead to
/// it.
///
/// # Errors
/// A reference that leaves the schema, leads nowhere or leads back to where it came from, or more than there may be.
pub(crate) fn count(schema: &Value) -> Result<usize, Mistake> {
    let mut count = Count { root: schema, checks: 0, patterns: 0, following: vec![String::new()] };
    count.schema(schema, "", Nesting { depth: 0, look_again: 0 })?;
    Ok(count.checks)
}

struct Count<'a> {
    root: &'a Value,
    checks: usize,
    patterns: usize,
    /// The places that references lead to, from the outermost to the one that is being counted.
    following: Vec<String>,
}

#[derive(Clone, Copy)]
struct Nesting {
    depth: usize,
    look_again: usize,
}

impl<'a> Count<'a> {
    fn schema(&mut self, schema: &'a Value, at: &str, mut nesting: Nesting) -> Result<(), Mistake> {
        self.add(1, at)?;
        nesting.depth += 1;
        if nesting.depth > EVENT_SCHEMA_DEPTH_MAX {
            let detail = format!("nested deeper than {EVENT_SCHEMA_DEPTH_MAX} subschemas, references followed");
            return Err(Mistake::new(at, detail));
        }
        let Value::Object(members) = schema else { return Ok(()) };
        if members.keys().any(|keyword| LOOK_AGAIN.contains(&keyword.as_str())) {
            nesting.look_again += 1;
            if nesting.look_again > LOOK_AGAIN_MAX {
                let detail = format!(
                    "{} are nested in each other deeper than {LOOK_AGAIN_MAX} levels",
                    LOOK_AGAIN.join(" and ")
                );
                return Err(Mistake::new(at, detail));
            }
        }
        self.keywords(members, at, nesting)
    }

    fn keywords(&mut self, members: &'a Map<String, Value>, at: &str, nesting: Nesting) -> Result<(), Mistake> {
        for (keyword, value) in members {
            let here = || child(at, keyword);
            match (keyword.as_str(), value) {
                ("$ref", Value::String(reference)) => self.reference(reference, &here(), nesting)?,
                ("$dynamicRef" | "$recursiveRef", _) => {
                    return Err(Mistake::new(here(), "not supported; name the subschema by $ref"));
                }
                ("$id" | "id", Value::String(_)) if !at.is_empty() => {
                    return Err(Mistake::new(here(), "a schema within a schema has no identifier of its own here"));
                }
                ("pattern", _) => self.pattern(&here())?,
                ("enum" | "required", Value::Array(values)) => self.add(values.len(), &here())?,
                (name, Value::Object(named)) if NAMED.contains(&name) => {
                    for (name, schema) in named {
                        let place = child(&here(), name);
                        if keyword == "patternProperties" {
                            self.pattern(&place)?;
                        }
                        self.schema(schema, &place, nesting)?;
                    }
                }
                (name, Value::Array(list)) if SCHEMAS.contains(&name) => {
                    for (place, schema) in list.iter().enumerate() {
                        self.schema(schema, &child(&here(), &place.to_string()), nesting)?;
                    }
                }
                (name, value) if SCHEMAS.contains(&name) => self.schema(value, &here(), nesting)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn reference(&mut self, reference: &str, at: &str, nesting: Nesting) -> Result<(), Mistake> {
        let wrong = |detail: &str| Err(Mistake::new(at, detail));
        let Some(fragment) = reference.strip_prefix('#') else {
            return wrong("a reference stays within the schema: # and a JSON pointer, such as #/$defs/address");
        };
        let Some(target) = percent_decoded(fragment).filter(|to| to.is_empty() || to.starts_with('/')) else {
            return wrong("expected # and a JSON pointer, such as #/$defs/address");
        };
        let root = self.root;
        let Some(schema) = root.pointer(&target) else { return wrong("leads nowhere in the schema") };
        if self.following.iter().any(|place| *place == target) {
            return wrong("leads back to where it came from; a schema that contains itself is not supported");
        }
        self.following.push(target.clone().into_owned());
        let counted = self.schema(schema, &target, nesting);
        self.following.pop();
        counted
    }

    fn add(&mut self, checks: usize, at: &str) -> Result<(), Mistake> {
        self.checks += checks;
        if self.checks > EVENT_SCHEMA_CHECKS_MAX {
            let detail = format!(
                "more than {EVENT_SCHEMA_CHECKS_MAX} subschemas, values of enum and required names, references followed"
            );
            return Err(Mistake::new(at, detail));
        }
        Ok(())
    }

    fn pattern(&mut self, at: &str) -> Result<(), Mistake> {
        self.patterns += 1;
        if self.patterns > EVENT_SCHEMA_PATTERNS_MAX {
            let detail = format!("more than {EVENT_SCHEMA_PATTERNS_MAX} patterns, references followed");
            return Err(Mistake::new(at, detail));
        }
        Ok(())
    }
}

fn child(at: &str, name: &str) -> String {
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The fragment of a URI as text.
fn percent_decoded(fragment: &str) -> Option<Cow<'_, str>> {
    if !fragment.contains('%') {
        return Some(Cow::Borrowed(fragment));
    }
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'%' {
            let (digits, tail) = tail.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}
