//! The profile file: the checks that a text must pass to become a [`Profile`], section by section.

mod catalog;
mod delivery;
mod envelope;
mod headers;
mod schema;

use serde_json::value::RawValue;
use toml::Spanned;

use self::catalog::{catalog, fixed_test, generic_sample, origins};
use self::delivery::{delivery, filters, statuses};
use self::envelope::envelope;
use self::headers::{headers, scheme, user_agent};
use self::schema::File;
use crate::json;
use crate::profile::Profile;
use crate::registry::ProfileError;

/// Where mistakes are reported: the file and its text.
pub(crate) struct Place<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
}

impl Place<'_> {
    pub(crate) fn error<T>(&self, at: &Spanned<T>, field: &str, detail: impl ToString) -> ProfileError {
        self.at(at.span().start, field, detail)
    }

    fn at(&self, offset: usize, field: &str, detail: impl ToString) -> ProfileError {
        let before = self.text.as_bytes().iter().take(offset);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        ProfileError::Invalid { file: self.file.into(), line, field: field.into(), detail: detail.to_string() }
    }

    /// What the TOML reader found: it knows the place, the field stands on that line.
    pub(crate) fn unreadable(&self, error: &toml::de::Error) -> ProfileError {
        let offset = error.span().map_or(0, |span| span.start);
        let start = self.text[..offset.min(self.text.len())].rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.text[start..].lines().next().unwrap_or_default();
        let field = line.split('=').next().unwrap_or_default().trim().trim_matches(['[', ']']);
        self.at(offset, field, error.message())
    }

    fn object(&self, at: &Spanned<String>, field: &str) -> Result<Box<RawValue>, ProfileError> {
        let raw = RawValue::from_string(json::compact(at.get_ref())).map_err(|e| self.error(at, field, e))?;
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

/// Reads a profile file.
pub(crate) fn parse(name: &str, file: &str, text: &str) -> Result<Profile, ProfileError> {
    let place = Place { file, text };
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    if !(1..=64).contains(&name.len()) || !name.bytes().all(legal) {
        return Err(place.at(0, "", "the file's name is the profile's: 1 to 64 of a-z 0-9 _ -, then .toml"));
    }
    let file: File = toml::from_str(text).map_err(|error| place.unreadable(&error))?;
    if file.description.get_ref().is_empty() {
        return Err(place.error(&file.description, "description", "must say something"));
    }
    let delivery = delivery(&place, &file.delivery)?;
    let signature = file.signature.as_ref().map(|signature| scheme(&place, signature.get_ref())).transpose()?;
    if signature.is_none() && !file.headers.standard {
        return Err(place.at(
            0,
            "headers.standard",
            "a profile signs: leave the standard headers on or name a signature",
        ));
    }
    let catalog = catalog(&place, &file.catalog)?;
    let profile = Profile {
        name: name.into(),
        description: file.description.into_inner(),
        envelope: envelope(&place, &file.envelope)?,
        headers: headers(&place, &file.headers, signature.as_ref())?,
        standard_headers: file.headers.standard,
        traceparent: file.headers.traceparent,
        user_agent: user_agent(&place, file.headers.user_agent)?,
        signature,
        retry_schedule: delivery.schedule,
        jitter_max: delivery.jitter_max,
        retry_after_max: delivery.retry_after_max,
        timeout: delivery.timeout,
        statuses: statuses(&place, &file.statuses)?,
        url_rule: file.delivery.url,
        attributes: filters(&place, file.filters)?,
        default_rate: delivery.rate,
        open_catalog: file.catalog.open,
        sample: generic_sample(&place, &file.catalog)?,
        catalog,
        test_event: file.test_event.as_ref().map(|test| fixed_test(&place, test.get_ref())).transpose()?,
        origins: file.origins.iter().map(|rule| origins(&place, rule)).collect::<Result<_, _>>()?,
        disable_after_days: file.delivery.disable_after_days.map(Spanned::into_inner),
        channels: file.delivery.channels.into_inner(),
    };
    let fixed = profile.test_event.as_ref();
    if let Some(test) = fixed.filter(|test| !profile.knows(&test.event_type)) {
        return Err(place.at(0, "test_event.type", format!("{} is not in the catalog", test.event_type)));
    }
    Ok(profile)
}
