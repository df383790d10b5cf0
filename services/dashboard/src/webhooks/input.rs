//! Converts an endpoint to the fields of the webhook form, and the fields to the request that creates or edits an endpoint.
//!
//! The field `event_types` has the checked types and patterns; `other_types` is a text with one type per line. A filter has two
//! fields of the same kinds: `filter.<attribute>` and `filter_typed.<attribute>`. The field `headers` has one header per line.

use std::collections::BTreeMap;

use postrider_model::batch::Batch;
use postrider_model::delivery::EndpointStatus;
use postrider_model::endpoint::Channel;
use postrider_model::ids::EndpointId;
use postrider_model::notice::{NoticeState, Notify};
use postrider_model::ordering::{OnExhausted, Ordering};
use postrider_operations::endpoints::{
    ChatFields, CreateEndpoint, EditEndpoint, EmailFields, Endpoint, MASK, PushoverFields, RequestedStatus,
    TelegramFields,
};
use postrider_operations::{Error, FieldError};
use postrider_profiles::Profile;
use serde_json::Value;

use crate::fields::{FieldReader, Fields};
use crate::format;

/// The fields of a new webhook.
pub(crate) fn new_webhook(channel: Channel) -> Fields {
    Fields::default()
        .with("active", "yes")
        .with("sound", "Pushover")
        .with("channel", channel.as_str())
        .with_all("notify_on", NoticeState::ALL)
}

/// The fields with the values of an endpoint. Types in `offered` become checked boxes; the endpoint's other types become lines of
/// `other_types`.
pub(crate) fn of_endpoint(endpoint: &Endpoint, offered: &[String]) -> Fields {
    let (checked, typed): (Vec<&String>, Vec<&String>) =
        endpoint.event_types.iter().partition(|name| offered.contains(name));
    let pushover = endpoint.pushover.as_ref();
    let headers: Vec<String> = endpoint.headers.keys().map(|name| format!("{name}: {MASK}")).collect();
    let filter = endpoint.payload_filter.as_ref().and_then(|filter| serde_json::to_string_pretty(filter).ok());
    let fields = Fields::default()
        .with("name", &endpoint.name)
        .with_some("description", endpoint.description.as_ref())
        .with("active", if endpoint.status == EndpointStatus::Active { "yes" } else { "" })
        .with_some("url", endpoint.url.as_ref())
        .with_some("user_key", pushover.map(|_| MASK))
        .with_some("api_token", pushover.map(|_| MASK))
        .with_some("sound", pushover.and_then(|pushover| pushover.sound.as_ref()))
        .with_some("webhook_url", endpoint.chat.as_ref().map(|chat| &chat.webhook_url))
        .with_some("bot_token", endpoint.telegram.as_ref().map(|telegram| telegram.bot_token))
        .with_some("chat_id", endpoint.telegram.as_ref().map(|telegram| &telegram.chat_id))
        .with_some("recipients", endpoint.email.as_ref().map(|email| email.recipients.join("\n")))
        .with_all("event_types", checked)
        .with("other_types", typed.into_iter().map(String::as_str).collect::<Vec<_>>().join("\n"))
        .with_some("payload_filter", filter)
        .with("headers", headers.join("\n"))
        .with_some("retry_schedule_seconds", endpoint.retry_schedule_seconds.as_deref().map(format::schedule))
        .with_some("timeout_seconds", endpoint.timeout_seconds)
        .with_some("rate_per_second", endpoint.rate_per_second)
        .with_some("ordering", endpoint.ordering.as_ref().map(|ordering| ordering.on_exhausted.as_str()))
        .with_some("ordering_key", endpoint.ordering.as_ref().and_then(|ordering| ordering.key.as_ref()))
        .with("batch", if endpoint.batch.is_some() { "yes" } else { "" })
        .with_some("events_max", endpoint.batch.map(|batch| batch.events_max))
        .with_some("bytes_max", endpoint.batch.map(|batch| batch.bytes_max))
        .with_some("wait_ms_max", endpoint.batch.map(|batch| batch.wait_ms_max))
        .with_some("notify", endpoint.notify.as_ref().map(|notify| notify.endpoint))
        .with_all("notify_on", endpoint.notify.as_ref().map_or(NoticeState::ALL.to_vec(), |notify| notify.on.clone()))
        .with("ascii_json", if endpoint.ascii_json { "yes" } else { "" })
        .with_some("token_header", endpoint.token_header.as_ref())
        .with("version", endpoint.version);
    let filters = endpoint.filters.iter();
    filters.fold(fields, |fields, (name, values)| fields.with_all(&format!("filter.{name}"), values))
}

/// The request that creates a webhook. An empty field means the profile's value.
///
/// # Errors
/// 422: a field cannot be parsed.
pub(crate) fn creation(fields: &Fields, channel: Channel, profile: &Profile) -> Result<CreateEndpoint, Error> {
    let mut reader = FieldReader::new(fields);
    let request = CreateEndpoint {
        name: fields.get("name").to_owned(),
        description: description(fields),
        metadata: None,
        channel,
        url: (channel == Channel::Web).then(|| fields.get("url").to_owned()),
        pushover: pushover(fields, channel),
        chat: channel.has_webhook_url().then(|| ChatFields { webhook_url: Some(fields.get("webhook_url").to_owned()) }),
        telegram: (channel == Channel::Telegram).then(|| TelegramFields {
            bot_token: Some(fields.get("bot_token").to_owned()),
            chat_id: Some(fields.get("chat_id").to_owned()),
        }),
        email: (channel == Channel::Email)
            .then(|| EmailFields { recipients: lines(fields.get("recipients")).map(str::to_owned).collect() }),
        event_types: event_types(fields),
        filters: filters(fields, profile),
        payload_filter: reader.take(payload_filter(fields)),
        headers: reader.take(headers(fields)),
        status: status(fields),
        secret: fields.optional("secret"),
        signature_key: reader.parse("/signature_key").unwrap_or_default(),
        retry_schedule_seconds: reader.take(schedule(fields.get("retry_schedule_seconds"))),
        timeout_seconds: reader.number("/timeout_seconds"),
        rate_per_second: reader.number("/rate_per_second"),
        ordering: ordering(fields, reader.parse("/ordering")),
        batch: batch(fields, &mut reader).filter(|_| channel == Channel::Web),
        notify: notify(fields, reader.parse("/notify")),
        ascii_json: fields.is_checked("ascii_json"),
        token_header: fields.optional("token_header"),
    };
    reader.finish(request)
}

/// The request that edits an endpoint. It sets every field of the form, or clears it if the field is empty.
///
/// # Errors
/// 422: a field cannot be parsed.
pub(crate) fn edit(
    fields: &Fields,
    channel: Channel,
    profile: &Profile,
    before: EndpointStatus,
) -> Result<EditEndpoint, Error> {
    let request = creation(fields, channel, profile)?;
    let web = channel == Channel::Web;
    // A webhook that is disabled or paused remains so until the visitor checks the box "Active".
    let was_stopped = matches!(before, EndpointStatus::Disabled | EndpointStatus::Paused);
    let stays = was_stopped && request.status == RequestedStatus::Inactive;
    Ok(EditEndpoint {
        name: Some(request.name),
        description: Some(request.description),
        url: request.url,
        pushover: request.pushover,
        chat: request.chat,
        telegram: request.telegram,
        email: request.email,
        event_types: Some(request.event_types),
        filters: Some(request.filters),
        payload_filter: Some(request.payload_filter),
        headers: web.then_some(request.headers),
        status: (!stays).then_some(request.status),
        recover: None,
        retry_schedule_seconds: Some(request.retry_schedule_seconds),
        timeout_seconds: Some(request.timeout_seconds),
        rate_per_second: Some(request.rate_per_second),
        ordering: Some(request.ordering),
        batch: web.then_some(request.batch),
        notify: Some(request.notify),
        ascii_json: web.then_some(request.ascii_json),
        token_header: web.then_some(request.token_header),
        metadata: None,
        channel: None,
        signature_key: None,
    })
}

/// The field `ordering` says what follows a failure; without it, deliveries have no order.
fn ordering(fields: &Fields, on_exhausted: Option<OnExhausted>) -> Option<Ordering> {
    on_exhausted.map(|on_exhausted| Ordering { key: fields.optional("ordering_key"), on_exhausted })
}

/// The field `batch` says whether several events are sent in one request. An empty number means the default.
fn batch(fields: &Fields, reader: &mut FieldReader<'_>) -> Option<Batch> {
    let default = Batch::default();
    let batch = Batch {
        events_max: reader.number("/batch/events_max").unwrap_or(default.events_max),
        bytes_max: reader.number("/batch/bytes_max").unwrap_or(default.bytes_max),
        wait_ms_max: reader.number("/batch/wait_ms_max").unwrap_or(default.wait_ms_max),
    };
    fields.is_checked("batch").then_some(batch)
}

/// The field `notify` names the endpoint that gets notices; without it, none does.
fn notify(fields: &Fields, endpoint: Option<EndpointId>) -> Option<Notify> {
    let on = fields.all("notify_on").iter().filter_map(|state| state.parse().ok()).collect();
    endpoint.map(|endpoint| Notify { endpoint, on })
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

fn description(fields: &Fields) -> Option<String> {
    Some(fields.lines("description")).filter(|text| !text.is_empty())
}

fn status(fields: &Fields) -> RequestedStatus {
    if fields.is_checked("active") { RequestedStatus::Active } else { RequestedStatus::Inactive }
}

fn pushover(fields: &Fields, channel: Channel) -> Option<PushoverFields> {
    let text = |name| Some(fields.get(name).to_owned());
    (channel == Channel::Pushover).then(|| PushoverFields {
        user_key: text("user_key"),
        api_token: text("api_token"),
        sound: text("sound"),
    })
}

fn event_types(fields: &Fields) -> Vec<String> {
    let typed = lines(fields.get("other_types")).map(str::to_owned);
    fields.all("event_types").into_iter().chain(typed).collect()
}

fn filters(fields: &Fields, profile: &Profile) -> BTreeMap<String, Vec<String>> {
    let values = |name: &String| {
        let typed = lines(fields.get(&format!("filter_typed.{name}"))).map(str::to_owned);
        let mut values: Vec<String> = fields.all(&format!("filter.{name}")).into_iter().chain(typed).collect();
        values.dedup();
        (!values.is_empty()).then(|| (name.clone(), values))
    };
    profile.attributes.keys().filter_map(values).collect()
}

fn payload_filter(fields: &Fields) -> Result<Option<Value>, FieldError> {
    let text = fields.lines("payload_filter");
    if text.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(&text).map(Some).map_err(|error| {
        let detail = format!("not valid JSON, see line {}, column {}", error.line(), error.column());
        FieldError::new("/payload_filter", detail)
    })
}

fn headers(fields: &Fields) -> Result<BTreeMap<String, String>, FieldError> {
    let error = |detail| FieldError::new("/headers", detail);
    let mut headers = BTreeMap::new();
    for line in lines(fields.get("headers")) {
        let (name, value) =
            line.split_once(':').ok_or_else(|| error(format!("expected “Name: value”, got “{line}”")))?;
        if headers.insert(name.trim().to_owned(), value.trim().to_owned()).is_some() {
            return Err(error(format!("the header {} is given twice", name.trim())));
        }
    }
    Ok(headers)
}

/// Parses a retry schedule such as `1m, 5m, 2h, 90` to seconds. The text `none` is an empty schedule. An empty text is `None`,
/// which means the profile's schedule.
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
        FieldError::new("/retry_schedule_seconds", format!("expected delays such as “30s”, “5m” or “2h”, got “{word}”"))
    })
}

#[cfg(test)]
mod tests {
    use postrider_profiles::Profiles;

    use super::*;

    fn create(fields: &Fields) -> Result<CreateEndpoint, Error> {
        creation(fields, Channel::Web, Profiles::builtin().get("standard").unwrap())
    }

    #[test]
    fn retry_schedules_accept_units_and_separators() {
        assert_eq!(schedule("1m, 5m  15min 2h 1d 7").unwrap(), Some(vec![60, 300, 900, 7200, 86400, 7]));
        assert_eq!(schedule(" none ").unwrap(), Some(vec![]));
        assert_eq!(schedule("").unwrap(), None);
        assert!(schedule("1m, soon").is_err() && schedule("99999999999d").is_err());
    }

    #[test]
    fn an_empty_field_creates_with_the_default_and_clears_in_an_edit() {
        let fields = Fields::default()
            .with("name", "n")
            .with("url", "https://example.com/")
            .with("event_types", "a.b")
            .with("other_types", "c.*\n\n")
            .with("headers", "X-A: 1\nX-B: a:b")
            .with("filter.bridge", "b1")
            .with("filter_typed.bridge", "b2\n");
        let created = create(&fields).unwrap();
        assert_eq!(created.event_types, ["a.b", "c.*"]);
        assert_eq!(created.filters["bridge"], ["b1", "b2"]);
        assert_eq!(created.headers["X-B"], "a:b");
        assert!(created.description.is_none() && created.timeout_seconds.is_none() && created.pushover.is_none());
        let profiles = Profiles::builtin();
        let edit = |before| edit(&fields, Channel::Web, profiles.get("standard").unwrap(), before).unwrap();
        let active = edit(EndpointStatus::Active);
        assert_eq!((active.description, active.retry_schedule_seconds), (Some(None), Some(None)));
        assert!(active.payload_filter == Some(None) && active.channel.is_none() && active.status.is_some());
        assert!(edit(EndpointStatus::Disabled).status.is_none(), "a webhook that was switched off stays so");
    }

    #[test]
    fn an_error_of_the_form_names_its_field() {
        let wrong =
            [("payload_filter", "{"), ("headers", "nonsense"), ("headers", "A: 1\nA: 2"), ("timeout_seconds", "soon")];
        for (name, value) in wrong {
            match create(&Fields::default().with(name, value)) {
                Err(Error::Invalid(errors)) => assert_eq!(errors[0].pointer, format!("/{name}")),
                other => panic!("{other:?}"),
            }
        }
    }
}
