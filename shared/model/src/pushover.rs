//! Pushover, the channel to a customer's phone: its sounds and the message for an event.

use serde::{Deserialize, Serialize};

use crate::limits::{PUSHOVER_MESSAGE_CHARS_MAX, PUSHOVER_TITLE_CHARS_MAX};
use crate::notification::cut;

/// The name of each sound for customers, and its name at Pushover. `Mute` and `None` are silent.
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

/// A sound of Pushover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sound {
    /// The name that customers select, such as `Tug Boat`.
    pub name: &'static str,
    /// The sound's name at Pushover, such as `tugboat`.
    pub wire: &'static str,
}

impl Sound {
    /// Every sound, in the order of the form.
    pub fn all() -> impl Iterator<Item = Self> {
        SOUNDS.iter().map(|(name, wire)| Self { name, wire })
    }

    /// Finds the sound with this name; case-sensitive.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|sound| sound.name == name)
    }
}

/// The body of a delivery to Pushover, which a phone displays. The dispatcher adds the credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushoverMessage {
    /// At most [`PUSHOVER_TITLE_CHARS_MAX`] characters.
    pub title: String,
    /// 1 to [`PUSHOVER_MESSAGE_CHARS_MAX`] characters.
    pub message: String,
    /// When the event occurred, in Unix seconds. The phone displays this time instead of the time of arrival.
    pub timestamp: i64,
}

impl PushoverMessage {
    /// Creates a message within Pushover's limits: longer texts are truncated and end in `…`.
    pub fn new(title: &str, message: &str, timestamp: i64) -> Self {
        let title = cut(title.trim(), PUSHOVER_TITLE_CHARS_MAX);
        Self { title, message: cut(message.trim(), PUSHOVER_MESSAGE_CHARS_MAX), timestamp }
    }
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
