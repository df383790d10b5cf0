//! Reads CloudEvents 1.0.2, structured or binary, over HTTP or AMQP.
//!
//! A CloudEvent's `type`, `time` and data become the event's `type`, time and `data`. `source` and `id` identify the event. The
//! extensions `tenant`, `origin` and `metadata` (a JSON object as a string) become the fields of the event with the same names.
//! The extensions `deliverat`, `expiresat` and `ttlseconds` become `deliver_at`, `expires_at` and `ttl_seconds`; `expirytime`, an
//! extension that CloudEvents documents, is another name of `expiresat`.
//! `sendingdomain`, `sendingnode`, `bridge` and `dedicatedip` become the four attributes by which every profile can filter.
//! `source`, `subject` and all other extensions become attributes with unchanged names. Of these, an attribute that exceeds a
//! limit is omitted without an error.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::percent_decode;
use postrider_broker::ProducerMessage;
use postrider_http::json;
use postrider_http::problem::FieldError;
use postrider_model::event::{Attributes, Origin};
use postrider_model::ids::EventId;
use postrider_model::json::pointer_token;
use postrider_model::limits::ATTRIBUTES_MAX;
use serde_json::value::RawValue;

use crate::event::json::check_size;
use crate::event::{Event, EventTenant, RawEvent, RawWindow, check, hash};
use crate::refused::Refused;

/// The media type of structured CloudEvents.
pub(crate) const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

/// Context attributes that are read separately, so they do not become attributes of the event. The last two are about the
/// trace.
const READ_ALONE: [&str; 16] = [
    "specversion",
    "id",
    "type",
    "time",
    "datacontenttype",
    "dataschema",
    "data_base64",
    "tenant",
    "origin",
    "metadata",
    "deliverat",
    "expiresat",
    "expirytime",
    "ttlseconds",
    "traceparent",
    "tracestate",
];

/// The four common attributes: the name of the extension, which cannot contain an underscore, and the name of the attribute.
const COMMON: [(&str, &str); 4] = [
    ("sendingdomain", "sending_domain"),
    ("sendingnode", "sending_node"),
    ("bridge", "bridge"),
    ("dedicatedip", "dedicated_ip"),
];

/// The encoding of a CloudEvent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The body contains the whole event.
    Structured,
    /// The headers contain the attributes, and the body contains the data.
    Binary {
        /// The attributes by name.
        attributes: BTreeMap<String, String>,
        /// The prefix of the headers' names, for error texts.
        prefix: &'static str,
    },
}

/// Returns the form of an HTTP request, or `None` if the request is not a CloudEvent.
///
/// # Errors
/// The request is a batch of CloudEvents.
pub(crate) fn over_http(headers: &HeaderMap) -> Result<Option<Form>, Refused> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if let Some(structured) = structured(content_type)? {
        return Ok(Some(structured));
    }
    if !headers.contains_key("ce-specversion") {
        return Ok(None);
    }
    let mut attributes = BTreeMap::new();
    for (name, value) in headers {
        if let Some(name) = name.as_str().strip_prefix("ce-") {
            let value = percent_decoded(value.as_bytes())
                .ok_or_else(|| Refused::field(format!("ce-{name}"), "percent-encoded UTF-8"))?;
            attributes.insert(name.to_owned(), value);
        }
    }
    attributes.extend(content_type.map(|content_type| ("datacontenttype".to_owned(), content_type.to_owned())));
    Ok(Some(Form::Binary { attributes, prefix: "ce-" }))
}

/// Returns the form of a message on the exchange, or `None` if the message is not a CloudEvent.
///
/// # Errors
/// The message is a batch of CloudEvents.
pub(crate) fn over_amqp(message: &ProducerMessage) -> Result<Option<Form>, Refused> {
    let content_type = message.content_type.as_deref();
    if let Some(structured) = structured(content_type)? {
        return Ok(Some(structured));
    }
    // The prefixes of the AMQP binding. The prefix with `_` is for clients that cannot use a colon in the name of a header.
    let Some(prefix) = ["cloudEvents:", "cloudEvents_"]
        .into_iter()
        .find(|prefix| message.header(&format!("{prefix}specversion")).is_some())
    else {
        return Ok(None);
    };
    let mut attributes: BTreeMap<String, String> = message
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), value.clone())))
        .collect();
    attributes.extend(content_type.map(|content_type| ("datacontenttype".to_owned(), content_type.to_owned())));
    Ok(Some(Form::Binary { attributes, prefix }))
}

fn structured(content_type: Option<&str>) -> Result<Option<Form>, Refused> {
    match content_type.map(essence).as_deref() {
        Some(STRUCTURED) => Ok(Some(Form::Structured)),
        Some(BATCH) => Err(Refused::UnsupportedFormat(format!(
            "a request holds one CloudEvent, structured ({STRUCTURED}) or binary; a batch of CloudEvents is not supported"
        ))),
        _ => Ok(None),
    }
}

/// Returns a media type without its parameters, in lower case.
pub(crate) fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_json(content_type: &str) -> bool {
    let essence = essence(content_type);
    essence.is_empty() || essence.ends_with("/json") || essence.ends_with("+json")
}

impl Form {
    /// Reads the event.
    ///
    /// # Errors
    /// All invalid attributes. An attribute is identified by a JSON pointer into the body or by its header.
    pub(crate) fn read<'a>(self, tenant: impl EventTenant, body: &'a [u8]) -> Result<Event<'a>, Refused> {
        check_size(body)?;
        match self {
            Self::Structured => read_structured(tenant, body),
            Self::Binary { attributes, prefix } => {
                let at = |name: &str| format!("{prefix}{name}");
                if attributes.get("datacontenttype").is_some_and(|content_type| !is_json(content_type)) {
                    return Err(Refused::UnsupportedFormat("the data of a CloudEvent is JSON here".to_owned()));
                }
                let data = match body.trim_ascii() {
                    [] => null(),
                    _ => Cow::Borrowed(json::read::<&RawValue>(body)?),
                };
                event(tenant, attributes, data, at)
            }
        }
    }
}

fn read_structured(tenant: impl EventTenant, body: &[u8]) -> Result<Event<'_>, Refused> {
    let members: BTreeMap<String, &RawValue> = json::read(body)?;
    let at = |name: &str| format!("/{}", pointer_token(name));
    let (mut attributes, mut errors) = (BTreeMap::new(), Vec::new());
    for (name, value) in &members {
        if name == "data" || value.get() == "null" {
            continue;
        }
        match attribute_text(value.get()) {
            Some(text) => {
                attributes.insert(name.clone(), text);
            }
            None => {
                let detail = "an attribute of a CloudEvent is a string, a boolean or an integer";
                errors.push(FieldError::new(at(name), detail));
            }
        }
    }
    let data = match (members.get("data"), attributes.get("data_base64")) {
        (Some(_), Some(_)) => {
            errors.push(FieldError::new("/data_base64", "data or data_base64, not both"));
            null()
        }
        (Some(data), None) => Cow::Borrowed(*data),
        (None, Some(encoded)) => from_base64(encoded).unwrap_or_else(|detail| {
            errors.push(FieldError::new("/data_base64", detail));
            null()
        }),
        (None, None) => null(),
    };
    if errors.is_empty() { event(tenant, attributes, data, at) } else { Err(Refused::Invalid(errors)) }
}

/// Returns the text of an attribute in JSON. Returns `None` if the value is not a string, a boolean or an integer.
fn attribute_text(json: &str) -> Option<String> {
    match json.as_bytes().first()? {
        b'"' => serde_json::from_str(json).ok(),
        b't' | b'f' => Some(json.to_owned()),
        _ => json.parse::<i64>().ok().map(|number| number.to_string()),
    }
}

fn from_base64<'a>(encoded: &str) -> Result<Cow<'a, RawValue>, String> {
    let bytes = BASE64.decode(encoded).map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| "the data of a CloudEvent is JSON here, in UTF-8".to_owned())?;
    let raw = RawValue::from_string(text).map_err(|error| format!("the data of a CloudEvent is JSON here: {error}"))?;
    Ok(Cow::Owned(raw))
}

fn null<'a>() -> Cow<'a, RawValue> {
    Cow::Borrowed(RawValue::NULL)
}

/// Creates the event from its attributes and its data. `at` returns the location of an attribute for errors.
fn event<'a>(
    tenant: impl EventTenant,
    attributes: BTreeMap<String, String>,
    data: Cow<'a, RawValue>,
    at: impl Fn(&str) -> String,
) -> Result<Event<'a>, Refused> {
    let mut errors = Vec::new();
    let mut wrong = |name: &str, detail: String| errors.push(FieldError::new(at(name), detail));
    let tenant =
        tenant.tenant(attributes.get("tenant").map(String::as_str)).map_err(|refused| refused.at(at("tenant")))?;
    if attributes.get("specversion").map(String::as_str) != Some("1.0") {
        wrong("specversion", "expected 1.0".into());
    }
    for required in ["id", "source", "type"] {
        if attributes.get(required).is_none_or(String::is_empty) {
            wrong(required, "missing: every CloudEvent has one".into());
        }
    }
    for name in attributes.keys().filter(|name| *name != "data_base64") {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
            wrong(name, "an attribute of a CloudEvent is named by a-z and 0-9".into());
        }
    }
    for (name, ours) in COMMON {
        let value = attributes.get(name).map(|value| Attributes([(ours.into(), value.as_str().into())].into()));
        if let Some(Err(error)) = value.map(|value| value.check()) {
            wrong(name, error.to_string());
        }
    }
    let origin = match attributes.get("origin").map(String::as_str) {
        None => Origin::default(),
        Some("api") => Origin::Api,
        Some("dashboard") => Origin::Dashboard,
        Some(_) => {
            wrong("origin", "expected api or dashboard".into());
            Origin::default()
        }
    };
    let metadata = attributes.get("metadata").map(|text| RawValue::from_string(text.trim().to_owned()));
    let metadata = metadata
        .and_then(|raw| raw.map_err(|error| wrong("metadata", format!("a JSON object as a string: {error}"))).ok());
    let window = window(&attributes, &mut wrong);
    let get = |name: &str| attributes.get(name).cloned().unwrap_or_default();
    let fields = RawEvent {
        event_type: Cow::Owned(get("type")),
        data,
        id: Some(Cow::Owned(event_id(&get("source"), &get("id")))),
        key: None,
        timestamp: attributes.get("time").cloned().map(Cow::Owned),
        metadata: metadata.map(Cow::Owned),
        attributes: filterable(&attributes),
        origin,
        source: Some(Cow::Owned(get("source"))),
        window,
    };
    // Missing attributes are already reported above. Other errors are reported with the location of the attribute.
    let checked = check(tenant, fields);
    for error in checked.as_ref().err().into_iter().flatten() {
        let name = error.pointer.trim_start_matches('/');
        let name = match name {
            "timestamp" => "time",
            "deliver_at" => "deliverat",
            "expires_at" if attributes.contains_key("expirytime") => "expirytime",
            "expires_at" => "expiresat",
            "ttl_seconds" => "ttlseconds",
            name => name,
        };
        if name == "data" || attributes.get(name).is_some_and(|value| !value.is_empty()) {
            wrong(name, error.detail.clone());
        }
    }
    match checked {
        Ok(event) if errors.is_empty() => Ok(event),
        _ => Err(Refused::Invalid(errors)),
    }
}

/// Returns the fields that state when the deliveries may be attempted. Calls `wrong` with the name of each wrong attribute.
fn window(attributes: &BTreeMap<String, String>, wrong: &mut impl FnMut(&str, String)) -> RawWindow<'static> {
    let get = |name: &str| attributes.get(name).cloned().map(Cow::Owned);
    if attributes.contains_key("expiresat") && attributes.contains_key("expirytime") {
        wrong("expirytime", "state the expiry once: expiresat or expirytime".into());
    }
    let ttl_seconds = attributes.get("ttlseconds").and_then(|text| {
        let seconds = text.parse().ok();
        if seconds.is_none() {
            wrong("ttlseconds", "expected a number of seconds".into());
        }
        seconds
    });
    RawWindow { deliver_at: get("deliverat"), expires_at: get("expirytime").or_else(|| get("expiresat")), ttl_seconds }
}

/// Returns the id of the event. Source and id together identify a CloudEvent. An id that is a UUID is used unchanged. Any other
/// id is hashed together with the source, because it may be a counter that other sources use too.
fn event_id(source: &str, id: &str) -> String {
    match id.parse::<EventId>() {
        Ok(id) if is_uuid(id.as_str()) => id.as_str().to_owned(),
        _ => format!("evt_{}", hash(&[b"cloudevent", source.as_bytes(), id.as_bytes()])),
    }
}

/// Whether an id is a UUID, with or without hyphens, and with or without the prefix `evt_`.
fn is_uuid(id: &str) -> bool {
    let id = id.strip_prefix("evt_").unwrap_or(id);
    let parts: Vec<usize> = id.split('-').map(str::len).collect();
    (parts == [32] || parts == [8, 4, 4, 4, 12]) && id.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// Returns the attributes by which events can be filtered. The caller reports invalid values of the common attributes. Any
/// other attribute that exceeds a limit is omitted.
fn filterable(attributes: &BTreeMap<String, String>) -> Attributes {
    let mut taken = Attributes::default();
    for (name, ours) in COMMON {
        if let Some(value) = attributes.get(name) {
            taken.0.insert(ours.into(), value.as_str().into());
        }
    }
    let others = attributes
        .iter()
        .filter(|(name, _)| !READ_ALONE.contains(&name.as_str()) && !COMMON.iter().any(|(common, _)| common == name));
    for (name, value) in others {
        let alone = Attributes([(name.as_str().into(), value.as_str().into())].into());
        if taken.0.len() < ATTRIBUTES_MAX && alone.check().is_ok() {
            taken.0.extend(alone.0);
        }
    }
    taken
}

/// Decodes the value of a header in the HTTP binding (section 3.1.3.2): first as a quoted string, then as percent-encoding. A
/// `%` that is not followed by two hexadecimal digits remains unchanged, because widespread SDKs send it. Returns `None` if the
/// result is not UTF-8.
fn percent_decoded(value: &[u8]) -> Option<String> {
    Some(percent_decode(&unquoted(value)).decode_utf8().ok()?.into_owned())
}

/// Returns the content of a quoted string (RFC 9110, section 5.6.4). Any other value is returned unchanged.
pub(crate) fn unquoted(value: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return Cow::Borrowed(value);
    };
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'\\', [escaped, tail @ ..]) => {
                bytes.push(*escaped);
                rest = tail;
            }
            // The last quote is escaped, or there is an unescaped quote inside. So the value is not a quoted string.
            (b'\\' | b'"', _) => return Cow::Borrowed(value),
            _ => bytes.push(*first),
        }
    }
    Cow::Owned(bytes)
}

#[cfg(test)]
mod tests;
