//! Tests hostile schemas and data. A schema is accepted, or its mistake has a pointer. The result of a check is limited in
//! size.

use std::time::{Duration, Instant};

use postrider_model::limits::EVENT_SCHEMA_ERRORS_MAX;
use postrider_schema::{EventSchema, Mistake};
use proptest::prelude::*;

const SCHEMAS: [&str; 5] = [
    r##"{"type":"object","required":["amount"],"additionalProperties":false,"properties":{"amount":{"type":"integer","minimum":1},
        "lines":{"type":"array","items":{"$ref":"#/$defs/line"},"maxItems":3},"a/b":{"pattern":"^[a-z]+$"}},
        "$defs":{"line":{"properties":{"sku":{"type":"string","format":"email"}}}}}"##,
    r#"{"$schema":"http://json-schema.org/draft-07/schema#","oneOf":[{"const":1e400},{"enum":["a",null]}],"multipleOf":0.01}"#,
    r#"{"allOf":[{"not":{"contains":{"type":"null"}}},{"if":{"uniqueItems":true},"then":{"minLength":2},"else":false}]}"#,
    r#"{"patternProperties":{"^(a+)+$":{"dependentRequired":{"a":["b"]}}},"propertyNames":{"maxLength":5},"unevaluatedProperties":false}"#,
    "true",
];

const DATA: [&str; 3] = [
    r#"{"amount":5,"lines":[{"sku":"x@example.com"}],"a/b":"abc"}"#,
    r#"[1,"a",null,{"aaaaaaaaaaaaaaaaaaaaaaaa!":1e400}]"#,
    "0",
];

/// Maximum time of a check on a busy machine, without optimisation.
const LONG: Duration = Duration::from_secs(60);
/// Maximum number of bytes of a mistake's description.
const WORDS_MAX: usize = 1_000;

fn bounded(mistake: &Mistake, given: usize) -> Result<(), TestCaseError> {
    prop_assert!(mistake.pointer.is_empty() || mistake.pointer.starts_with('/'), "{:?}", mistake);
    prop_assert!(mistake.pointer.len() <= 2 * given && mistake.detail.len() <= WORDS_MAX, "{:?}", mistake);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_schema_is_accepted_or_its_mistake_has_a_pointer_and_checks_end(
        schema in postrider_fuzz::text(SCHEMAS),
        data in postrider_fuzz::text(DATA),
    ) {
        let started = Instant::now();
        match EventSchema::read(&schema) {
            Ok(read) => {
                let first = read.check(&data);
                for mistake in first.as_ref().err().into_iter().flatten() {
                    bounded(mistake, data.len() + schema.len())?;
                }
                prop_assert!(first.as_ref().err().is_none_or(|all| (1..=EVENT_SCHEMA_ERRORS_MAX).contains(&all.len())));
                prop_assert_eq!(EventSchema::read(&schema).expect("the same text").check(&data), first);
            }
            Err(mistake) => bounded(&mistake, schema.len())?,
        }
        prop_assert!(started.elapsed() < LONG, "{:?}", started.elapsed());
    }
}
