//! Reads a profile file: checks it section by section and builds a [`Profile`].

mod brand;
mod catalog;
mod delivery;
mod envelope;
mod headers;
mod schema;

use std::path::Path;

use postrider_model::json;
use serde_json::value::RawValue;
use toml::Spanned;

use self::brand::brand;
use self::catalog::{catalog, fixed_test, generic_sample, origins};
use self::delivery::{delivery, filters, statuses};
use self::envelope::{batch, envelope};
use self::headers::{headers, scheme, user_agent};
use self::schema::File;
use crate::error::ProfileError;
use crate::profile::Profile;

/// A file's name and text. Positions of mistakes are offsets in the text.
pub(crate) struct TomlDocument<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
}

impl TomlDocument<'_> {
    pub(crate) fn error<T>(&self, at: &Spanned<T>, field: &str, detail: impl ToString) -> ProfileError {
        self.at(at.span().start, field, detail)
    }

    pub(crate) fn at(&self, offset: usize, field: &str, detail: impl ToString) -> ProfileError {
        let before = self.text.as_bytes().iter().take(offset);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        ProfileError::Invalid { file: self.file.into(), line, field: field.into(), detail: detail.to_string() }
    }

    /// Converts an error of the TOML reader, which contains a position. The field's name is read from the line at this position,
    /// or from the error's message if the field is missing. The section's name is read from a line above.
    pub(crate) fn unreadable(&self, error: &toml::de::Error) -> ProfileError {
        let offset = error.span().map_or(0, |span| span.start).min(self.text.len());
        let start = self.text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.text[start..].lines().next().unwrap_or_default();
        let section_of = |line: &str| {
            let inside = line.trim_start().strip_prefix('[')?.trim_start_matches('[');
            Some(inside.split(']').next()?.trim().to_owned())
        };
        let missing = error.message().strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
        let own = section_of(line);
        let key = if own.is_some() { None } else { line.split('=').next().map(str::trim) };
        let above = self.text[..start].lines().rev().find_map(section_of);
        let section = own.or(above).filter(|_| offset > 0);
        let parts = [section.as_deref(), missing.or(key)];
        self.at(offset, &parts.into_iter().flatten().collect::<Vec<_>>().join("."), error.message())
    }

    fn object(&self, at: &Spanned<String>, field: &str) -> Result<Box<RawValue>, ProfileError> {
        let is_json = RawValue::from_string(at.get_ref().clone());
        let raw = is_json.and_then(|raw| RawValue::from_string(json::compact(raw.get())));
        let raw = raw.map_err(|error| self.error(at, field, error))?;
        if raw.get().starts_with('{') { Ok(raw) } else { Err(self.error(at, field, "must be a JSON object")) }
    }

    pub(crate) fn parsed<T: std::str::FromStr<Err: ToString>>(
        &self,
        at: &Spanned<String>,
        field: &str,
    ) -> Result<T, ProfileError> {
        at.get_ref().parse().map_err(|error: T::Err| self.error(at, field, error))
    }
}

/// What a profile's file may name.
pub(crate) struct Around<'a> {
    /// The folder with the images of brands; `None` for built-in profiles.
    pub(crate) folder: Option<&'a Path>,
    /// The tags of the languages.
    pub(crate) languages: &'a [&'a str],
}

/// Reads a profile file.
pub(crate) fn parse(name: &str, file: &str, text: &str, around: &Around<'_>) -> Result<Profile, ProfileError> {
    let doc = TomlDocument { file, text };
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    if !(1..=64).contains(&name.len()) || !name.bytes().all(legal) {
        return Err(doc.at(0, "", "the file's name is the profile's: 1 to 64 of a-z 0-9 _ -, then .toml"));
    }
    let file: File = toml::from_str(text).map_err(|error| doc.unreadable(&error))?;
    if file.description.get_ref().is_empty() {
        return Err(doc.error(&file.description, "description", "must not be empty"));
    }
    let delivery = delivery(&doc, &file.delivery)?;
    let signature = file.signature.as_ref().map(|signature| scheme(&doc, signature.get_ref())).transpose()?;
    let standard = file.headers.standard.get_ref();
    if signature.is_none() && !standard {
        let detail = "a profile needs a signature: leave the standard headers on, or name a signature";
        return Err(doc.error(&file.headers.standard, "headers.standard", detail));
    }
    let catalog = catalog(&doc, &file.catalog)?;
    let profile = Profile {
        name: name.into(),
        description: file.description.into_inner(),
        envelope: envelope(&doc, &file.envelope)?,
        batch: batch(&doc, file.batch)?,
        body: file.body,
        headers: headers(&doc, &file.headers, signature.as_ref())?,
        standard_headers: *standard,
        traceparent: file.headers.traceparent,
        user_agent: user_agent(&doc, file.headers.user_agent)?,
        signature,
        retry_schedule: delivery.schedule,
        jitter_max: delivery.jitter_max,
        retry_after_max: delivery.retry_after_max,
        timeout: delivery.timeout,
        statuses: statuses(&doc, &file.statuses)?,
        url_rule: file.delivery.url,
        attributes: filters(&doc, file.filters)?,
        rate_per_second: delivery.rate,
        open_catalog: file.catalog.get_ref().open,
        sample: generic_sample(&doc, file.catalog.get_ref())?,
        catalog,
        test_event: file.test_event.as_ref().map(|test| fixed_test(&doc, test.get_ref())).transpose()?,
        origins: file.origins.iter().map(|rule| origins(&doc, rule)).collect::<Result<_, _>>()?,
        disable_after_days: file.delivery.disable_after_days.map(Spanned::into_inner),
        channels: file.delivery.channels.into_inner(),
        promise: file.promise,
        brand: brand(&doc, &file.brand, around)?,
    };
    if let (Some(test), Some(at)) = (&profile.test_event, &file.test_event)
        && !profile.knows(&test.event_type)
    {
        let detail = format!("{} is not in the catalog", test.event_type);
        return Err(doc.error(&at.get_ref().r#type, "test_event.type", detail));
    }
    Ok(profile)
}
