//! Reads the section `brand`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path};

use postrider_model::brand::{Brand, Logo};
use postrider_model::limits::BRAND_LOGO_BYTES_MAX;
use toml::Spanned;

use super::schema::BrandFields;
use super::{Around, TomlDocument};
use crate::error::ProfileError;

/// Reads the brand.
pub(super) fn brand(doc: &TomlDocument<'_>, fields: &BrandFields, around: &Around<'_>) -> Result<Brand, ProfileError> {
    let text = |at: &Option<Spanned<String>>| at.as_ref().map(|at| at.get_ref().clone());
    let logo = |at: &Spanned<String>| {
        let data_url = if at.get_ref().starts_with("data:") {
            Ok(at.get_ref().clone())
        } else {
            image(at.get_ref(), around.folder)
        };
        data_url.map_err(|detail| doc.error(at, "brand.logo", detail))
    };
    let brand = Brand {
        name: text(&fields.name),
        accent: text(&fields.accent),
        logo: fields.logo.as_ref().map(logo).transpose()?,
        docs_url: text(&fields.docs_url),
        support_url: text(&fields.support_url),
        language: text(&fields.language),
        terms: fields.terms.as_ref().map(|at| at.get_ref().clone()).unwrap_or_default(),
    };
    let Some(mistake) = brand.mistakes(around.languages).into_iter().next() else { return Ok(brand) };
    let places = [
        ("name", &fields.name),
        ("accent", &fields.accent),
        ("logo", &fields.logo),
        ("docs_url", &fields.docs_url),
        ("support_url", &fields.support_url),
        ("language", &fields.language),
    ];
    let place = places.into_iter().find_map(|(name, at)| at.as_ref().filter(|_| name == mistake.field));
    let field = format!("brand.{}", mistake.field);
    let terms = fields.terms.as_ref().map_or(0, |at| at.span().start);
    let start = place.map_or(terms, |at| at.span().start);
    Err(doc.at(start, &field, mistake.detail))
}

/// Returns the image file of this name in the folder of profiles, as a data URL.
fn image(name: &str, folder: Option<&Path>) -> Result<String, String> {
    let mut parts = Path::new(name).components();
    let (Some(folder), Some(Component::Normal(file)), None) = (folder, parts.next(), parts.next()) else {
        return Err("the name of a PNG or SVG file next to this one, or data:image/png;base64,…".into());
    };
    let bytes = read(&folder.join(file)).map_err(|error| format!("cannot read {name}: {error}"))?;
    Ok(Logo::new(bytes).map_err(|error| format!("{name}: {error}"))?.data_url())
}

/// Reads a file, but at most one byte more than a logo may have.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(BRAND_LOGO_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
