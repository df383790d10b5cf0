//! Languages of the dashboard's pages: translations of English texts.
//!
//! A page's text in English is also the key of its translations, so English needs no file. The built-in file of German has every
//! text of the pages that customers see. It is therefore also the list of all texts: another language file may translate these
//! texts only.
//!
//! A text may contain placeholders, such as `{count}`. [`pieces`] finds them. A translation has the same placeholders as its
//! text. The words of [`Terms`] are placeholders too, such as `{webhook}`, or `{Webhook}` at the start of a sentence. A
//! translation may have any of them.

mod file;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use postrider_model::brand::Terms;

use crate::error::ProfileError;
use crate::toml_files::{self, TomlFile};

/// The folder of language files in the directory of profiles.
const FOLDER: &str = "languages";
/// The language of the texts in the source.
const ENGLISH: &str = "en";
/// The language files in the binary. The first one defines the texts of all pages.
const BUILT_IN: [(&str, &str); 1] = [("de", include_str!("../languages/de.toml"))];

/// A language of the dashboard's pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Language {
    tag: String,
    terms: Terms,
    /// The translations by their English texts.
    texts: HashMap<String, String>,
}

impl Language {
    fn new(tag: &str) -> Self {
        Self { tag: tag.to_owned(), terms: Terms::NONE, texts: HashMap::new() }
    }

    /// Its tag (BCP 47), such as `de` or `pt-BR`.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// What the language calls webhooks and endpoints. The words that are not set are English.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The translation of a text; `None` if the language has none.
    pub fn text(&self, english: &str) -> Option<&str> {
        self.texts.get(english).map(String::as_str)
    }

    /// Returns all texts that the language translates, in no particular order.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.texts.keys().map(String::as_str)
    }
}

/// All languages of the deployment, by tag.
#[derive(Debug, Clone)]
pub struct Languages(BTreeMap<String, Arc<Language>>);

impl Languages {
    /// Loads the built-in languages, and the files of the folder `languages` in `dir`, if there is one. Each `<tag>.toml` adds a
    /// language, or changes texts of a built-in language.
    pub(crate) fn load(dir: Option<&Path>) -> Result<Self, ProfileError> {
        let mut languages = BTreeMap::from([(ENGLISH.to_owned(), Language::new(ENGLISH))]);
        let mut known = None;
        for (tag, text) in BUILT_IN {
            let language = file::parse(tag, &format!("{tag}.toml (built-in language)"), text, known.as_ref())?;
            known.get_or_insert_with(|| language.texts.clone());
            languages.insert(tag.to_owned(), language);
        }
        let folder = dir.map(|dir| dir.join(FOLDER)).filter(|folder| folder.exists());
        for TomlFile { name, path, text } in toml_files::read(folder.as_deref())? {
            let Language { tag, terms, texts } = file::parse(&name, &path, &text, known.as_ref())?;
            let language = languages.entry(tag.clone()).or_insert_with(|| Language::new(&tag));
            language.terms = terms.over(&language.terms);
            language.texts.extend(texts);
        }
        Ok(Self(languages.into_iter().map(|(tag, language)| (tag, Arc::new(language))).collect()))
    }

    /// Returns the language with this tag.
    pub fn get(&self, tag: &str) -> Option<&Arc<Language>> {
        self.0.get(tag)
    }

    /// Returns the tags of all languages, for messages.
    pub fn tags(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

/// A piece of a text of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A part without placeholders.
    Literal(&'a str),
    /// The name of a placeholder: letters, digits and underscores.
    Placeholder(&'a str),
}

/// Splits a text at its placeholders. A brace that belongs to no placeholder is part of a literal.
pub fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if let Some((name, after)) = placeholder(rest) {
            rest = after;
            return Some(Piece::Placeholder(name));
        }
        if rest.is_empty() {
            return None;
        }
        let begins = |at: &usize| placeholder(&rest[*at..]).is_some();
        let end = rest.match_indices('{').map(|(at, _)| at).find(begins).unwrap_or(rest.len());
        let (literal, after) = rest.split_at(end);
        rest = after;
        Some(Piece::Literal(literal))
    })
}

/// The name of the placeholder at the start of a text, and the rest of the text.
fn placeholder(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.strip_prefix('{')?.split_once('}')?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then_some((name, rest))
}

/// Whether a placeholder is a word of [`Terms`], such as `webhook` or `Webhook`.
pub fn is_term(name: &str) -> bool {
    Terms::NAMES.iter().any(|term| term.eq_ignore_ascii_case(name) && name[1..] == term[1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_split_at_its_placeholders() {
        use Piece::{Literal, Placeholder};
        let check =
            |text: &str, expected: &[Piece<'_>]| assert_eq!(pieces(text).collect::<Vec<_>>(), expected, "{text}");
        check("", &[]);
        check("plain", &[Literal("plain")]);
        check("{a}{b_2} c", &[Placeholder("a"), Placeholder("b_2"), Literal(" c")]);
        check("ä {Webhook}.", &[Literal("ä "), Placeholder("Webhook"), Literal(".")]);
        check("{ {} {a b} {a", &[Literal("{ {} {a b} {a")]);
        check("{{a}}", &[Literal("{"), Placeholder("a"), Literal("}")]);
    }

    #[test]
    fn a_term_may_begin_with_a_capital_letter() {
        assert!(["webhook", "Webhooks", "endpoint", "Endpoints"].into_iter().all(is_term));
        assert!(!["WEBHOOK", "webHook", "hook", "", "count"].into_iter().any(is_term));
    }
}
