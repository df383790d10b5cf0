//! Brands: what makes the dashboard look like one product.
//!
//! A profile's file and a tenant may each have a brand. The tenant's fields override the profile's fields.

mod accent;
mod logo;
mod terms;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::accent::{Accent, InvalidAccent};
pub use self::logo::{ImageFormat, InvalidLogo, Logo};
pub use self::terms::Terms;
use crate::limits::URL_BYTES_MAX;
use crate::name::check_name;

/// The brand of the pages that customers see in the dashboard. Each field is optional.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Brand {
    /// The product's name, 1 to 200 bytes. Pages show it instead of "Postrider".
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "Acme"))]
    pub name: Option<String>,
    /// The colour of links and buttons, as `#rrggbb`. Pages darken or lighten it where text would be hard to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "#0a7d4f"))]
    pub accent: Option<String>,
    /// The logo, a PNG or SVG image of at most 16 KiB as a data URL in base64. Pages show it next to the name, 24 pixels high.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(example = "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciLz4=")
    )]
    pub logo: Option<String>,
    /// The address of the product's documentation (`https`, `http` or `mailto`), a link in the navigation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "https://docs.acme.example/webhooks"))]
    pub docs_url: Option<String>,
    /// Where the product's customers get help (`https`, `http` or `mailto`), a link in the navigation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "mailto:support@acme.example"))]
    pub support_url: Option<String>,
    /// The language of the pages, such as `de`: a built-in language, or a language file of the operator. Default: English.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "de"))]
    pub language: Option<String>,
    /// What the product calls its webhooks and endpoints.
    #[serde(default, skip_serializing_if = "Terms::is_empty")]
    pub terms: Terms,
}

/// A field of a brand with a wrong value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrandMistake {
    /// The field's name; a dot separates the names of nested fields, such as `terms.webhook`.
    pub field: String,
    /// What is allowed.
    pub detail: String,
}

impl Brand {
    /// The names of the fields.
    const FIELDS: [&'static str; 7] = ["name", "accent", "logo", "docs_url", "support_url", "language", "terms"];
    /// No field is set.
    pub const NONE: Self = Self {
        name: None,
        accent: None,
        logo: None,
        docs_url: None,
        support_url: None,
        language: None,
        terms: Terms::NONE,
    };

    /// Reads a stored brand. Leaves out the fields that a later release may have added, so that a release can be replaced by the one
    /// before it.
    ///
    /// # Errors
    /// A field has a value of the wrong type.
    pub fn stored(mut value: Value) -> Result<Self, serde_json::Error> {
        if let Some(brand) = value.as_object_mut() {
            brand.retain(|name, _| Self::FIELDS.contains(&name.as_str()));
            if let Some(terms) = brand.get_mut("terms").and_then(Value::as_object_mut) {
                terms.retain(|name, _| Terms::NAMES.contains(&name.as_str()));
            }
        }
        serde_json::from_value(value)
    }

    /// Whether no field is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// Returns this brand, with the values of `below` in the fields that this brand does not set.
    #[must_use]
    pub fn over(self, below: &Self) -> Self {
        Self {
            name: self.name.or_else(|| below.name.clone()),
            accent: self.accent.or_else(|| below.accent.clone()),
            logo: self.logo.or_else(|| below.logo.clone()),
            docs_url: self.docs_url.or_else(|| below.docs_url.clone()),
            support_url: self.support_url.or_else(|| below.support_url.clone()),
            language: self.language.or_else(|| below.language.clone()),
            terms: self.terms.over(&below.terms),
        }
    }

    /// Returns the fields with wrong values, in the order of the struct. `languages` are the known languages.
    pub fn mistakes(&self, languages: &[&str]) -> Vec<BrandMistake> {
        let accent = |text: &str| text.parse::<Accent>().map(drop).map_err(|error| error.to_string());
        let logo = |text: &str| text.parse::<Logo>().map(drop).map_err(|error| error.to_string());
        let language = |tag: &str| {
            let known = languages.contains(&tag);
            known.then_some(()).ok_or_else(|| format!("no such language; there are: {}", languages.join(", ")))
        };
        let fields = [
            ("name", self.name.as_deref().map(check_name)),
            ("accent", self.accent.as_deref().map(accent)),
            ("logo", self.logo.as_deref().map(logo)),
            ("docs_url", self.docs_url.as_deref().map(check_link)),
            ("support_url", self.support_url.as_deref().map(check_link)),
            ("language", self.language.as_deref().map(language)),
        ];
        let wrong = |(field, checked): (&str, Option<Result<(), String>>)| {
            checked.and_then(Result::err).map(|detail| BrandMistake { field: field.to_owned(), detail })
        };
        let terms = self.terms.mistakes().into_iter();
        let terms = terms.map(|(name, detail)| BrandMistake { field: format!("terms.{name}"), detail });
        fields.into_iter().filter_map(wrong).chain(terms).collect()
    }
}

/// Checks the address of a link. Pages use the address unchanged, so it must not be a script.
fn check_link(link: &str) -> Result<(), String> {
    let server = link.strip_prefix("https://").or_else(|| link.strip_prefix("http://"));
    let target = server.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let target = target.or_else(|| link.strip_prefix("mailto:"));
    let plain = link.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte));
    if plain && link.len() <= URL_BYTES_MAX && target.is_some_and(|target| !target.is_empty()) {
        return Ok(());
    }
    Err(format!(
        "an address that begins with https://, http:// or mailto:, at most {URL_BYTES_MAX} bytes, percent-encoded"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_brand_is_read_without_the_fields_of_a_later_release() {
        let terms = Terms { webhook: Some("hook".into()), webhooks: Some("hooks".into()), ..Terms::NONE };
        let whole = Brand { name: Some("Acme".into()), language: Some("de".into()), terms, ..Brand::NONE };
        let mut stored = serde_json::to_value(&whole).unwrap();
        stored["later"] = true.into();
        stored["terms"]["later"] = "x".into();
        assert_eq!(Brand::stored(stored).unwrap(), whole);
        let every = serde_json::json!({"name": "a", "accent": "b", "logo": "c", "docs_url": "d", "support_url": "e", "language": "f",
                                       "terms": {"webhook": "g", "webhooks": "h", "endpoint": "i", "endpoints": "j"}});
        assert_eq!(serde_json::to_value(Brand::stored(every.clone()).unwrap()).unwrap(), every, "every field is read");
    }

    #[test]
    fn a_link_leads_to_a_server_or_a_mailbox() {
        for good in ["https://docs.acme.example/a?b=c#d", "http://127.0.0.1:8080", "mailto:help@acme.example"] {
            assert_eq!(check_link(good), Ok(()), "{good}");
        }
        let long = format!("https://acme.example/{}", "x".repeat(URL_BYTES_MAX));
        for bad in [
            "",
            "docs.acme.example",
            "/docs",
            "//acme.example",
            "javascript:alert(1)",
            "data:text/html,x",
            "https://",
            "https:///x",
            "mailto:",
            "https://acme.example/a b",
            "https://acme.example/\"onclick=",
            "https://acme.example/ä",
            &long,
        ] {
            assert!(check_link(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_wrong_field_is_named() {
        let text = |text: &str| Some(text.to_owned());
        let wrong = Brand {
            name: text(" "),
            accent: text("red"),
            logo: text("logo.png"),
            docs_url: text("docs"),
            support_url: text("javascript:x"),
            language: text("xx"),
            terms: Terms { webhook: text(""), webhooks: text("hooks"), ..Terms::NONE },
        };
        let mistakes = wrong.mistakes(&["de", "en"]);
        let fields: Vec<&str> = mistakes.iter().map(|mistake| mistake.field.as_str()).collect();
        assert_eq!(fields, ["name", "accent", "logo", "docs_url", "support_url", "language", "terms.webhook"]);
        assert_eq!(mistakes[5].detail, "no such language; there are: de, en");
        assert!(Brand::default().mistakes(&[]).is_empty());
    }

    #[test]
    fn a_brand_overrides_another_one_field_by_field() {
        let profiles = Brand { name: Some("Acme".into()), accent: Some("#000000".into()), ..Brand::default() };
        let own =
            Brand { accent: Some("#ffffff".into()), docs_url: Some("https://a.example".into()), ..Brand::default() };
        let both = own.over(&profiles);
        assert_eq!((both.name.as_deref(), both.accent.as_deref()), (Some("Acme"), Some("#ffffff")));
        assert_eq!((both.docs_url.as_deref(), both.support_url), (Some("https://a.example"), None));
    }
}
