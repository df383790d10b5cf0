//! The texts of a page, in the language and with the terms of the page's brand.
//!
//! The English text is the key: `t!("Save")` is "Save" on an English page, and its translation on another page. A text without a
//! translation stays English. Values are named: `t!("Timeout: {seconds} s", seconds = 5)`. A number selects one of two texts:
//! `t!(n, "{count} event", "{count} events")` shows the first for 1, the second for all other numbers, and `count` is the number.
//! `tm!` is the same for values that are markup, such as links, and returns markup. Text of a translation never becomes markup.
//!
//! The words of a brand are placeholders that need no value: `{webhook}`, `{webhooks}`, `{endpoint}` and `{endpoints}`, with a
//! capital letter at the start of a sentence.
//!
//! `key!("Save")` marks a text in a table of constants, which [`text`] translates later. A test compares the texts in these macros
//! with the built-in language file.

mod scripts;

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::Arc;

use maud::{Markup, PreEscaped, Render, html};
use postrider_model::brand::Terms;
use postrider_profiles::{Language, Piece, pieces};

pub(crate) use self::scripts::script_texts;
use crate::document::page_brand;
use crate::format;

/// A text of a page.
pub(crate) type Text = Cow<'static, str>;

/// The language and the terms of a page.
#[derive(Debug, Clone, Default)]
pub(crate) struct Words {
    /// `None` for English without a language file.
    pub(crate) language: Option<Arc<Language>>,
    /// The terms of the brand. Where they are not set, the terms of the language apply.
    pub(crate) terms: Terms,
}

impl Words {
    /// The language's tag, for the attribute `lang`.
    pub(crate) fn tag(&self) -> &str {
        self.language.as_ref().map_or("en", |language| language.tag())
    }

    /// Whether the texts of pages are those in the source.
    pub(crate) fn is_default(&self) -> bool {
        self.language.is_none() && self.terms.is_empty()
    }

    fn template<'a>(&'a self, english: &'a str) -> &'a str {
        self.language.as_ref().and_then(|language| language.text(english)).unwrap_or(english)
    }

    /// The word for a placeholder such as `webhook` or `Webhook`; `None` if the placeholder is not a term.
    fn term(&self, name: &str) -> Option<String> {
        let lower = name.to_ascii_lowercase();
        let of_language = || self.language.as_ref().and_then(|language| language.terms().get(&lower));
        let english = || Terms::NAMES.into_iter().find(|term| *term == lower);
        let word = self.terms.get(&lower).or_else(of_language).or_else(english)?;
        Some(if name == lower { word.to_owned() } else { format::capitalised(word) })
    }
}

/// Returns a text in the page's language.
pub(crate) fn text(english: &'static str) -> Text {
    filled(english, &[])
}

/// Returns a text in the page's language, with the values of its placeholders.
pub(crate) fn filled(english: &'static str, values: &[(&str, &dyn Display)]) -> Text {
    let brand = page_brand();
    let template = brand.words.template(english);
    if !template.contains('{') {
        return if brand.words.language.is_none() { english.into() } else { template.to_owned().into() };
    }
    let mut out = String::with_capacity(template.len() + 16);
    for piece in pieces(template) {
        match piece {
            Piece::Literal(literal) => out.push_str(literal),
            Piece::Placeholder(name) => match values.iter().find(|(known, _)| *known == name) {
                Some((_, value)) => out.push_str(&value.to_string()),
                None => out.push_str(&word(&brand.words, name)),
            },
        }
    }
    out.into()
}

/// Like [`filled`], with markup as values.
pub(crate) fn filled_markup(english: &'static str, values: &[(&str, &dyn Render)]) -> Markup {
    let brand = page_brand();
    let mut out = String::new();
    for piece in pieces(brand.words.template(english)) {
        match piece {
            Piece::Literal(literal) => literal.render_to(&mut out),
            Piece::Placeholder(name) => match values.iter().find(|(known, _)| *known == name) {
                Some((_, value)) => value.render_to(&mut out),
                None => word(&brand.words, name).render_to(&mut out),
            },
        }
    }
    PreEscaped(out)
}

/// The word for a placeholder without a value. A test of all texts makes sure that the placeholder is a term.
fn word(words: &Words, name: &str) -> String {
    words.term(name).unwrap_or_else(|| format!("{{{name}}}"))
}

/// A text that is always English, such as the error of an operation. On a page in another language, the attribute `lang` says so.
pub(crate) fn english(text: impl Render) -> Markup {
    let is_english = page_brand().words.tag() == "en";
    html! { @if is_english { (text) } @else { span lang="en" { (text) } } }
}

/// A text of a page: see [`language`](crate::language).
macro_rules! t {
    ($english:literal $(, $name:ident = $value:expr)* $(,)?) => {
        $crate::language::filled($english, &[$((stringify!($name), &$value)),*])
    };
    ($number:expr, $one:literal, $other:literal $(, $name:ident = $value:expr)* $(,)?) => {{
        let number: u64 = $number;
        let english = if number == 1 { $one } else { $other };
        $crate::language::filled(english, &[("count", &$crate::format::count(number)) $(, (stringify!($name), &$value))*])
    }};
}

/// A text of a page with markup as values: see [`language`](crate::language).
macro_rules! tm {
    ($english:literal $(, $name:ident = $value:expr)* $(,)?) => {
        $crate::language::filled_markup($english, &[$((stringify!($name), &$value)),*])
    };
    ($number:expr, $one:literal, $other:literal $(, $name:ident = $value:expr)* $(,)?) => {{
        let number: u64 = $number;
        let english = if number == 1 { $one } else { $other };
        let values: &[(&str, &dyn ::maud::Render)] =
            &[("count", &$crate::format::count(number)) $(, (stringify!($name), &$value))*];
        $crate::language::filled_markup(english, values)
    }};
}

/// Marks a text that [`text`](crate::language::text) translates later.
macro_rules! key {
    ($english:literal) => {
        $english
    };
}

pub(crate) use {key, t, tm};

#[cfg(test)]
mod tests {
    use postrider_model::brand::Terms;
    use postrider_operations::portal::Place;

    use super::*;
    use crate::brand::PageBrand;
    use crate::document::shown_in;

    /// Shows texts on a page with these terms.
    async fn with(terms: Terms, shown: impl Fn() -> String) -> String {
        let words = Words { language: None, terms };
        shown_in(Place::Tab, Arc::new(PageBrand::of_words(words)), async { shown() }).await
    }

    #[tokio::test]
    async fn english_pages_have_the_texts_of_the_source() {
        let texts = || {
            assert!(matches!(t!("Save"), Cow::Borrowed("Save")), "no copy");
            [
                t!("Add a {webhook}"),
                t!("{Webhooks} of {name}", name = "<b>"),
                t!(1, "{count} event", "{count} events"),
                t!(1_200, "{count} event", "{count} events"),
            ]
            .join("|")
        };
        assert_eq!(with(Terms::NONE, texts).await, "Add a webhook|Webhooks of <b>|1 event|1,200 events");
    }

    #[tokio::test]
    async fn terms_replace_the_words_and_values_of_markup_stay_markup() {
        let terms = Terms { webhook: Some("<postback>".into()), webhooks: Some("postbacks".into()), ..Terms::NONE };
        let texts = || {
            let link = html! { a href="/x" { "y & z" } };
            format!(
                "{} {}",
                t!("{Webhooks}:"),
                tm!(2, "{count} {webhook}", "{Webhook} & {count} {link}", link = link).0
            )
        };
        assert_eq!(with(terms, texts).await, "Postbacks: &lt;postback&gt; &amp; 2 <a href=\"/x\">y &amp; z</a>");
    }
}
