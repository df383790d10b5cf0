//! The values of the webhook form, as text. They come from an endpoint or from a sent form, and become a request to an operation.

use std::collections::BTreeMap;

use postrider_model::delivery::EndpointStatus;
use postrider_model::endpoint::{Channel, SignatureKey};
use postrider_operations::endpoints::{
    CreateEndpoint, EditEndpoint, Endpoint, MASK, PushoverSettings, RequestedStatus,
};
use postrider_operations::{Error, FieldError};
use postrider_profiles::Profile;
use serde_json::Value;

use crate::fields::{Fields, FormReader, field_error};
use crate::format;

/// The form.
#[derive(Debug, Clone)]
pub(crate) struct WebhookInput {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) inactive: bool,
    pub(crate) channel: Channel,
    pub(crate) url: String,
    pub(crate) user_key: String,
    pub(crate) api_token: String,
    pub(crate) sound: String,
    /// Types and patterns that are checked in the catalog.
    pub(crate) event_types: Vec<String>,
    /// Types and patterns that are typed, one per line.
    pub(crate) other_types: String,
    /// By attribute.
    pub(crate) filters: BTreeMap<String, FilterInput>,
    pub(crate) payload_filter: String,
    /// `Name: value`, one per line.
    pub(crate) headers: String,
    pub(crate) retry_schedule: String,
    pub(crate) timeout: String,
    pub(crate) rate: String,
    pub(crate) ascii_json: bool,
    pub(crate) token_header: String,
    pub(crate) ed25519: bool,
    pub(crate) secret: String,
    /// The version of the endpoint that is edited.
    pub(crate) version: String,
}

/// The values of one filter.
#[derive(Debug, Clone, Default)]
pub(crate) struct FilterInput {
    pub(crate) chosen: Vec<String>,
    /// One per line.
    pub(crate) typed: String,
}

/// The values that the form itself parses.
struct Parsed {
    event_types: Vec<String>,
    filters: BTreeMap<String, Vec<String>>,
    payload_filter: Option<Value>,
    headers: BTreeMap<String, String>,
    retry_schedule: Option<Vec<u32>>,
    timeout: Option<u32>,
    rate: Option<f64>,
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

impl WebhookInput {
    /// The form of a new webhook.
    pub(crate) fn new(channel: Channel) -> Self {
        let sound = "Pushover".to_owned();
        Self { sound, inactive: false, ..Self::of_fields(&Fields::default(), [].into_iter(), channel) }
    }

    /// A form that was sent.
    pub(crate) fn of_form(fields: &Fields, profile: &Profile, channel: Channel) -> Self {
        Self::of_fields(fields, profile.attributes.keys(), channel)
    }

    fn of_fields<'a>(fields: &Fields, attributes: impl Iterator<Item = &'a String>, channel: Channel) -> Self {
        let filters = attributes.map(|name| {
            let chosen = fields.all(&format!("filter.{name}"));
            (name.clone(), FilterInput { chosen, typed: fields.lines(&format!("filter_typed.{name}")) })
        });
        let text = |name: &str| fields.get(name).to_owned();
        Self {
            name: text("name"),
            description: fields.lines("description"),
            inactive: !fields.is_checked("active"),
            channel,
            url: text("url"),
            user_key: text("user_key"),
            api_token: text("api_token"),
            sound: text("sound"),
            event_types: fields.all("event_types"),
            other_types: fields.lines("other_types"),
            filters: filters.collect(),
            payload_filter: fields.lines("payload_filter"),
            headers: fields.lines("headers"),
            retry_schedule: text("retry_schedule_seconds"),
            timeout: text("timeout_seconds"),
            rate: text("rate_per_second"),
            ascii_json: fields.is_checked("ascii_json"),
            token_header: text("token_header"),
            ed25519: fields.get("signature_key") == "ed25519",
            secret: text("secret"),
            version: text("version"),
        }
    }

    /// The form of an endpoint, where `offered` types are checked and others typed.
    pub(crate) fn of_endpoint(endpoint: &Endpoint, offered: &[String]) -> Self {
        let (event_types, other): (Vec<_>, Vec<_>) =
            endpoint.event_types.iter().cloned().partition(|name| offered.contains(name));
        let filters = endpoint
            .filters
            .iter()
            .map(|(name, values)| (name.clone(), FilterInput { chosen: values.clone(), typed: String::new() }));
        let masked = if endpoint.channel == Channel::Pushover { MASK.to_owned() } else { String::new() };
        let headers: Vec<String> = endpoint.headers.keys().map(|name| format!("{name}: {MASK}")).collect();
        let pretty = |filter| serde_json::to_string_pretty(filter).ok();
        Self {
            name: endpoint.name.clone(),
            description: endpoint.description.clone().unwrap_or_default(),
            inactive: endpoint.status != EndpointStatus::Active,
            channel: endpoint.channel,
            url: endpoint.url.clone().unwrap_or_default(),
            user_key: masked.clone(),
            api_token: masked,
            sound: endpoint.pushover.as_ref().and_then(|pushover| pushover.sound.clone()).unwrap_or_default(),
            event_types,
            other_types: other.join("\n"),
            filters: filters.collect(),
            payload_filter: endpoint.payload_filter.as_ref().and_then(pretty).unwrap_or_default(),
            headers: headers.join("\n"),
            retry_schedule: endpoint.retry_schedule_seconds.as_deref().map(format::schedule).unwrap_or_default(),
            timeout: endpoint.timeout_seconds.map(|seconds| seconds.to_string()).unwrap_or_default(),
            rate: endpoint.rate_per_second.map(|rate| rate.to_string()).unwrap_or_default(),
            ascii_json: endpoint.ascii_json,
            token_header: endpoint.token_header.clone().unwrap_or_default(),
            ed25519: false,
            secret: String::new(),
            version: endpoint.version.to_string(),
        }
    }

    /// The request that creates the webhook. An empty field takes the profile's value.
    ///
    /// # Errors
    /// 422: a field cannot be parsed.
    pub(crate) fn creation(&self) -> Result<CreateEndpoint, Error> {
        let parsed = self.parse()?;
        Ok(CreateEndpoint {
            name: self.name.clone(),
            description: non_empty(&self.description),
            metadata: None,
            channel: self.channel,
            url: (self.channel == Channel::Web).then(|| self.url.clone()),
            pushover: self.pushover(),
            event_types: parsed.event_types,
            filters: parsed.filters,
            payload_filter: parsed.payload_filter,
            headers: parsed.headers,
            status: self.status(),
            secret: non_empty(&self.secret),
            signature_key: if self.ed25519 { SignatureKey::Ed25519 } else { SignatureKey::Hmac },
            retry_schedule_seconds: parsed.retry_schedule,
            timeout_seconds: parsed.timeout,
            rate_per_second: parsed.rate,
            ascii_json: self.ascii_json,
            token_header: non_empty(&self.token_header),
        })
    }

    /// The request that edits a webhook with this status: every field of the form is set or cleared.
    ///
    /// # Errors
    /// 422: a field cannot be parsed.
    pub(crate) fn edit(&self, status: EndpointStatus) -> Result<EditEndpoint, Error> {
        let parsed = self.parse()?;
        let web = self.channel == Channel::Web;
        // A webhook that Postrider switched off stays so until the visitor checks the box.
        let stays_disabled = status == EndpointStatus::Disabled && self.inactive;
        Ok(EditEndpoint {
            name: Some(self.name.clone()),
            description: Some(non_empty(&self.description)),
            metadata: None,
            channel: None,
            url: web.then(|| self.url.clone()),
            pushover: self.pushover(),
            event_types: Some(parsed.event_types),
            filters: Some(parsed.filters),
            payload_filter: Some(parsed.payload_filter),
            headers: web.then_some(parsed.headers),
            status: (!stays_disabled).then(|| self.status()),
            signature_key: None,
            retry_schedule_seconds: Some(parsed.retry_schedule),
            timeout_seconds: Some(parsed.timeout),
            rate_per_second: Some(parsed.rate),
            ascii_json: web.then_some(self.ascii_json),
            token_header: web.then(|| non_empty(&self.token_header)),
        })
    }

    fn status(&self) -> RequestedStatus {
        if self.inactive { RequestedStatus::Inactive } else { RequestedStatus::Active }
    }

    fn pushover(&self) -> Option<PushoverSettings> {
        (self.channel == Channel::Pushover).then(|| PushoverSettings {
            user_key: Some(self.user_key.clone()),
            api_token: Some(self.api_token.clone()),
            sound: Some(self.sound.clone()),
        })
    }

    fn parse(&self) -> Result<Parsed, Error> {
        let mut reader = FormReader::default();
        let types = self.event_types.iter().map(String::as_str).chain(lines(&self.other_types));
        let parsed = Parsed {
            event_types: types.map(str::to_owned).collect(),
            filters: self.filter_values(),
            payload_filter: reader.take(self.payload_filter()),
            headers: reader.take(self.header_map()),
            retry_schedule: reader.take(schedule(&self.retry_schedule)),
            timeout: reader.number("/timeout_seconds", &self.timeout),
            rate: reader.number("/rate_per_second", &self.rate),
        };
        reader.finish(parsed)
    }

    fn filter_values(&self) -> BTreeMap<String, Vec<String>> {
        let values = |input: &FilterInput| {
            let mut all: Vec<_> = input.chosen.iter().map(String::as_str).chain(lines(&input.typed)).collect();
            all.dedup();
            all.into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let all = self.filters.iter().map(|(name, input)| (name.clone(), values(input)));
        all.filter(|(_, values)| !values.is_empty()).collect()
    }

    fn payload_filter(&self) -> Result<Option<Value>, FieldError> {
        if self.payload_filter.trim().is_empty() {
            return Ok(None);
        }
        serde_json::from_str(&self.payload_filter).map(Some).map_err(|error| {
            let detail = format!("not valid JSON, see line {}, column {}", error.line(), error.column());
            field_error("/payload_filter", detail)
        })
    }

    fn header_map(&self) -> Result<BTreeMap<String, String>, FieldError> {
        let error = |detail| field_error("/headers", detail);
        let mut map = BTreeMap::new();
        for line in lines(&self.headers) {
            let (name, value) =
                line.split_once(':').ok_or_else(|| error(format!("expected “Name: value”, got “{line}”")))?;
            if map.insert(name.trim().to_owned(), value.trim().to_owned()).is_some() {
                return Err(error(format!("the header {} is given twice", name.trim())));
            }
        }
        Ok(map)
    }
}

/// A retry schedule such as `1m, 5m, 2h, 90` in seconds; `none` is empty. Empty text means the profile's own.
fn schedule(text: &str) -> Result<Option<Vec<u32>>, FieldError> {
    match text.trim() {
        "" => Ok(None),
        "none" => Ok(Some(Vec::new())),
        text => {
            let words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
            words.map(seconds).collect::<Result<_, _>>().map(Some)
        }
    }
}

fn seconds(word: &str) -> Result<u32, FieldError> {
    let (digits, unit) = word.split_at(word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len()));
    let factor = match unit {
        "" | "s" => Some(1),
        "m" | "min" => Some(60),
        "h" => Some(3_600),
        "d" => Some(86_400),
        _ => None,
    };
    let seconds = digits.parse::<u32>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    seconds.ok_or_else(|| {
        field_error("/retry_schedule_seconds", format!("expected delays such as “30s”, “5m” or “2h”, got “{word}”"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input() -> WebhookInput {
        WebhookInput::new(Channel::Web)
    }

    #[test]
    fn retry_schedules_accept_units_and_separators() {
        assert_eq!(schedule("1m, 5m  15min 2h 1d 7").unwrap(), Some(vec![60, 300, 900, 7200, 86400, 7]));
        assert_eq!(schedule(" none ").unwrap(), Some(vec![]));
        assert_eq!(schedule("").unwrap(), None);
        assert!(schedule("1m, soon").is_err() && schedule("99999999999d").is_err());
    }

    #[test]
    fn an_empty_field_takes_the_default_in_a_creation_and_is_cleared_by_an_edit() {
        let chosen = FilterInput { chosen: vec!["b1".into()], typed: "b2\n".into() };
        let input = WebhookInput {
            name: "n".into(),
            url: "https://example.com/".into(),
            event_types: vec!["a.b".into()],
            other_types: "c.*\n\n".into(),
            headers: "X-A: 1\nX-B: a:b".into(),
            filters: BTreeMap::from([("bridge".into(), chosen)]),
            ..input()
        };
        let created = input.creation().unwrap();
        assert_eq!(created.event_types, ["a.b", "c.*"]);
        assert_eq!(created.filters["bridge"], ["b1", "b2"]);
        assert_eq!(created.headers["X-B"], "a:b");
        assert!(created.description.is_none() && created.timeout_seconds.is_none() && created.pushover.is_none());
        let edit = input.edit(EndpointStatus::Active).unwrap();
        assert_eq!((edit.description, edit.retry_schedule_seconds), (Some(None), Some(None)));
        assert!(edit.payload_filter == Some(None) && edit.channel.is_none() && edit.status.is_some());
        let disabled = WebhookInput { inactive: true, ..input }.edit(EndpointStatus::Disabled).unwrap();
        assert!(disabled.status.is_none(), "a webhook that was switched off stays so");
    }

    #[test]
    fn an_error_of_the_form_names_its_field() {
        let error = |input: WebhookInput| match input.creation() {
            Err(Error::Invalid(mut errors)) => errors.remove(0).pointer,
            other => panic!("{other:?}"),
        };
        assert_eq!(error(WebhookInput { payload_filter: "{".into(), ..input() }), "/payload_filter");
        assert_eq!(error(WebhookInput { headers: "nonsense".into(), ..input() }), "/headers");
        assert_eq!(error(WebhookInput { headers: "A: 1\nA: 2".into(), ..input() }), "/headers");
        assert_eq!(error(WebhookInput { timeout: "soon".into(), ..input() }), "/timeout_seconds");
    }
}
