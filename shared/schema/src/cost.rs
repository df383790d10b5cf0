//! The cost of a check in steps. The cost is an upper limit that is computed before the check begins, because a running check
//! cannot be stopped. A step takes a few nanoseconds in an optimised build; `benches/checking.rs` measures the worst cases.

use serde_json::{Number, Value};

/// Steps to look up a name in an object.
pub(crate) const LOOK_UP: u64 = 8;
/// Steps of a `multipleOf` that divides fractions of arbitrary size.
pub(crate) const FRACTION: u64 = 1_000;
/// Steps of any other `multipleOf`.
pub(crate) const DIVISION: u64 = 30;
/// Steps of `format` and `contentMediaType` for each byte of a text.
pub(crate) const FORMAT: u64 = 16;
/// Steps of `uniqueItems` for each value. The number is high because short lists are compared pair by pair.
pub(crate) const UNIQUE: u64 = 32;
/// Number of bytes of text that one step compares.
const COMPARED_BYTES: u64 = 16;
/// Maximum number of digits after the point with which `multipleOf` divides 128-bit integers.
const DIGITS_MAX: usize = 15;
/// Numbers of 2^53 or more are divided as fractions of arbitrary size. Different numbers of this size may have the same hash.
const LARGE: f64 = 9_007_199_254_740_992.0;

/// The steps for each part of the data. Every part counts, even if a check does not reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cost {
    /// Steps for each value.
    pub(crate) value: u64,
    /// Steps for each byte of texts and names.
    pub(crate) byte: u64,
    /// Additional steps for each number of 2^53 or more.
    pub(crate) large: u64,
}

impl Cost {
    pub(crate) fn of_values(value: u64) -> Self {
        Self { value, ..Self::default() }
    }

    pub(crate) fn of_bytes(byte: u64) -> Self {
        Self { byte, ..Self::default() }
    }

    /// Returns the cost of `multipleOf` with this divisor.
    pub(crate) fn of_multiple(divisor: &Number) -> Self {
        let text = divisor.to_string();
        let is_short = !text.contains(['e', 'E'])
            && text.split_once('.').is_none_or(|(_, digits)| digits.len() <= DIGITS_MAX)
            && divisor.as_f64().is_some_and(|divisor| divisor < LARGE);
        Self { value: if is_short { DIVISION } else { FRACTION }, large: FRACTION, byte: 0 }
    }

    /// Returns the cost of a comparison with this value, for `const` and for each value of `enum`.
    pub(crate) fn of_comparing(value: &Value) -> Self {
        Self::of_values(comparing(value))
    }

    pub(crate) fn uniqueness() -> Self {
        Self { value: UNIQUE, byte: 1, large: FRACTION }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            value: self.value.saturating_add(other.value),
            byte: self.byte.saturating_add(other.byte),
            large: self.large.saturating_add(other.large),
        }
    }

    /// Returns the maximum number of steps for data of this size.
    pub(crate) fn steps(&self, data: &Size) -> u64 {
        let values = self.value.saturating_mul(data.values);
        let bytes = self.byte.saturating_mul(data.bytes);
        values.saturating_add(bytes).saturating_add(self.large.saturating_mul(data.large))
    }
}

/// The cost of a schema by level of the data. The schema itself checks level 0. Each keyword such as `properties` or `items` on
/// the path to a subschema moves the subschema's checks one level deeper.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Costs {
    /// At index `n`, the cost for the values of level `n`.
    at: Vec<Cost>,
    /// At index `n`, the cost for the values of level `n` and all deeper levels.
    below: Vec<Cost>,
}

impl Costs {
    /// Creates a cost for the value that the schema itself checks.
    pub(crate) fn here(cost: Cost) -> Self {
        Self { at: vec![cost], below: Vec::new() }
    }

    /// Creates a cost for the value that the schema itself checks, and for all values in it.
    pub(crate) fn throughout(cost: Cost) -> Self {
        Self { at: Vec::new(), below: vec![cost] }
    }

    /// Adds the costs of a subschema that checks values `levels` levels deeper.
    pub(crate) fn add(&mut self, other: &Self, levels: usize) {
        add_levels(&mut self.at, &other.at, levels);
        add_levels(&mut self.below, &other.below, levels);
    }

    /// Returns the maximum, over all levels, of the cost of a value, of a byte and of a large number.
    pub(crate) fn most(&self) -> Cost {
        let most = |a: Cost, b: &Cost| Cost {
            value: a.value.max(b.value),
            byte: a.byte.max(b.byte),
            large: a.large.max(b.large),
        };
        self.below.iter().fold(self.at.iter().fold(Cost::default(), most), |sum, cost| sum.plus(*cost))
    }

    /// Returns the maximum number of steps for data of these sizes.
    pub(crate) fn steps(&self, data: &Sizes) -> u64 {
        let at = self.at.iter().zip(&data.0).map(|(cost, size)| cost.steps(size));
        let below = self.below.iter().enumerate().map(|(level, cost)| {
            let sizes = data.0.iter().skip(level).map(|size| cost.steps(size));
            sizes.fold(0, u64::saturating_add)
        });
        at.chain(below).fold(0, u64::saturating_add)
    }
}

fn add_levels(levels: &mut Vec<Cost>, more: &[Cost], down: usize) {
    let depth = if more.is_empty() { 0 } else { more.len() + down };
    levels.resize(levels.len().max(depth), Cost::default());
    levels.iter_mut().skip(down).zip(more).for_each(|(level, more)| *level = level.plus(*more));
}

fn comparing(value: &Value) -> u64 {
    match value {
        Value::String(text) => 1 + text.len() as u64 / COMPARED_BYTES,
        Value::Array(items) => 1 + items.iter().map(comparing).sum::<u64>(),
        Value::Object(members) => {
            let member =
                |(name, value): (&String, &Value)| LOOK_UP + name.len() as u64 / COMPARED_BYTES + comparing(value);
            1 + members.iter().map(member).sum::<u64>()
        }
        _ => 1,
    }
}

/// The size of the data on one level, or of all data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Size {
    /// Number of values, including objects and arrays.
    pub(crate) values: u64,
    /// Number of bytes of texts and names.
    pub(crate) bytes: u64,
    /// Number of numbers that are 2^53 or more.
    pub(crate) large: u64,
}

/// The size of the data on each level, starting with the outermost value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Sizes(Vec<Size>);

impl Size {
    /// Returns the maximum size that JSON of this many bytes can have.
    pub(crate) fn at_most(json_bytes: usize) -> Self {
        let bytes = json_bytes as u64;
        // The shortest value is `1,`, and the shortest large number is `1e99,`. Names are counted twice.
        Self { values: bytes / 2 + 1, bytes: 2 * bytes, large: bytes / 5 + 1 }
    }

    fn plus(self, other: Self) -> Self {
        Self { values: self.values + other.values, bytes: self.bytes + other.bytes, large: self.large + other.large }
    }
}

impl Sizes {
    pub(crate) fn of(data: &Value) -> Self {
        let mut sizes = Self::default();
        sizes.add(data, 0);
        sizes
    }

    /// Returns the sum of all levels.
    pub(crate) fn total(&self) -> Size {
        self.0.iter().fold(Size::default(), |sum, size| sum.plus(*size))
    }

    fn level(&mut self, level: usize) -> &mut Size {
        if self.0.len() <= level {
            self.0.resize(level + 1, Size::default());
        }
        &mut self.0[level]
    }

    fn add(&mut self, data: &Value, level: usize) {
        let size = self.level(level);
        size.values += 1;
        match data {
            Value::String(text) => size.bytes += text.len() as u64,
            Value::Number(number) => {
                size.large += u64::from(number.as_f64().is_none_or(|number| number.abs() >= LARGE));
            }
            Value::Array(items) => items.iter().for_each(|item| self.add(item, level + 1)),
            Value::Object(members) => members.iter().for_each(|(name, value)| {
                // `patternProperties` checks a name on the level of its object, `propertyNames` checks it one level deeper.
                self.level(level).bytes += name.len() as u64;
                self.level(level + 1).bytes += name.len() as u64;
                self.add(value, level + 1);
            }),
            Value::Null | Value::Bool(_) => {}
        }
    }
}

/// Returns the maximum number of steps of a pattern for each byte of a text. It is computed from the number of states that the
/// engine may follow in parallel when it cannot keep a table of sets of states.
pub(crate) fn pattern(pattern: &str) -> u64 {
    let translated = jsonschema_regex::to_rust_regex(pattern).ok();
    let parsed = translated.and_then(|pattern| regex_syntax::parse(&pattern).ok());
    parsed.map_or(PATTERN_UNREAD, |pattern| states(&pattern)).saturating_mul(PATTERN_STATE)
}

/// Assumed number of states of a pattern that cannot be parsed here. It is more than the limit of compiled bytes allows.
const PATTERN_UNREAD: u64 = 4_096;
/// Number of steps to follow one state over one byte.
const PATTERN_STATE: u64 = 2;

fn states(pattern: &regex_syntax::hir::Hir) -> u64 {
    use regex_syntax::hir::HirKind;
    match pattern.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len() as u64,
        // A class matches one character of up to four bytes.
        HirKind::Class(_) => 2,
        HirKind::Repetition(repetition) => {
            let copies = u64::from(repetition.max.unwrap_or(repetition.min.saturating_add(1)).max(1));
            copies.saturating_mul(states(&repetition.sub).saturating_add(1))
        }
        HirKind::Capture(capture) => states(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().map(states).fold(1, u64::saturating_add),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_length_of_data_bounds_its_size() {
        let sizes = |data: Value| Sizes::of(&data).0;
        let size = |values, bytes, large| Size { values, bytes, large };
        assert_eq!(sizes(json!({"ab": ["xyz", 1, null]})), [size(1, 2, 0), size(1, 2, 0), size(3, 3, 0)]);
        assert_eq!(sizes(json!([9007199254740992_u64, -1e300, 5])), [size(1, 0, 0), size(3, 0, 2)]);
        for text in ["[1,2,3]", "[1e99,1e99,1e99]", r#"{"a":"b"}"#, "[[[[]]]]", "[]", "1"] {
            let (size, most) = (Sizes::of(&serde_json::from_str(text).unwrap()).total(), Size::at_most(text.len()));
            assert!(size.values <= most.values && size.bytes <= most.bytes && size.large <= most.large, "{text}");
        }
    }

    #[test]
    fn costs_apply_to_their_level() {
        let mut costs = Costs::here(Cost::of_values(2));
        costs.add(&Costs::here(Cost::of_bytes(3)), 1);
        costs.add(&Costs::throughout(Cost::of_values(10)), 1);
        let data = Sizes::of(&json!(["ab", ["cdef"]]));
        // The terms are the outermost value, then `ab`, then both members of the list and the text in the second member.
        assert_eq!(costs.steps(&data), 2 + 3 * 2 + 10 * 3);
        assert_eq!(costs.most(), Cost { value: 12, byte: 3, large: 0 });
    }

    #[test]
    fn the_cost_of_a_pattern_is_its_states() {
        for (text, least, most) in [
            ("^abc$", 3, 20),
            ("^[a-z]+@[a-z]+$", 4, 40),
            ("^[01]*1[01]{200}$", 400, 2_000),
            ("(a{10}){100}", 1_000, 10_000),
            ("^\\d{4}-\\d{2}$", 6, 60),
        ] {
            let cost = pattern(text);
            assert!((least..=most).contains(&cost), "{text}: {cost}");
        }
        assert_eq!(pattern("("), PATTERN_UNREAD * PATTERN_STATE);
    }

    #[test]
    fn a_multiple_that_needs_fractions_costs_more() {
        let value = |text: &str| Cost::of_multiple(&serde_json::from_str(text).unwrap()).value;
        for text in ["1", "0.01", "7", "0.7"] {
            assert_eq!(value(text), DIVISION, "{text}");
        }
        for text in ["1e-300", "1e300", "0.1234567890123456789"] {
            assert_eq!(value(text), FRACTION, "{text}");
        }
    }
}
