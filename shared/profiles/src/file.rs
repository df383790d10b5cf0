//! The profile file: its schema, and the checks that a text must pass to become a [`Profile`].

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use postrider_model::attempt::StatusClasses;
use postrider_model::event::{EventType, Origin, is_attribute_name};
use postrider_model::ids::EventId;
use postrider_model::limits::{ATTEMPT_TIMEOUT_MAX, RETRY_DELAY_MAX};
use postrider_model::retry::RetrySchedule;
use postrider_model::subscription::{MatchKind, TypePattern};
use postrider_model::time::UnixMillis;
use serde::Deserialize;
use serde_json::value::RawValue;
use toml::Spanned;

use crate::catalog::{EventTypeInfo, OriginRule, TestEvent};
use crate::envelope::{EnvelopeField, JsonKind, Source, TimestampFormat};
use crate::header::{HeaderTemplate, HeaderValue, is_header_name, is_header_value, is_reserved_header};
use crate::json;
use crate::profile::{Channel, Profile, UrlRule};
use crate::registry::ProfileError;
use crate::signature_scheme::{Encoding, SchemeKind, SignatureScheme, SignatureTemplate, SignedContent};

/// The platform's schedule, for products whose documentation promises none: seven retries.
const PLATFORM_SCHEDULE_SECONDS: [u32; 7] = [10, 60, 300, 1_800, 7_200, 18_000, 36_000];
/// The platform's jitter; products that promise exact times have none.
const PLATFORM_JITTER: f64 = 0.1;
/// The filters that every profile has.
const COMMON_ATTRIBUTES: [(&str, MatchKind); 4] = [
    ("sending_domain", MatchKind::Domain),
    ("sending_node", MatchKind::Exact),
    ("bridge", MatchKind::Exact),
    ("dedicated_ip", MatchKind::Ip),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    description: Spanned<String>,
    delivery: Delivery,
    #[serde(default)]
    statuses: Statuses,
    envelope: Spanned<Vec<Spanned<Field>>>,
    #[serde(default)]
    headers: Headers,
    signature: Option<Spanned<Signature>>,
    #[serde(default)]
    filters: BTreeMap<Spanned<String>, MatchKind>,
    catalog: Catalog,
    test_event: Option<Spanned<FixedTest>>,
    #[serde(default)]
    origins: Vec<Origins>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delivery {
    url: UrlRule,
    #[serde(default = "web")]
    channels: Spanned<Vec<Channel>>,
    timeout_seconds: Spanned<u64>,
    retry_schedule_seconds: Option<Spanned<Vec<u32>>>,
    jitter_max: Option<Spanned<f64>>,
    retry_after_max_seconds: Option<Spanned<u64>>,
    rate_per_second: Option<Spanned<f64>>,
    disable_after_days: Option<Spanned<u32>>,
}

fn web() -> Spanned<Vec<Channel>> {
    Spanned::new(0..0, vec![Channel::Web])
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Statuses {
    success: Option<Spanned<Vec<String>>>,
    not_retried: Option<Spanned<Vec<String>>>,
    retried_anyway: Option<Spanned<Vec<String>>>,
    disable: Option<Spanned<Vec<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Field {
    name: Option<Spanned<String>>,
    from: Option<Spanned<String>>,
    format: Option<Spanned<TimestampFormat>>,
    flatten: Option<Spanned<String>>,
    default: Option<Spanned<String>>,
    required: Option<Spanned<Required>>,
    kind: Option<Spanned<JsonKind>>,
}

/// `required = true` for a field, `required = { email = "string" }` for what is flattened.
#[derive(Deserialize)]
#[serde(untagged)]
enum Required {
    Flag(bool),
    Members(BTreeMap<String, JsonKind>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Headers {
    standard: bool,
    traceparent: bool,
    user_agent: Option<Spanned<String>>,
    extra: Vec<Spanned<Header>>,
}

impl Default for Headers {
    fn default() -> Self {
        Self { standard: true, traceparent: true, user_agent: None, extra: Vec::new() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    name: Spanned<String>,
    value: Option<Spanned<String>>,
    from: Option<Spanned<String>>,
    format: Option<TimestampFormat>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    header: Spanned<String>,
    scheme: SchemeName,
    encoding: Option<Encoding>,
    signed: Option<SignedContent>,
    template: Option<Spanned<String>>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum SchemeName {
    HmacSha256,
    Token,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalog {
    #[serde(default)]
    open: bool,
    sample: Option<Spanned<Sample>>,
    /// `metadata` of samples that have none of their own.
    sample_metadata: Option<Spanned<String>>,
    #[serde(default)]
    types: Vec<TypeEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    r#type: Spanned<String>,
    data: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TypeEntry {
    name: Spanned<String>,
    wire_name: Option<Spanned<String>>,
    description: String,
    sample: Spanned<String>,
    sample_metadata: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FixedTest {
    r#type: Spanned<String>,
    body_id: Option<Spanned<String>>,
    timestamp: Option<Spanned<String>>,
    data: Spanned<String>,
    metadata: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Origins {
    types: Spanned<Vec<String>>,
    fire: Vec<Origin>,
}

/// Where mistakes are reported: the file and its text.
struct Place<'a> {
    file: &'a str,
    text: &'a str,
}

impl Place<'_> {
    fn error<T>(&self, at: &Spanned<T>, field: &str, detail: impl ToString) -> ProfileError {
        self.at(at.span().start, field, detail)
    }

    fn at(&self, offset: usize, field: &str, detail: impl ToString) -> ProfileError {
        let before = self.text.as_bytes().iter().take(offset);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        ProfileError::Invalid { file: self.file.into(), line, field: field.into(), detail: detail.to_string() }
    }

    /// What the TOML reader found: it knows the place, the field stands on that line.
    fn unreadable(&self, error: &toml::de::Error) -> ProfileError {
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

    fn parsed<T: std::str::FromStr<Err: ToString>>(
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

/// The section `delivery`, checked.
struct Checked {
    schedule: RetrySchedule,
    jitter_max: f64,
    retry_after_max: Duration,
    timeout: Duration,
    rate: Option<f64>,
}

fn delivery(place: &Place<'_>, delivery: &Delivery) -> Result<Checked, ProfileError> {
    let (schedule, jitter_default) = match &delivery.retry_schedule_seconds {
        Some(seconds) => (
            RetrySchedule::from_seconds(seconds.get_ref().clone())
                .map_err(|error| place.error(seconds, "delivery.retry_schedule_seconds", error))?,
            0.0,
        ),
        None => (RetrySchedule::from_seconds(PLATFORM_SCHEDULE_SECONDS.to_vec()).unwrap_or_default(), PLATFORM_JITTER),
    };
    if let Some(jitter) = delivery.jitter_max.as_ref().filter(|jitter| !(0.0..=1.0).contains(jitter.get_ref())) {
        return Err(place.error(jitter, "delivery.jitter_max", "is a share: 0 to 1"));
    }
    let seconds = |at: Option<&Spanned<u64>>, default: u64, field: &str, most: Duration| match at {
        Some(at) if !(1..=most.as_secs()).contains(at.get_ref()) => {
            Err(place.error(at, field, format!("1 to {} seconds", most.as_secs())))
        }
        Some(at) => Ok(Duration::from_secs(*at.get_ref())),
        None => Ok(Duration::from_secs(default)),
    };
    if let Some(rate) = delivery.rate_per_second.as_ref().filter(|rate| !(0.01..=100_000.0).contains(rate.get_ref())) {
        return Err(place.error(rate, "delivery.rate_per_second", "0.01 to 100000"));
    }
    if let Some(days) = delivery.disable_after_days.as_ref().filter(|days| !(1..=365).contains(days.get_ref())) {
        return Err(place.error(days, "delivery.disable_after_days", "1 to 365"));
    }
    if delivery.channels.get_ref().is_empty() {
        return Err(place.error(&delivery.channels, "delivery.channels", "at least one of web, pushover"));
    }
    let longest = RETRY_DELAY_MAX;
    Ok(Checked {
        schedule,
        jitter_max: delivery.jitter_max.as_ref().map_or(jitter_default, |jitter| *jitter.get_ref()),
        retry_after_max: seconds(
            delivery.retry_after_max_seconds.as_ref(),
            longest.as_secs(),
            "delivery.retry_after_max_seconds",
            longest,
        )?,
        timeout: seconds(Some(&delivery.timeout_seconds), 0, "delivery.timeout_seconds", ATTEMPT_TIMEOUT_MAX)?,
        rate: delivery.rate_per_second.as_ref().map(|rate| *rate.get_ref()),
    })
}

fn statuses(place: &Place<'_>, statuses: &Statuses) -> Result<StatusClasses, ProfileError> {
    let ranges = |at: &Option<Spanned<Vec<String>>>, field: &str, default: &[RangeInclusive<u16>]| match at {
        None => Ok(default.to_vec()),
        Some(at) => {
            let read = |text: &String| status_range(text).ok_or(());
            at.get_ref().iter().map(read).collect::<Result<Vec<_>, _>>().map_err(|()| {
                place.error(
                    at,
                    &format!("statuses.{field}"),
                    "codes such as \"410\", \"4xx\" or \"500-599\", 100 to 599",
                )
            })
        }
    };
    Ok(StatusClasses {
        success: ranges(&statuses.success, "success", &[200..=299])?,
        not_retried: ranges(&statuses.not_retried, "not_retried", &[])?,
        retried_anyway: ranges(&statuses.retried_anyway, "retried_anyway", &[])?,
        disables: ranges(&statuses.disable, "disable", &[])?,
    })
}

/// `410`, `4xx` or `500-599`.
fn status_range(text: &str) -> Option<RangeInclusive<u16>> {
    let code = |text: &str| text.parse::<u16>().ok().filter(|code| (100..=599).contains(code));
    if let Some(class) = text.strip_suffix("xx") {
        let class = class.parse::<u16>().ok().filter(|class| (1..=5).contains(class))?;
        return Some(class * 100..=class * 100 + 99);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (code(first)?, code(last)?);
    (first <= last).then_some(first..=last)
}

fn envelope(place: &Place<'_>, fields: &Spanned<Vec<Spanned<Field>>>) -> Result<Vec<EnvelopeField>, ProfileError> {
    let mut envelope: Vec<EnvelopeField> = Vec::new();
    for at in fields.get_ref() {
        let field = envelope_field(place, at)?;
        if let Some(twin) = envelope.iter().find(|other| other.name == field.name) {
            let detail = match twin.name.as_str() {
                "" => "data is flattened twice".to_owned(),
                name => format!("{name:?} stands in the envelope twice"),
            };
            return Err(place.error(at, "envelope.name", detail));
        }
        envelope.push(field);
    }
    if envelope.is_empty() {
        return Err(place.error(fields, "envelope", "at least one field"));
    }
    Ok(envelope)
}

fn envelope_field(place: &Place<'_>, at: &Spanned<Field>) -> Result<EnvelopeField, ProfileError> {
    let field = at.get_ref();
    if let Some(flatten) = &field.flatten {
        let alone = field.name.is_none() && field.from.is_none() && field.format.is_none();
        if flatten.get_ref() != "data" || !alone || field.default.is_some() || field.kind.is_some() {
            return Err(place.error(flatten, "envelope.flatten", "flatten = \"data\" stands alone or beside required"));
        }
        let required = match field.required.as_ref().map(Spanned::get_ref) {
            None => Vec::new(),
            Some(Required::Members(members)) => {
                members.iter().map(|(name, kind)| (name.as_str().into(), *kind)).collect()
            }
            Some(Required::Flag(_)) => {
                let detail = "of flattened data: a table of members and kinds, such as { email = \"string\" }";
                return Err(place.error(at, "envelope.required", detail));
            }
        };
        return Ok(EnvelopeField::new(String::new(), Source::FlattenData { required }));
    }
    let name = match &field.name {
        Some(name) if !name.get_ref().is_empty() => name.get_ref().clone(),
        _ => return Err(place.error(at, "envelope.name", "a field needs a name")),
    };
    let from =
        field.from.as_ref().ok_or_else(|| place.error(at, "envelope.from", format!("{name:?} needs a source")))?;
    let format = field.format.as_ref().map(|format| *format.get_ref());
    let source = |from: &Spanned<String>, key: &str| {
        let source = source(from.get_ref(), format.unwrap_or_default());
        source.ok_or_else(|| place.error(from, key, SOURCES))
    };
    let mut checked = EnvelopeField::new(name, source(from, "envelope.from")?);
    if let Some(at) = field.format.as_ref().filter(|_| !matches!(checked.source, Source::Timestamp(_))) {
        return Err(place.error(at, "envelope.format", "only a timestamp has a format"));
    }
    checked.default = field.default.as_ref().map(|from| source(from, "envelope.default")).transpose()?;
    checked.kind = field.kind.as_ref().map(|kind| *kind.get_ref());
    checked.required = match field.required.as_ref() {
        None => false,
        Some(required) => match required.get_ref() {
            Required::Flag(flag) => *flag,
            Required::Members(_) => return Err(place.error(required, "envelope.required", "true or false")),
        },
    };
    if checked.required && checked.default.is_some() {
        return Err(place.error(at, "envelope.required", "a field with a default is never missing"));
    }
    if let Some(kind) = field.kind.as_ref() {
        let checkable = matches!(checked.source, Source::Data | Source::Metadata | Source::MetadataMember(_));
        if !checkable {
            return Err(place.error(kind, "envelope.kind", "only data, metadata and its members have kinds to check"));
        }
    }
    Ok(checked)
}

const SOURCES: &str = "type, wire_type, id, timestamp, data, metadata, metadata.<member> or attributes.<name>";

fn source(from: &str, format: TimestampFormat) -> Option<Source> {
    Some(match from {
        "type" => Source::Type,
        "wire_type" => Source::WireType,
        "id" => Source::Id,
        "timestamp" => Source::Timestamp(format),
        "data" => Source::Data,
        "metadata" => Source::Metadata,
        _ => match from.split_once('.')? {
            ("metadata", member) if !member.is_empty() => Source::MetadataMember(member.into()),
            ("attributes", name) if is_attribute_name(name) => Source::Attribute(name.into()),
            _ => return None,
        },
    })
}

fn headers(
    place: &Place<'_>,
    headers: &Headers,
    signature: Option<&SignatureScheme>,
) -> Result<Vec<HeaderTemplate>, ProfileError> {
    let mut checked: Vec<HeaderTemplate> = Vec::new();
    for at in &headers.extra {
        let header = at.get_ref();
        let name = header.name.get_ref();
        let refused = if !is_header_name(name) {
            Some("is not a header name")
        } else if is_reserved_header(name) {
            Some("is set by Postrider itself")
        } else if signature.is_some_and(|scheme| scheme.header.eq_ignore_ascii_case(name)) {
            Some("is the signature's header")
        } else if checked.iter().any(|other| other.name.eq_ignore_ascii_case(name)) {
            Some("stands there twice")
        } else {
            None
        };
        if let Some(detail) = refused {
            return Err(place.error(&header.name, "headers.extra.name", format!("{name:?} {detail}")));
        }
        let value = match (&header.value, &header.from) {
            (Some(value), None) if is_header_value(value.get_ref()) => HeaderValue::Constant(value.get_ref().clone()),
            (Some(value), None) => return Err(place.error(value, "headers.extra.value", "visible ASCII only")),
            (None, Some(from)) => match from.get_ref().as_str() {
                "type" => HeaderValue::Type,
                "wire_type" => HeaderValue::WireType,
                "id" => HeaderValue::Id,
                "timestamp" => HeaderValue::Timestamp(header.format.unwrap_or_default()),
                _ => return Err(place.error(from, "headers.extra.from", "type, wire_type, id or timestamp")),
            },
            _ => return Err(place.error(at, "headers.extra", "either value or from")),
        };
        checked.push(HeaderTemplate { name: name.clone(), value });
    }
    Ok(checked)
}

fn user_agent(place: &Place<'_>, value: Option<Spanned<String>>) -> Result<Option<String>, ProfileError> {
    match value {
        Some(at) if at.get_ref().is_empty() || !is_header_value(at.get_ref()) => {
            Err(place.error(&at, "headers.user_agent", "visible ASCII, not empty"))
        }
        other => Ok(other.map(Spanned::into_inner)),
    }
}

fn scheme(place: &Place<'_>, signature: &Signature) -> Result<SignatureScheme, ProfileError> {
    let header = signature.header.get_ref();
    if !is_header_name(header) || is_reserved_header(header) {
        return Err(place.error(
            &signature.header,
            "signature.header",
            "a header name that Postrider does not use itself",
        ));
    }
    let kind = match signature.scheme {
        SchemeName::Token => {
            if signature.encoding.is_some() || signature.signed.is_some() || signature.template.is_some() {
                return Err(place.error(
                    &signature.header,
                    "signature.scheme",
                    "a token has a header and nothing else",
                ));
            }
            SchemeKind::Token
        }
        SchemeName::HmacSha256 => {
            let template = match &signature.template {
                Some(at) if !is_header_value(at.get_ref()) => {
                    return Err(place.error(at, "signature.template", "visible ASCII only"));
                }
                Some(at) => SignatureTemplate::parse(at.get_ref())
                    .map_err(|detail| place.error(at, "signature.template", detail))?,
                None => return Err(place.error(&signature.header, "signature.template", "such as \"{signature}\"")),
            };
            SchemeKind::Hmac {
                encoding: signature.encoding.unwrap_or(Encoding::Hex),
                signed: signature.signed.unwrap_or(SignedContent::Body),
                template,
            }
        }
    };
    Ok(SignatureScheme { header: header.clone(), kind })
}

fn filters(
    place: &Place<'_>,
    own: BTreeMap<Spanned<String>, MatchKind>,
) -> Result<BTreeMap<String, MatchKind>, ProfileError> {
    let mut filters: BTreeMap<_, _> =
        COMMON_ATTRIBUTES.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect();
    for (name, kind) in own {
        let field = format!("filters.{}", name.get_ref());
        if !is_attribute_name(name.get_ref()) {
            return Err(place.error(
                &name,
                &field,
                "an attribute's name: 1 to 64 of a-z 0-9 _ -, beginning with a letter",
            ));
        }
        if filters.get(name.get_ref()).is_some_and(|common| *common != kind) {
            return Err(place.error(&name, &field, "every profile has this filter, and it matches otherwise"));
        }
        filters.insert(name.into_inner(), kind);
    }
    Ok(filters)
}

fn catalog(place: &Place<'_>, catalog: &Catalog) -> Result<Vec<EventTypeInfo>, ProfileError> {
    let mut checked: Vec<EventTypeInfo> = Vec::new();
    for entry in &catalog.types {
        let name: EventType = place.parsed(&entry.name, "catalog.types.name")?;
        if checked.iter().any(|other| other.name == name) {
            return Err(place.error(&entry.name, "catalog.types.name", format!("{name} stands there twice")));
        }
        let wire_name = entry.wire_name.as_ref();
        if let Some(at) = wire_name.filter(|wire| wire.get_ref().is_empty() || !is_header_value(wire.get_ref())) {
            return Err(place.error(at, "catalog.types.wire_name", "visible ASCII, not empty"));
        }
        let metadata = entry.sample_metadata.as_ref().or(catalog.sample_metadata.as_ref());
        checked.push(EventTypeInfo {
            name,
            wire_name: wire_name.map(|wire| wire.get_ref().clone()),
            description: entry.description.clone(),
            sample: place.object(&entry.sample, "catalog.types.sample")?,
            sample_metadata: metadata.map(|at| place.object(at, "catalog.types.sample_metadata")).transpose()?,
        });
    }
    if checked.is_empty() && !(catalog.open && catalog.sample.is_some()) {
        return Err(place.at(0, "catalog.types", "at least one type, or an open catalog with a sample"));
    }
    Ok(checked)
}

fn generic_sample(place: &Place<'_>, catalog: &Catalog) -> Result<Option<TestEvent>, ProfileError> {
    let Some(sample) = &catalog.sample else { return Ok(None) };
    let metadata = catalog.sample_metadata.as_ref();
    Ok(Some(TestEvent {
        event_type: place.parsed(&sample.get_ref().r#type, "catalog.sample.type")?,
        body_id: None,
        occurred_at: None,
        metadata: metadata.map(|at| place.object(at, "catalog.sample_metadata")).transpose()?,
        data: place.object(&sample.get_ref().data, "catalog.sample.data")?,
    }))
}

fn fixed_test(place: &Place<'_>, test: &FixedTest) -> Result<TestEvent, ProfileError> {
    Ok(TestEvent {
        event_type: place.parsed(&test.r#type, "test_event.type")?,
        body_id: test.body_id.as_ref().map(|at| place.parsed::<EventId>(at, "test_event.body_id")).transpose()?,
        occurred_at: test
            .timestamp
            .as_ref()
            .map(|at| place.parsed::<UnixMillis>(at, "test_event.timestamp"))
            .transpose()?,
        metadata: test.metadata.as_ref().map(|at| place.object(at, "test_event.metadata")).transpose()?,
        data: place.object(&test.data, "test_event.data")?,
    })
}

fn origins(place: &Place<'_>, rule: &Origins) -> Result<OriginRule, ProfileError> {
    let parse =
        |text: &String| text.parse::<TypePattern>().map_err(|error| place.error(&rule.types, "origins.types", error));
    Ok(OriginRule { types: rule.types.get_ref().iter().map(parse).collect::<Result<_, _>>()?, fire: rule.fire.clone() })
}
