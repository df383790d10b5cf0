//! Reads a language file and checks it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use postrider_model::brand::Terms;
use serde::Deserialize;
use toml::Spanned;

use super::{Language, Piece, is_term, pieces};
use crate::error::ProfileError;
use crate::file::TomlDocument;

/// Maximum number of characters of a known text in an error message.
const SHOWN_CHARS: usize = 80;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    terms: Option<Spanned<Terms>>,
    #[serde(default)]
    texts: BTreeMap<String, Spanned<String>>,
}

/// Reads a language file. `known` has the texts of all pages; `None` for the file that defines them.
pub(super) fn parse(
    tag: &str,
    path: &str,
    text: &str,
    known: Option<&HashMap<String, String>>,
) -> Result<Language, ProfileError> {
    let doc = TomlDocument { file: path, text };
    if !is_tag(tag) {
        let detail = "the file's name is the language's tag, such as de.toml, pt-BR.toml or zh-Hant.toml";
        return Err(doc.at(0, "", detail));
    }
    let file: File = toml::from_str(text).map_err(|error| doc.unreadable(&error))?;
    let terms = match &file.terms {
        Some(terms) => match terms.get_ref().mistakes().into_iter().next() {
            Some((name, detail)) => return Err(doc.error(terms, &format!("terms.{name}"), detail)),
            None => terms.get_ref().clone(),
        },
        None => Terms::NONE,
    };
    let mut texts = HashMap::new();
    for (english, translation) in file.texts {
        let field = format!("texts.{english:?}");
        if let Some(known) = known
            && !known.contains_key(&english)
        {
            return Err(doc.error(&translation, &field, unknown(&english, known)));
        }
        check(&english, translation.get_ref()).map_err(|detail| doc.error(&translation, &field, detail))?;
        texts.insert(english, translation.into_inner());
    }
    Ok(Language { tag: tag.to_owned(), terms, texts })
}

/// Whether a text has the form of a language tag: a language of two to eight letters, and subtags after hyphens.
fn is_tag(tag: &str) -> bool {
    let mut parts = tag.split('-');
    let language = parts.next().unwrap_or_default();
    let is_language = (2..=8).contains(&language.len()) && language.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_subtag = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_language && parts.all(is_subtag)
}

/// The error for a text that no page has. It names the known text with the longest common beginning.
fn unknown(english: &str, known: &HashMap<String, String>) -> String {
    let common = |text: &str| text.chars().zip(english.chars()).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
    let similar = known.keys().map(|text| (common(text), text)).max();
    let hint = match similar {
        Some((3.., text)) => format!("; a similar text is “{}”", text.chars().take(SHOWN_CHARS).collect::<String>()),
        _ => String::new(),
    };
    format!("no page has this text{hint}. The built-in de.toml has all texts")
}

/// Checks a translation: it has text, and the placeholders of the English text.
fn check(english: &str, translation: &str) -> Result<(), String> {
    if translation.trim().is_empty() || translation.chars().any(char::is_control) {
        return Err("a text without control characters, not only spaces".into());
    }
    let names = |text: &str| -> BTreeSet<String> {
        let names = pieces(text).filter_map(|piece| match piece {
            Piece::Placeholder(name) if !is_term(name) => Some(name.to_owned()),
            _ => None,
        });
        names.collect()
    };
    let braces = |piece| matches!(piece, Piece::Literal(text) if text.contains(['{', '}']));
    let (wanted, found) = (names(english), names(translation));
    if wanted == found && !pieces(translation).any(braces) {
        return Ok(());
    }
    let allowed = match wanted.len() {
        0 => "no placeholders".to_owned(),
        _ => wanted.iter().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(", "),
    };
    let terms = Terms::NAMES.map(|name| format!("{{{name}}}")).join(", ");
    Err(format!("must have {allowed}, like the English text, and may have {terms}, also with a capital letter"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tag: &str, text: &str) -> Result<Language, String> {
        let known = ["Save", "{count} attempts", "Add a {webhook}"].map(|text| (text.to_owned(), text.to_owned()));
        parse(tag, "x.toml", text, Some(&known.into())).map_err(|error| error.to_string())
    }

    #[test]
    fn a_language_has_terms_and_translations() {
        let text = "[terms]\nwebhook = \"rappel\"\nwebhooks = \"rappels\"\n[texts]\n\"Save\" = \"Enregistrer\"\n\
                    \"{count} attempts\" = \"{count} essais du {webhook}\"\n\"Add a {webhook}\" = \"Ajouter\"\n";
        let french = read("fr", text).unwrap();
        assert_eq!((french.tag(), french.terms().get("webhooks")), ("fr", Some("rappels")));
        assert_eq!(french.text("{count} attempts"), Some("{count} essais du {webhook}"));
        assert_eq!(french.text("Delete"), None, "a text without a translation");
        assert!(read("fr", "").unwrap().texts().next().is_none());
    }

    #[test]
    fn a_mistake_is_reported_with_its_line_and_text() {
        let check = |text: &str, expected: &str| {
            let error = read("fr", text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        };
        check(
            "[texts]\n\"Sava\" = \"x\"\n",
            "x.toml, line 2, texts.\"Sava\": no page has this text; a similar text is “Save”",
        );
        check("[texts]\n\"Save\" = \" \"\n", "line 2, texts.\"Save\": a text");
        check("[texts]\n\"Save\" = \"{count}\"\n", "line 2, texts.\"Save\": must have no placeholders");
        check("[texts]\n\"Save\" = \"a}\"\n", "must have no placeholders");
        check(
            "[texts]\n\n\"{count} attempts\" = \"{cuont} essais\"\n",
            "line 3, texts.\"{count} attempts\": must have {count}",
        );
        check("[texts]\n\"Save\" = 7\n", "line 2");
        check("[texts]\n\"Save\" \"x\"\n", "line 2");
        check("[text]\n", "unknown field `text`, expected `terms` or `texts`");
        check("[terms]\nwebhook = \"a\"\n", "line 1, terms.webhooks: must be set together with webhook");
        check("[terms]\nhook = \"a\"\n", "expected one of");
    }

    #[test]
    fn the_name_of_a_file_is_a_language_tag() {
        for good in ["de", "pt-BR", "zh-Hant-TW", "sr-Latn", "gsw"] {
            assert!(read(good, "").is_ok(), "{good}");
        }
        for bad in ["", "d", "DE", "deutsch_neu", "de-", "de--x", "languages", "toolonglang", "de-toolonglang"] {
            assert!(read(bad, "").unwrap_err().contains("the language's tag"), "{bad}");
        }
    }
}
