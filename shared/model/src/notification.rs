//! Notifications: the readable text of an event, which chat services show to people.
//!
//! Fan-out renders one notification for all endpoints of an event. The dispatcher writes it in the markup of each endpoint's
//! service.

use serde::{Deserialize, Serialize};

use crate::limits::{
    NOTIFICATION_FACT_CHARS_MAX, NOTIFICATION_FACTS_MAX, NOTIFICATION_TEXT_CHARS_MAX, NOTIFICATION_TITLE_CHARS_MAX,
};
use crate::name::is_invisible;
use crate::time::UnixMillis;

/// Maximum number of characters of a fact's name.
const NAME_CHARS_MAX: usize = 64;

/// The readable text of an event. Every text is plain: without markup, control characters and text-direction characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// One line of 1 to [`NOTIFICATION_TITLE_CHARS_MAX`] characters.
    pub title: String,
    /// Lines of at most [`NOTIFICATION_TEXT_CHARS_MAX`] characters together; empty if there is nothing to say but the facts.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// At most [`NOTIFICATION_FACTS_MAX`] values of the event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Fact>,
    /// When the event occurred, in UTC: `2026-01-31 12:00:00 UTC`.
    pub time: String,
}

/// A value of an event with its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// The name for people, one line.
    pub name: String,
    /// The value, one line of at most [`NOTIFICATION_FACT_CHARS_MAX`] characters.
    pub value: String,
}

impl Notification {
    /// Creates a notification within the limits. Longer texts are cut and end in `…`; further facts are left out.
    pub fn new<'a>(
        title: &str,
        text: &str,
        facts: impl IntoIterator<Item = (&'a str, &'a str)>,
        occurred_at: UnixMillis,
    ) -> Self {
        let lines: Vec<String> = text.lines().map(plain).filter(|line| !line.is_empty()).collect();
        let facts = facts.into_iter().map(|(name, value)| Fact {
            name: cut(&readable(&plain(name)), NAME_CHARS_MAX),
            value: cut(&plain(value), NOTIFICATION_FACT_CHARS_MAX),
        });
        let facts = facts.filter(|fact| !fact.name.is_empty() && !fact.value.is_empty());
        Self {
            title: cut(&plain(title), NOTIFICATION_TITLE_CHARS_MAX),
            text: cut(&lines.join("\n"), NOTIFICATION_TEXT_CHARS_MAX),
            facts: facts.take(NOTIFICATION_FACTS_MAX).collect(),
            time: occurred_at.to_rfc3339_seconds().replace('T', " ").replace('Z', " UTC"),
        }
    }
}

/// Returns the text in one line without characters that are invisible or change the direction of text. Joiners remain, because
/// emoji and some scripts need them.
fn plain(text: &str) -> String {
    let is_joiner = |c: char| matches!(c, '\u{200c}' | '\u{200d}');
    let visible = text.chars().filter(|c| is_joiner(*c) || !is_invisible(*c) || matches!(c, '\u{2028}' | '\u{2029}'));
    let visible: String = visible.map(|c| if c.is_control() { ' ' } else { c }).collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns a member's name as people write it: `broadcast_name` becomes `Broadcast name`.
fn readable(name: &str) -> String {
    let words = name.replace(['_', '-'], " ");
    let mut letters = words.trim().chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Cuts a text between characters. A text that is cut ends in `…`.
pub fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().nth(chars_max).is_none() {
        return text.to_owned();
    }
    text.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_plain_lines_within_the_limits() {
        let facts = [("broadcast_name", "a\nb\u{202e}c\u{0}"), ("", "x"), ("n", " "), ("to", &"😀".repeat(301))];
        let made = Notification::new("A\r\nB", "one\n\n two \u{2028}three", facts, UnixMillis(1_705_314_600_000));
        assert_eq!((made.title.as_str(), made.text.as_str()), ("A B", "one\ntwo three"));
        assert_eq!(made.time, "2024-01-15 10:30:00 UTC");
        assert_eq!(made.facts[0], Fact { name: "Broadcast name".into(), value: "a bc".into() });
        assert_eq!((made.facts.len(), made.facts[1].value.chars().count()), (2, NOTIFICATION_FACT_CHARS_MAX));
        assert!(made.facts[1].value.ends_with("😀…"));
        let many: Vec<String> = (0..99).map(|n| n.to_string()).collect();
        let many = many.iter().map(|n| (n.as_str(), n.as_str()));
        let made = Notification::new(&"ü".repeat(151), &"x".repeat(1_001), many, UnixMillis(0));
        assert_eq!((made.title.chars().count(), made.text.chars().count(), made.facts.len()), (150, 1_000, 16));
    }
}
