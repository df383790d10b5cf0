//! Parses RFC 3339 timestamps, and no other form of ISO 8601.

use super::{Day, UnixMillis};

const DAY_MS: i64 = 86_400_000;
/// The range of times that RFC 3339 can represent: 0000-01-01T00:00:00.000Z to 9999-12-31T23:59:59.999Z.
const YEARS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

/// Parses `date-time` of RFC 3339 section 5.6. Fractions are truncated to milliseconds. `T`, `t` or a blank separates date and
/// time (see the note in section 5.6). A leap second, possible only at the end of a UTC day, is parsed as the first second of
/// the next day.
pub(super) fn read(text: &[u8]) -> Option<UnixMillis> {
    let (date, rest) = text.split_at_checked(10)?;
    let ([separator], rest) = rest.split_at_checked(1)? else { return None };
    let (time, rest) = rest.split_at_checked(8)?;
    let (fraction_ms, zone) = fraction(rest)?;
    let of_day = seconds_of_day(time)?;
    if !matches!(separator, b'T' | b't' | b' ') {
        return None;
    }
    let second = (i64::from(day(date)?.0) * DAY_MS).checked_add(of_day * 1_000)?.checked_sub(offset_ms(zone)?)?;
    if time.ends_with(b"60") && second.rem_euclid(DAY_MS) != 0 {
        return None;
    }
    let at = second + fraction_ms;
    YEARS.contains(&at).then_some(UnixMillis(at))
}

/// Parses text that consists of ASCII digits only.
fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0_i64, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
}

/// Parses `YYYY-MM-DD`.
fn day(text: &[u8]) -> Option<Day> {
    let [y @ .., b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let (year, month, day) = (digits(y)?, digits(&[*m1, *m2])?, digits(&[*d1, *d2])?);
    let narrow = |number: i64| i8::try_from(number).ok();
    jiff::civil::Date::new(i16::try_from(year).ok()?, narrow(month)?, narrow(day)?).ok().map(Day::of)
}

/// Parses `HH:MM:SS`, to seconds since midnight. A second of 60 is a leap second.
fn seconds_of_day(text: &[u8]) -> Option<i64> {
    let [h1, h2, b':', m1, m2, b':', s1, s2] = text else { return None };
    let (hour, minute, second) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?, digits(&[*s1, *s2])?);
    (hour <= 23 && minute <= 59 && second <= 60).then_some(hour * 3_600 + minute * 60 + second)
}

/// Parses a fraction of a second, if there is one. Returns it in milliseconds, and the text after it.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.', rest @ ..] = text else { return Some((0, text)) };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (fraction, zone) = rest.split_at_checked(length).filter(|_| length > 0)?;
    let digit = |at: usize| fraction.get(at).map_or(0, |digit| i64::from(digit - b'0'));
    Some((digit(0) * 100 + digit(1) * 10 + digit(2), zone))
}

/// Parses `Z` or `+HH:MM` or `-HH:MM`, to milliseconds.
fn offset_ms(text: &[u8]) -> Option<i64> {
    match text {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            let offset = (hours <= 23 && minutes <= 59).then_some((hours * 60 + minutes) * 60_000)?;
            Some(if *sign == b'-' { -offset } else { offset })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_timestamps_are_read() {
        let check = |text: &str, expected: &str| {
            let at = read(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(at.to_rfc3339_millis(), expected, "{text}");
        };
        check("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000Z");
        check("2026-01-02t03:04:05.6z", "2026-01-02T03:04:05.600Z");
        check("2026-01-02 03:04:05.0069999Z", "2026-01-02T03:04:05.006Z");
        check("2026-01-02T00:30:00+02:00", "2026-01-01T22:30:00.000Z");
        check("2026-01-02T00:30:00.25-00:30", "2026-01-02T01:00:00.250Z");
        check("2026-01-02T00:30:00-00:00", "2026-01-02T00:30:00.000Z");
        check("1960-02-29T00:00:00Z", "1960-02-29T00:00:00.000Z");
        check("2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00.500Z");
        check("2017-01-01T01:59:60+02:00", "2017-01-01T00:00:00.000Z");
        check("0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000Z");
        check("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn other_forms_and_other_years_are_refused() {
        for text in [
            "",
            "2026-01-02",
            "2026-01-02T03:04Z",
            "2026-01-02T03Z",
            "2026-01-02T03:04:05",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05,5Z",
            "2026-01-02T03:04:05+02",
            "2026-01-02T03:04:05+0200",
            "2026-01-02T03:04:05+24:00",
            "2026-01-02T03:04:05+05:00[Europe/Berlin]",
            "2026-01-02T03:04:05Z[UTC]",
            "20260102T030405Z",
            "2026-W01-5T03:04:05Z",
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-02T24:00:00Z",
            "2026-01-02T03:60:00Z",
            "2026-01-02T03:04:60Z",
            "2026-01-02T03:04:61Z",
            "-005000-01-01T00:00:00Z",
            "+002026-01-02T03:04:05Z",
            "-026-01-02T03:04:05Z",
            "10000-01-01T00:00:00Z",
            "0000-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "9999-12-31T23:59:60Z",
            "2026-01-02_03:04:05Z",
            " 2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05Z ",
            "２026-01-02T03:04:05Z",
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }
}
