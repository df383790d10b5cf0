//! Fits a notification into the space of a service's message.

use postrider_model::notification::Notification;

/// The space of a message.
pub(super) struct Space {
    /// Maximum number of UTF-16 units, which are at least as many as characters.
    pub(super) units_max: usize,
    /// Number of units of the markup around each line.
    pub(super) per_line: usize,
    /// Returns the text as the service's markup requires it.
    pub(super) escape: fn(&str) -> String,
}

/// The parts of a notification that fit, escaped.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fitted {
    pub(super) title: String,
    /// Lines of text, with an empty name, and facts.
    pub(super) lines: Vec<(String, String)>,
    pub(super) time: String,
}

/// Returns the parts of a notification that fit. The first part that does not fit is cut between characters and ends in `…`; the
/// parts after it are left out, except the time.
pub(super) fn fit(notification: &Notification, space: &Space) -> Fitted {
    let Space { escape, per_line, units_max } = space;
    let time = escape(&notification.time);
    let mut left = units_max.saturating_sub(units(&time) + per_line);
    let title = fitted(&notification.title, escape, left.saturating_sub(*per_line)).unwrap_or_default().escaped;
    left = left.saturating_sub(units(&title) + per_line);
    let texts = notification.text.lines().map(|line| ("", line));
    let facts = notification.facts.iter().map(|fact| (fact.name.as_str(), fact.value.as_str()));
    let mut lines = Vec::new();
    for (name, value) in texts.chain(facts) {
        let name = escape(name);
        let around = units(&name) + per_line;
        let Some(Part { escaped, is_cut }) = fitted(value, escape, left.saturating_sub(around)) else { break };
        left = left.saturating_sub(units(&escaped) + around);
        lines.push((name, escaped));
        if is_cut {
            break;
        }
    }
    Fitted { title, lines, time }
}

#[derive(Default)]
struct Part {
    escaped: String,
    is_cut: bool,
}

/// Returns the text, or its longest beginning that fits with `…`; `None` if not even one character fits.
fn fitted(text: &str, escape: &fn(&str) -> String, units_max: usize) -> Option<Part> {
    let whole = escape(text);
    if units(&whole) <= units_max {
        return Some(Part { escaped: whole, is_cut: false });
    }
    let beginning = |chars: usize| escape(&text.chars().take(chars).chain(['…']).collect::<String>());
    let (mut fits, mut exceeds) = (0, text.chars().count());
    while exceeds - fits > 1 {
        let middle = fits + (exceeds - fits) / 2;
        if units(&beginning(middle)) <= units_max { fits = middle } else { exceeds = middle }
    }
    (fits > 0).then(|| Part { escaped: beginning(fits), is_cut: true })
}

/// The number of UTF-16 units of a text.
pub(super) fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

#[cfg(test)]
mod tests {
    use postrider_model::time::UnixMillis;

    use super::*;

    #[test]
    fn the_first_part_that_does_not_fit_is_cut_and_the_time_remains() {
        let facts = [("a", "&&&&"), ("b", "12345"), ("c", "never")];
        let made = Notification::new("T", "one", facts, UnixMillis(0));
        let check = |units_max: usize, expected: &[(&str, &str)]| {
            let space = Space { units_max, per_line: 1, escape: |text| text.replace('&', "&amp;") };
            let fitted = fit(&made, &space);
            let owned = expected.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
            assert_eq!(fitted.lines, owned.collect::<Vec<_>>(), "{units_max}");
            assert_eq!((fitted.title.as_str(), fitted.time.as_str()), ("T", "1970-01-01 00:00:00 UTC"));
            let all: usize = fitted.lines.iter().map(|(name, text)| units(name) + units(text) + 1).sum();
            assert!(all + 2 + 24 <= units_max);
        };
        check(100, &[("", "one"), ("A", "&amp;&amp;&amp;&amp;"), ("B", "12345"), ("C", "never")]);
        check(52, &[("", "one"), ("A", "&amp;&amp;&amp;&amp;")]);
        check(56, &[("", "one"), ("A", "&amp;&amp;&amp;&amp;"), ("B", "1…")]);
        check(47, &[("", "one"), ("A", "&amp;&amp;…")]);
        check(29, &[("", "o…")]);
        check(26, &[]);
    }
}
