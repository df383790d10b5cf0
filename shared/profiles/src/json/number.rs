//! Writes numbers as JavaScript or Python print them after parsing.

/// The language whose parser and printer must not change the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Printer {
    /// `JSON.stringify(JSON.parse(body))`
    JavaScript,
    /// `json.dumps(json.loads(body), separators=(",", ":"))`
    Python,
}

/// Appends a number in the printer's spelling. Integers, and numbers that no double can hold, keep their digits even if the
/// printer would change them.
pub(crate) fn write(out: &mut Vec<u8>, number: &str, printer: Printer) {
    match double(number) {
        _ if is_integer(number) => out.extend_from_slice(if number == "-0" { b"0" } else { number.as_bytes() }),
        Some(value) if printer == Printer::Python && is_python_small(value) => {
            out.extend_from_slice(python_small(value).as_bytes());
        }
        Some(value) => out.extend_from_slice(javascript(value).as_bytes()),
        None => out.extend_from_slice(number.as_bytes()),
    }
}

/// Returns why receivers that parse and print this number cannot verify the body, or `None` if all can.
pub(crate) fn doubt(number: &str) -> Option<String> {
    let Some(value) = double(number) else {
        return Some(format!(
            "{} is beyond what a double holds: no receiver that parses it prints it again",
            short(number)
        ));
    };
    if is_integer(number) {
        let printed = javascript(value);
        return (number != "-0" && printed != number).then(|| {
            format!("{} is beyond 2^53: JavaScript reads it as {printed}; send it as a string", short(number))
        });
    }
    is_python_small(value).then(|| {
        format!(
            "{} is below 0.0001: JavaScript prints it {}, Python {}; endpoints with ascii_json get the latter",
            short(number),
            javascript(value),
            python_small(value)
        )
    })
}

/// Whether the number has neither a fraction nor an exponent.
fn is_integer(number: &str) -> bool {
    !number.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
}

/// Returns the number as a double, or `None` if the number is too large for a double.
fn double(number: &str) -> Option<f64> {
    number.parse().ok().filter(|value: &f64| value.is_finite())
}

/// Prints a double as JavaScript does (ECMAScript, section 6.1.6.1.20, `Number::toString`).
fn javascript(value: f64) -> String {
    ryu_js::Buffer::new().format_finite(value).to_owned()
}

/// Whether Python prints this double differently from JavaScript. Below 1e-4, Python prints an exponent of at least two digits.
/// JavaScript prints an exponent only below 1e-6, and from 1e-9 to 1e-6 the exponent has one digit. Below 1e-9, both print the
/// same exponent. (Whole doubles from 1e16 to below 1e21 are sent without an exponent, so that Python reads them as integers.)
fn is_python_small(value: f64) -> bool {
    (1e-9..1e-4).contains(&value.abs())
}

/// Prints a double as Python's `repr` does. [`is_python_small`] must be true for the double.
fn python_small(value: f64) -> String {
    let text = format!("{value:e}");
    match text.split_once("e-") {
        Some((digits, exponent)) => format!("{digits}e-{exponent:0>2}"),
        None => text,
    }
}

/// Returns the first 40 characters of the number, for a message.
fn short(number: &str) -> &str {
    number.get(..40).unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(number: &str, javascript: &str, python: &str) {
        let printed = |printer| {
            let mut out = Vec::new();
            write(&mut out, number, printer);
            String::from_utf8(out).unwrap()
        };
        assert_eq!((printed(Printer::JavaScript).as_str(), printed(Printer::Python).as_str()), (javascript, python));
    }

    #[test]
    fn numbers_are_printed_as_each_language_prints_them_again() {
        for (number, both) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("1.0", "1"),
            ("1.50", "1.5"),
            ("1E2", "100"),
            ("-1.5e-3", "-0.0015"),
            ("0.0001", "0.0001"),
            ("1e16", "10000000000000000"),
            ("1e20", "100000000000000000000"),
            ("1e21", "1e+21"),
            ("1.5e300", "1.5e+300"),
            ("1e-10", "1e-10"),
            ("2.5E-100", "2.5e-100"),
            ("1e-400", "0"),
            ("0.1234567890123456789", "0.12345678901234568"),
        ] {
            check(number, both, both);
            assert_eq!(doubt(number), None, "{number}");
        }
    }

    #[test]
    fn integers_keep_their_digits_and_what_does_not_survive_is_doubted() {
        for number in ["9007199254740993", "12345678901234567890", "-12345678901234567891", "1e400", "-1.0E+999"] {
            check(number, number, number);
            assert!(doubt(number).is_some(), "{number}");
        }
        // The number is beyond 2^53, but JavaScript prints the same digits.
        check("9007199254740994", "9007199254740994", "9007199254740994");
        assert_eq!(doubt("9007199254740994"), None);
    }

    #[test]
    fn small_floats_are_printed_differently_and_doubted() {
        for (number, javascript, python) in [
            ("1e-5", "0.00001", "1e-05"),
            ("0.000099", "0.000099", "9.9e-05"),
            ("-1.25e-6", "-0.00000125", "-1.25e-06"),
            ("1.5e-7", "1.5e-7", "1.5e-07"),
            ("0.0000000010", "1e-9", "1e-09"),
        ] {
            check(number, javascript, python);
            assert!(doubt(number).is_some(), "{number}");
        }
    }
}
