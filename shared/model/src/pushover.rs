//! Pushover, the channel to a customer's phone: its sounds, and the message that stands for an event there.

use serde::{Deserialize, Serialize};

use crate::limits::{PUSHOVER_MESSAGE_CHARS_MAX, PUSHOVER_TITLE_CHARS_MAX};

/// What a customer selects, and what Pushover calls it. Two of them are silent: `Mute` and `None`.
const SOUNDS: [(&str, &str); 24] = [
    ("Mute", "none"),
    ("Vibrate", "vibrate"),
    ("Pushover", "pushover"),
    ("Bike", "bike"),
    ("Bugle", "bugle"),
    ("Cash Register", "cashregister"),
    ("Classical", "classical"),
    ("Cosmic", "cosmic"),
    ("Falling", "falling"),
    ("Gamelan", "gamelan"),
    ("Incoming", "incoming"),
    ("Intermission", "intermission"),
    ("Magic", "magic"),
    ("Mechanical", "mechanical"),
    ("Piano Bar", "pianobar"),
    ("Siren", "siren"),
    ("Space Alarm", "spacealarm"),
    ("Tug Boat", "tugboat"),
    ("Alien Alarm", "alien"),
    ("Climb", "climb"),
    ("Persistent", "persistent"),
    ("Echo", "echo"),
    ("Up Down", "updown"),
    ("None", "none"),
];

/// A sound that Pushover can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sound {
    /// As customers select it, such as `Tug Boat`.
    pub name: &'static str,
    /// As Pushover names it, such as `tugboat`.
    pub wire: &'static str,
}

impl Sound {
    /// Every sound, in the order that customers are offered them.
    pub fn all() -> impl Iterator<Item = Self> {
        SOUNDS.iter().map(|(name, wire)| Self { name, wire })
    }

    /// The sound of this name; case counts.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|sound| sound.name == name)
    }
}

/// What a phone shows: the body of a delivery to Pushover. Holds no credentials; who sends it adds them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushoverMessage {
    /// At most [`PUSHOVER_TITLE_CHARS_MAX`] characters.
    pub title: String,
    /// 1 to [`PUSHOVER_MESSAGE_CHARS_MAX`] characters.
    pub message: String,
    /// When the event occurred, Unix seconds: shown instead of the time of arrival.
    pub timestamp: i64,
}

impl PushoverMessage {
    /// A message within Pushover's limits: texts are cut between characters, and one that was cut ends in `…`.
    pub fn new(title: &str, message: &str, timestamp: i64) -> Self {
        let title = cut(title.trim(), PUSHOVER_TITLE_CHARS_MAX);
        Self { title, message: cut(message.trim(), PUSHOVER_MESSAGE_CHARS_MAX), timestamp }
    }
}

fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().nth(chars_max).is_none() {
        return text.to_owned();
    }
    text.chars().take(chars_max - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_24_sounds_and_mute_and_none_are_silent() {
        assert_eq!(Sound::all().count(), 24);
        let wire = |name| Sound::named(name).map(|sound| sound.wire);
        assert_eq!((wire("Mute"), wire("None"), wire("Vibrate")), (Some("none"), Some("none"), Some("vibrate")));
        assert_eq!((wire("Tug Boat"), wire("tugboat"), wire("")), (Some("tugboat"), None, None));
        let silent = Sound::all().filter(|sound| sound.wire == "none");
        assert_eq!(silent.count(), 2);
    }

    #[test]
    fn texts_are_cut_between_characters_at_250_and_1024() {
        let check = |title: &str, message: &str, expected: (usize, usize)| {
            let cut = PushoverMessage::new(title, message, 0);
            assert_eq!((cut.title.chars().count(), cut.message.chars().count()), expected);
            cut
        };
        let whole = check(&"ü".repeat(250), &"😀".repeat(1_024), (250, 1_024));
        assert!(!whole.title.contains('…') && !whole.message.contains('…'));
        let cut = check(&"ü".repeat(251), &"😀".repeat(1_025), (250, 1_024));
        assert!(cut.title.ends_with("ü…") && cut.message.ends_with("😀…"));
    }
}
