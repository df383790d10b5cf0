//! Detects pasted texts that cannot be the receiver's secret, such as a text in quotes.
//!
//! Such a text is refused with a description and never corrected. An accepted text is used unchanged, so that it can be
//! compared with the receiver's secret.

use crate::encoding::{BASE64, PREFIX};
use base64::Engine as _;

/// Quotes that editors and shells put around a text.
const QUOTES: &[char] = &['"', '\'', '`', '\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}', '\u{ab}', '\u{bb}'];

/// Describes why the text cannot be the secret, and what to enter instead. Returns `None` for other texts.
pub(crate) fn wrong_form(secret: &str) -> Option<&'static str> {
    let edge = |c: char| c.is_whitespace() || is_invisible(c);
    let lower = secret.to_ascii_lowercase();
    if secret.starts_with(edge) || secret.ends_with(edge) || secret.contains(is_invisible) {
        return Some("it has a blank at an end, or an invisible character; give only the secret");
    }
    if secret.starts_with(QUOTES) && secret.ends_with(QUOTES) {
        return Some("it is in quotes; give the text between them");
    }
    if lower.starts_with("v1,") || lower.starts_with("v1=") {
        return Some("it begins with the version of a signature; give the text after `v1,`");
    }
    if is_assignment(secret) {
        return Some("it is a line NAME=value; give only the value");
    }
    match lower.find(PREFIX) {
        Some(0) if !secret.starts_with(PREFIX) => return Some("the prefix is whsec_ in lower case"),
        Some(0) | None => {}
        Some(_) => return Some("there is other text before whsec_; begin with whsec_"),
    }
    if lower.starts_with("whsk_") || lower.starts_with("whpk_") {
        return Some("it is a key of ed25519; a shared secret begins with whsec_");
    }
    if lower.starts_with("prk_") {
        return Some("it is an API key of Postrider, which must not be shared; generate a signing secret");
    }
    let first = secret.chars().next();
    if secret.chars().all(|c| Some(c) == first) {
        return Some("it is one character repeated, as a masked secret is shown; give the secret itself");
    }
    None
}

/// Returns why a text without `whsec_` is refused if `webhook-signature` is the only signature.
pub(crate) fn without_prefix(secret: &str) -> &'static str {
    if BASE64.decode(secret).is_ok() {
        "it is base64 without the prefix; if webhook-signature is the only signature, a secret begins with whsec_"
    } else {
        "if webhook-signature is the only signature, a secret is whsec_ and base64 of 16 to 64 bytes"
    }
}

/// Whether the text is `NAME=value` or `export NAME=value`, as in a shell. Base64 that ends in `=` is not an assignment.
fn is_assignment(text: &str) -> bool {
    let text = text.strip_prefix("export ").unwrap_or(text);
    let Some((name, value)) = text.split_once('=') else { return false };
    let legal = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    !name.is_empty() && name.chars().all(legal) && !value.trim_matches('=').is_empty()
}

/// Whether the character is invisible.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pasted_forms_are_described() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let check = |text: String, word: &str| {
            let said = wrong_form(&text);
            assert!(said.is_some_and(|said| said.contains(word)), "{text:?}: {said:?}");
        };
        check(format!(" {secret}"), "blank");
        check(format!("{secret}\u{a0}"), "blank");
        check(format!("\u{200b}{secret}"), "invisible");
        check(format!("\"{secret}\""), "quotes");
        check(format!("\u{201c}{secret}\u{201d}"), "quotes");
        check(format!("v1,{secret}"), "v1,");
        check(format!("WEBHOOK_SECRET={secret}"), "NAME=value");
        check("export SECRET=abcdefghijklmnop".into(), "NAME=value");
        check(secret.to_ascii_uppercase(), "lower case");
        check(format!("secret: {secret}"), "before whsec_");
        check("whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into(), "ed25519");
        check("whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into(), "ed25519");
        check("prk_0pXk4l1c0tQm7v2yZb8sWn5dRf3hJg6a".into(), "API key");
        check("*".repeat(20), "masked");
        for good in [secret, "my own secret, with blanks = and signs", "QUJDREVGR0hJSktMTU5PUA==", "pässwörd pässwörd"]
        {
            assert_eq!(wrong_form(good), None, "{good}");
        }
    }
}
