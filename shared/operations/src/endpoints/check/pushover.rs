//! An endpoint of the channel Pushover.

use postrider_model::pushover::Sound;
use postrider_store::config::EndpointDraft;
use secrecy::ExposeSecret;

use super::{no_chat, only_web};
use crate::error::Mistakes;

/// Number of characters of a Pushover key or token.
const PUSHOVER_KEY_CHARS: usize = 30;

/// Requires credentials and a sound, and refuses fields that apply only to endpoints with a URL.
pub(super) fn check(draft: &EndpointDraft, mistakes: &mut Mistakes) {
    let document = &draft.document;
    only_web(draft, mistakes);
    no_chat(draft, mistakes);
    let Some(credentials) = &draft.private.pushover else {
        return mistakes.add("/pushover", "the channel pushover needs user_key, api_token and sound");
    };
    let keys = [("/pushover/user_key", &credentials.user_key), ("/pushover/api_token", &credentials.api_token)];
    for (pointer, key) in keys {
        let key = key.expose_secret();
        if key.len() != PUSHOVER_KEY_CHARS || !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            mistakes.add(pointer, format!("{PUSHOVER_KEY_CHARS} letters and digits, as Pushover shows it"));
        }
    }
    if document.sound.as_deref().and_then(Sound::named).is_none() {
        let sounds: Vec<&str> = Sound::all().map(|sound| sound.name).collect();
        mistakes.add("/pushover/sound", format!("no such sound; there are: {}", sounds.join(", ")));
    }
}
