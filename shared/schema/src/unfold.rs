//! Follows a schema's references and counts the subschemas, patterns and cost into which the schema unfolds.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use postrider_model::json::pointer_token;
use postrider_model::limits::{
    EVENT_SCHEMA_CHECKS_MAX, EVENT_SCHEMA_DEPTH_MAX, EVENT_SCHEMA_PATTERNS_MAX, EVENT_SCHEMA_STEPS_PER_VALUE_MAX,
};
use serde_json::{Map, Value};

use crate::Mistake;
use crate::cost::{Cost, Costs, FORMAT, LOOK_UP, pattern};

/// Keywords whose value is a schema or a list of schemas.
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
/// Keywords whose value is an object that maps names to schemas.
const NAMED: [&str; 6] =
    ["$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"];
/// Keywords whose schemas check the same value as the surrounding schema. For the surrounding `unevaluated…` keywords, the
/// parts of the value that these schemas check count as evaluated.
const IN_PLACE: [&str; 8] = ["allOf", "anyOf", "oneOf", "if", "then", "else", "dependencies", "dependentSchemas"];
/// Keywords whose schemas check the members, the items or the names of the value.
const BELOW: [&str; 10] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "items",
    "patternProperties",
    "prefixItems",
    "properties",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords that make the validator evaluate the neighbouring keywords a second time, on each level with such a keyword.
const REEVALUATING: [&str; 2] = ["unevaluatedItems", "unevaluatedProperties"];
/// Maximum nesting depth of these keywords, because each level may double the work.
const REEVALUATION_DEPTH_MAX: usize = 4;

/// The result of unfolding a schema.
#[derive(Debug, Clone)]
pub(crate) struct Unfolded {
    /// Number of subschemas, `enum` values and `required` names. Each is counted as often as references reach it.
    pub(crate) checks: usize,
    /// Number of patterns, each counted as often as references reach it.
    pub(crate) patterns: usize,
    /// The cost of a check.
    pub(crate) costs: Costs,
}

/// Counts the checks and patterns of a schema, and their cost.
///
/// # Errors
/// A reference leaves the schema, has no target or forms a cycle, or a limit is exceeded.
pub(crate) fn count(schema: &Value) -> Result<Unfolded, Mistake> {
    let mut count = Count { root: schema, checks: 0, keywords: 0, patterns: 0, following: vec![String::new()] };
    let costs = count.schema(schema, "", Nesting { depth: 0, reevaluating: 0 })?.check;
    Ok(Unfolded { checks: count.checks, patterns: count.patterns, costs })
}

impl Unfolded {
    /// Refuses a schema whose cost would allow hardly any data.
    pub(crate) fn check_cost(&self) -> Result<(), Mistake> {
        let cost = self.costs.most();
        if cost.value.max(cost.byte) <= EVENT_SCHEMA_STEPS_PER_VALUE_MAX {
            return Ok(());
        }
        let detail = format!(
            "too costly: checking takes {} steps a value and {} a byte of text, at most {EVENT_SCHEMA_STEPS_PER_VALUE_MAX}",
            cost.value, cost.byte
        );
        Err(Mistake::new("", detail))
    }
}

/// Maximum number of keywords. Each is counted as often as references reach it. A schema within the other limits has fewer
/// keywords.
const KEYWORDS_MAX: usize = 50_000;

struct Count<'a> {
    root: &'a Value,
    checks: usize,
    keywords: usize,
    patterns: usize,
    /// The targets of the references that are being followed, outermost first.
    following: Vec<String>,
}

#[derive(Clone, Copy)]
struct Nesting {
    depth: usize,
    reevaluating: usize,
}

/// The cost of a subschema.
#[derive(Clone, Default)]
struct Weighed {
    /// Cost to check a value.
    check: Costs,
    /// Cost to find out which parts of a value the subschema has checked, for a surrounding `unevaluated…`. For that, the
    /// validator evaluates the subschemas that apply to the same value a second time, including the subschemas in them.
    mark: Costs,
}

impl Weighed {
    fn own(cost: Cost) -> Self {
        Self { check: Costs::here(cost), mark: Costs::here(cost) }
    }

    fn add(&mut self, cost: Cost) {
        self.add_costs(&Costs::here(cost), 0);
    }

    fn add_costs(&mut self, costs: &Costs, levels: usize) {
        self.check.add(costs, levels);
        self.mark.add(costs, levels);
    }

    /// Adds the cost of a keyword's subschema.
    fn add_part(&mut self, keyword: &str, part: &Self) {
        self.add_costs(&part.check, usize::from(BELOW.contains(&keyword)));
        if IN_PLACE.contains(&keyword) || keyword == "$ref" {
            self.mark.add(&part.mark, 0);
        }
    }
}

impl<'a> Count<'a> {
    fn schema(&mut self, schema: &'a Value, at: &str, mut nesting: Nesting) -> Result<Weighed, Mistake> {
        self.add(1, at)?;
        nesting.depth += 1;
        if nesting.depth > EVENT_SCHEMA_DEPTH_MAX {
            let detail = format!("nested deeper than {EVENT_SCHEMA_DEPTH_MAX} subschemas, references followed");
            return Err(Mistake::new(at, detail));
        }
        let Value::Object(members) = schema else { return Ok(Weighed::own(Cost::of_values(1))) };
        self.keywords += members.len();
        if self.keywords > KEYWORDS_MAX {
            return Err(Mistake::new(at, format!("more than {KEYWORDS_MAX} keywords, references followed")));
        }
        let reevaluates = members.keys().any(|keyword| REEVALUATING.contains(&keyword.as_str()));
        if reevaluates {
            nesting.reevaluating += 1;
            if nesting.reevaluating > REEVALUATION_DEPTH_MAX {
                let detail = format!(
                    "{} are nested in each other deeper than {REEVALUATION_DEPTH_MAX} levels",
                    REEVALUATING.join(" and ")
                );
                return Err(Mistake::new(at, detail));
            }
        }
        let mut weighed = self.keywords(members, at, nesting)?;
        if reevaluates {
            weighed.check.add(&weighed.mark, 0);
        }
        Ok(weighed)
    }

    fn keywords(&mut self, members: &'a Map<String, Value>, at: &str, nesting: Nesting) -> Result<Weighed, Mistake> {
        let mut weighed = Weighed::own(Cost::of_values(1 + members.len() as u64));
        for (keyword, value) in members {
            let here = || child(at, keyword);
            match (keyword.as_str(), value) {
                ("$ref", Value::String(reference)) => {
                    weighed.add_part("$ref", &self.reference(reference, &here(), nesting)?);
                }
                ("$dynamicRef" | "$recursiveRef", _) => {
                    return Err(Mistake::new(here(), "not supported; name the subschema by $ref"));
                }
                ("$id" | "id", Value::String(_)) if !at.is_empty() => {
                    return Err(Mistake::new(here(), "a subschema cannot have an identifier"));
                }
                ("pattern", Value::String(text)) => {
                    self.pattern(&here())?;
                    weighed.add(Cost::of_bytes(pattern(text)));
                }
                ("enum" | "required", Value::Array(values)) => {
                    self.add(values.len(), &here())?;
                    values.iter().for_each(|value| weighed.add(Cost::of_comparing(value)));
                    weighed.add(Cost::of_values(values.len() as u64 * LOOK_UP));
                }
                (name, Value::Object(named)) if NAMED.contains(&name) => {
                    self.named(name, named, &here(), nesting, &mut weighed)?;
                }
                (name, Value::Array(list)) if SCHEMAS.contains(&name) => {
                    for (index, schema) in list.iter().enumerate() {
                        let part = self.schema(schema, &child(&here(), &index.to_string()), nesting)?;
                        weighed.add_part(name, &part);
                    }
                }
                (name, value) if SCHEMAS.contains(&name) => {
                    let part = self.schema(value, &here(), nesting)?;
                    weighed.add_part(name, &part);
                    weighed.add(Cost::of_values(LOOK_UP));
                }
                ("uniqueItems", Value::Bool(true)) => weighed.add_costs(&Costs::throughout(Cost::uniqueness()), 0),
                (name, value) => weighed.add(assertion(name, value)),
            }
        }
        Ok(weighed)
    }

    /// Counts the subschemas in the object of a keyword such as `properties`, whose members are schemas.
    fn named(
        &mut self,
        keyword: &str,
        named: &'a Map<String, Value>,
        here: &str,
        nesting: Nesting,
        weighed: &mut Weighed,
    ) -> Result<(), Mistake> {
        for (name, schema) in named {
            let at = child(here, name);
            if keyword == "patternProperties" {
                self.pattern(&at)?;
                // `additionalProperties` matches the pattern a second time.
                weighed.add(Cost::of_bytes(pattern(name).saturating_mul(2)));
            }
            // In draft 7, `dependencies` may also contain lists of names.
            let names = schema.as_array().map_or(1, |names| 1 + names.len() as u64);
            weighed.add(Cost::of_values(names * LOOK_UP));
            let part = self.schema(schema, &at, nesting)?;
            // Definitions are only validated here. Their cost counts where a reference reaches them.
            if !matches!(keyword, "$defs" | "definitions") {
                weighed.add_part(keyword, &part);
            }
        }
        Ok(())
    }

    fn reference(&mut self, reference: &str, at: &str, nesting: Nesting) -> Result<Weighed, Mistake> {
        let wrong = |detail: &str| Err(Mistake::new(at, detail));
        let Some(fragment) = reference.strip_prefix('#') else {
            return wrong("a reference stays within the schema: # and a JSON pointer, such as #/$defs/address");
        };
        let Some(target) = percent_decoded(fragment).filter(|to| to.is_empty() || to.starts_with('/')) else {
            return wrong("expected # and a JSON pointer, such as #/$defs/address");
        };
        let root = self.root;
        let Some(schema) = root.pointer(&target) else { return wrong("there is no such place in the schema") };
        if self.following.iter().any(|other| *other == target) {
            return wrong("the reference is part of a cycle; a schema that contains itself is not supported");
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

/// Returns the cost of a keyword without subschemas, in addition to the cost of having the keyword.
fn assertion(keyword: &str, value: &Value) -> Cost {
    match (keyword, value) {
        ("multipleOf" | "divisibleBy", Value::Number(divisor)) => Cost::of_multiple(divisor),
        ("const", value) => Cost::of_comparing(value),
        ("minLength" | "maxLength", _) => Cost::of_bytes(1),
        ("format" | "contentEncoding" | "contentMediaType", _) => Cost::of_bytes(FORMAT),
        ("dependentRequired", Value::Object(named)) => {
            let names = named.values().map(|names| 1 + names.as_array().map_or(0, Vec::len) as u64);
            Cost::of_values(names.sum::<u64>() * LOOK_UP)
        }
        _ => Cost::default(),
    }
}

fn child(at: &str, name: &str) -> String {
    format!("{at}/{}", pointer_token(name))
}

/// Decodes the fragment of a URI.
fn percent_decoded(fragment: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(fragment).decode_utf8().ok()
}
