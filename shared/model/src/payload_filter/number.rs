//! Numbers as filters compare them: by value, not by their text.

use std::cmp::Ordering;

use serde_json::Value;

/// A JSON number. Whole numbers from -2^63 to 2^64-1 are exact; any other number is rounded to the nearest 64-bit float.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Whole(i128),
    Real(f64),
}

impl Number {
    /// Parses a JSON number.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let whole = text.parse::<i64>().map(i128::from).or_else(|_| text.parse::<u64>().map(i128::from));
        whole.map(Self::Whole).or_else(|_| text.parse().map(Self::Real)).ok()
    }

    /// Converts the number to JSON; a number out of the range of 64-bit floats becomes `null`.
    pub(super) fn to_json(self) -> Value {
        match self {
            Self::Whole(whole) => match i64::try_from(whole) {
                Ok(whole) => Value::from(whole),
                Err(_) => u64::try_from(whole).map_or(Value::Null, Value::from),
            },
            Self::Real(real) => Value::from(real),
        }
    }

    pub(super) fn order(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a.cmp(&b),
            // JSON has no NaN, so two numbers always have an order.
            (Self::Real(a), Self::Real(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            (Self::Whole(a), Self::Real(b)) => whole_and_real(a, b),
            (Self::Real(a), Self::Whole(b)) => whole_and_real(b, a).reverse(),
        }
    }
}

impl From<&serde_json::Number> for Number {
    fn from(number: &serde_json::Number) -> Self {
        let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        whole.map(Self::Whole).unwrap_or_else(|| Self::Real(number.as_f64().unwrap_or(0.0)))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.order(*other).is_eq()
    }
}

/// Compares exactly. Converting the whole number to a float would round the number.
#[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates beyond every whole number")]
fn whole_and_real(whole: i128, real: f64) -> Ordering {
    whole.cmp(&(real.trunc() as i128)).then_with(|| 0.0.partial_cmp(&real.fract()).unwrap_or(Ordering::Equal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(a: &str, expected: Ordering, b: &str) {
        let (left, right) = (Number::parse(a).unwrap(), Number::parse(b).unwrap());
        assert_eq!((left.order(right), right.order(left)), (expected, expected.reverse()), "{a} {b}");
    }

    #[test]
    fn numbers_are_compared_by_value() {
        use Ordering::{Equal, Greater, Less};
        check("1", Equal, "1.0");
        check("1e3", Equal, "1000");
        check("-0", Equal, "0.0");
        check("-1.5", Less, "-1");
        check("-1", Greater, "-1.5");
        check("1.5", Greater, "1");
        check("9007199254740993", Greater, "9007199254740992");
        check("9007199254740993", Greater, "9007199254740992.0");
        check("18446744073709551615", Greater, "18446744073709551614");
        check("-9223372036854775808", Less, "-9223372036854775807");
        check("18446744073709551615", Less, "18446744073709551616");
        check("1e999", Greater, "18446744073709551615");
        check("-1e999", Less, "-9223372036854775808");
        // Whole numbers of more than 64 bits are rounded.
        check("18446744073709551616", Equal, "18446744073709551617");
        check("0.1", Less, "0.2");
    }
}
