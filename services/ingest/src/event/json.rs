//! The JSON format of events. It is read strictly and without building a tree: `data` and `metadata` remain the producer's
//! bytes.

use std::borrow::Cow;

use postrider_http::json::{self, JsonError};
use postrider_http::problem::FieldError;
use postrider_model::event::{Attributes, Origin};
use postrider_model::ids::TenantId;
use postrider_model::limits::{BATCH_EVENTS_MAX, EVENT_BYTES_MAX};
use postrider_wire::http::PublishEvent;

use crate::event::{Event, EventTenant, RawEvent, RawWindow, check};
use crate::refused::Refused;

/// The way in which an event arrived. It determines where the tenant and the id are specified.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    /// The body of `POST /v1/publish`.
    Http {
        /// The value of the header `Idempotency-Key`, if the request has this header.
        key: Option<&'a str>,
    },
    /// An event of a batch over HTTP.
    HttpBatch,
    /// A message on the exchange. If the body contains no id, the event's id is the `message_id`.
    Exchange {
        /// The AMQP property `message_id`.
        message_id: Option<&'a str>,
    },
    /// An event of a batch on the exchange.
    ExchangeBatch,
}

/// Reads one event.
///
/// # Errors
/// All invalid fields, with the values that are allowed in them.
pub(crate) fn read_event<'a>(
    tenant: impl EventTenant,
    json: &'a [u8],
    source: Source<'a>,
) -> Result<Event<'a>, Refused> {
    check_size(json)?;
    let request: PublishEvent<'a> = json::read(json).map_err(|error| source.allowed_fields(error))?;
    let mut errors = source.check_tenant(request.tenant.as_deref());
    // If the tenant is invalid, reading continues without it, to find the other errors.
    let tenant = match tenant.tenant(request.tenant.as_deref()) {
        Ok(tenant) => tenant,
        Err(Refused::Invalid(wrong)) => {
            errors.extend(wrong);
            TenantId::OPERATOR
        }
        Err(refused) => return Err(refused),
    };
    let mut fields = RawEvent {
        event_type: request.event_type,
        data: Cow::Borrowed(request.data),
        id: request.id,
        key: request.idempotency_key,
        timestamp: request.timestamp,
        metadata: request.metadata.map(Cow::Borrowed),
        attributes: Attributes(request.attributes.unwrap_or_default()),
        origin: request.origin.map(Origin::from).unwrap_or_default(),
        source: None,
        window: RawWindow {
            deliver_at: request.deliver_at,
            expires_at: request.expires_at,
            ttl_seconds: request.ttl_seconds,
        },
    };
    errors.extend(source.name(&mut fields));
    match check(tenant, fields) {
        Ok(event) if errors.is_empty() => Ok(event),
        checked => {
            errors.extend(checked.err().into_iter().flatten());
            Err(Refused::Invalid(errors))
        }
    }
}

/// # Errors
/// The event is larger than an event in any format may be.
pub(crate) fn check_size(event: &[u8]) -> Result<(), Refused> {
    if event.len() > EVENT_BYTES_MAX {
        let detail = format!("an event has at most {EVENT_BYTES_MAX} bytes, got {}", event.len());
        return Err(Refused::TooLarge(detail));
    }
    Ok(())
}

/// # Errors
/// The batch contains no events, or too many events.
pub(crate) fn check_batch_length(events: usize) -> Result<(), Refused> {
    if events == 0 || events > BATCH_EVENTS_MAX {
        return Err(Refused::field("/events", format!("1 to {BATCH_EVENTS_MAX} events, got {events}")));
    }
    Ok(())
}

/// Refuses a body that is an array. `instead` is the part of the error text that describes what to send instead.
///
/// # Errors
/// The body is an array.
pub(crate) fn refuse_array(body: &[u8], instead: &str) -> Result<(), Refused> {
    match body.trim_ascii_start().first() {
        Some(b'[') => Err(Refused::field("", format!("expected an object, got an array; {instead}"))),
        _ => Ok(()),
    }
}

impl<'a> Source<'a> {
    /// Returns the fields that this source refuses, although events of other sources may contain them.
    fn refused_fields(self) -> &'static [&'static str] {
        match self {
            Self::Http { .. } | Self::Exchange { .. } => &["idempotency_key"],
            Self::HttpBatch => &[],
            Self::ExchangeBatch => &["idempotency_key", "tenant"],
        }
    }

    /// Removes the fields that this source refuses from the list of allowed fields in an unknown-field error.
    fn allowed_fields(self, error: JsonError) -> JsonError {
        match error {
            JsonError::Field(mut error) if error.detail.contains("unknown field `") => {
                for field in self.refused_fields() {
                    error.detail = error.detail.replace(&format!(", `{field}`"), "");
                }
                JsonError::Field(error)
            }
            error => error,
        }
    }

    /// Returns an error if the event specifies a tenant where this source does not allow one, or no tenant where this source
    /// requires one.
    fn check_tenant(self, stated: Option<&str>) -> Vec<FieldError> {
        let detail = match (self, stated) {
            (Self::ExchangeBatch, Some(_)) => "unknown field `tenant`: a batch names its tenant once, next to `events`",
            (Self::Exchange { .. }, None) => "missing field `tenant`",
            _ => return Vec::new(),
        };
        vec![FieldError::new("/tenant", detail)]
    }

    /// Sets the id or idempotency key that this source specifies for the event, and returns the errors.
    fn name(self, fields: &mut RawEvent<'a>) -> Vec<FieldError> {
        let mut errors = Vec::new();
        match self {
            Self::HttpBatch => {}
            Self::Http { key } => {
                if fields.key.is_some() {
                    let detail = "a single publish takes the Idempotency-Key header instead";
                    errors.push(FieldError::new("/idempotency_key", detail));
                }
                fields.key = key.map(Cow::Borrowed).or(fields.key.take());
            }
            Self::Exchange { .. } | Self::ExchangeBatch => {
                if fields.key.take().is_some() {
                    let detail = "not allowed on the exchange, where the event's id has the same effect";
                    errors.push(FieldError::new("/idempotency_key", detail));
                }
                let message_id = if let Self::Exchange { message_id } = self { message_id } else { None };
                fields.id = fields.id.take().or(message_id.map(Cow::Borrowed));
                if fields.id.is_none() {
                    let detail = "missing: an event on the exchange needs an id, in this field or, if it is not in a batch, \
                                  in the property message_id";
                    errors.push(FieldError::new("/id", detail));
                }
            }
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use postrider_http::problem::Problem;

    use super::*;
    use crate::event::IdSource;
    use crate::event::content::Content;

    fn read(json: &str) -> Result<Event<'_>, Refused> {
        read_event(TenantId::OPERATOR, json.as_bytes(), Source::Http { key: None })
    }

    #[track_caller]
    fn refused(json: &str, pointer: &str) {
        let problem = Problem::from(read(json).expect_err(json));
        let pointers: Vec<&str> = problem.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert!(pointers.contains(&pointer), "{json}: {pointers:?}, wanted {pointer}");
    }

    #[test]
    fn data_keeps_the_producers_bytes() {
        let event = read(r#"{"type":"a.b","data":{ "n": 1.00, "n":12345678901234567890123 }}"#).unwrap();
        assert_eq!(event.data.get(), r#"{ "n": 1.00, "n":12345678901234567890123 }"#);
        assert_eq!(event.id_source, IdSource::Made);
    }

    #[test]
    fn each_mistake_is_named_by_its_field() {
        refused(r#"{"type":"a..b","data":{}}"#, "/type");
        refused(r#"{"type":"a","data":{},"timestamp":"yesterday"}"#, "/timestamp");
        refused(r#"{"type":"a","data":{},"id":"a b"}"#, "/id");
        refused(r#"{"type":"a","data":{},"attributes":{"Bridge":"x"}}"#, "/attributes");
        refused(r#"{"type":"a","data":{},"metadata":[]}"#, "/metadata");
        refused(r#"{"type":"a","data":{},"expires_at":"never"}"#, "/expires_at");
        refused(r#"{"type":"a","data":{},"deliver_at":"soon"}"#, "/deliver_at");
        refused(r#"{"type":"a","data":{},"ttl_seconds":0}"#, "/ttl_seconds");
        refused(r#"{"type":"a","data":{},"ttl_seconds":"60"}"#, "/ttl_seconds");
        refused(r#"{"type":"a","data":{},"idempotency_key":"k"}"#, "/idempotency_key");
        let deep = format!(r#"{{"type":"a","data":{}{}}}"#, "[".repeat(65), "]".repeat(65));
        refused(&deep, "/data");
        refused(r#"{"type":"a","data":{},"colour":"red"}"#, "/colour");
        refused(r#"{"type":"a"}"#, "/data");
        assert!(read(r#"{"type":"a","data":{}"#).is_err());
    }

    #[test]
    fn an_unknown_field_is_answered_with_the_fields_of_its_place_only() {
        let allowed = |place| {
            let json = br#"{"type":"a","data":{},"colour":1}"#;
            let problem = Problem::from(read_event(TenantId::OPERATOR, json, place).unwrap_err());
            assert!(problem.detail.contains("/colour: unknown field `colour`, expected one of `type`"), "{problem}");
            ["idempotency_key", "tenant"].map(|field| problem.errors[0].detail.contains(field))
        };
        assert_eq!(allowed(Source::Http { key: None }), [false, true]);
        assert_eq!(allowed(Source::HttpBatch), [true, true]);
        assert_eq!(allowed(Source::ExchangeBatch), [false, false]);
    }

    #[test]
    fn an_array_is_no_event() {
        refused(r#"["a.b",{"x":1}]"#, "");
        let problem = Problem::from(refuse_array(b" [1]", "several events go elsewhere").unwrap_err());
        assert_eq!(
            (problem.status, problem.detail.as_str()),
            (422, "expected an object, got an array; several events go elsewhere")
        );
        assert!(refuse_array(b"{}", "").is_ok());
    }

    #[test]
    fn a_key_makes_the_id_and_excludes_one() {
        let with_key =
            |json: &'static str| read_event(TenantId::OPERATOR, json.as_bytes(), Source::Http { key: Some("order-1") });
        let first = with_key(r#"{"type":"a","data":{}}"#).unwrap();
        let again = with_key(r#"{"type":"a","data":{}}"#).unwrap();
        let (content, content_again) = (Content::of(&first), Content::of(&again));
        assert_eq!((&first.id, content.hash()), (&again.id, content_again.hash()));
        assert_eq!(first.id_source, IdSource::Producer);
        let other = with_key(r#"{"type":"a","data":{"x":1}}"#).unwrap();
        assert_eq!(first.id, other.id);
        assert!(!content.is(Content::of(&other).hash()));
        assert!(with_key(r#"{"type":"a","data":{},"id":"x"}"#).is_err());
    }

    #[test]
    fn on_the_exchange_an_event_names_its_tenant_and_its_id() {
        let exchange = |json: &'static str, message_id| {
            read_event(TenantId::OPERATOR, json.as_bytes(), Source::Exchange { message_id })
        };
        let whole = r#"{"tenant":"ten_operator","type":"a","data":{},"id":"e1"}"#;
        assert_eq!(exchange(whole, Some("m1")).unwrap().id.as_str(), "e1");
        let without = r#"{"tenant":"ten_operator","type":"a","data":{}}"#;
        assert_eq!(exchange(without, Some("m1")).unwrap().id.as_str(), "m1");
        let pointers =
            |refused: Refused| Problem::from(refused).errors.into_iter().map(|error| error.pointer).collect::<Vec<_>>();
        assert_eq!(pointers(exchange(without, None).unwrap_err()), ["/id"]);
        assert_eq!(pointers(exchange(without, Some("not an id")).unwrap_err()), ["/id"]);
        let foreign = r#"{"tenant":"ten_0123","type":"a","data":{},"id":"e1"}"#;
        assert_eq!(pointers(exchange(foreign, None).unwrap_err()), ["/tenant"]);
        let keyed = r#"{"type":"a","data":{},"idempotency_key":"k"}"#;
        assert_eq!(pointers(exchange(keyed, None).unwrap_err()), ["/tenant", "/idempotency_key", "/id"]);
        let batch = read_event(TenantId::OPERATOR, whole.as_bytes(), Source::ExchangeBatch);
        assert_eq!(pointers(batch.unwrap_err()), ["/tenant"]);
        let over_http = read_event(TenantId::OPERATOR, whole.as_bytes(), Source::HttpBatch).unwrap();
        assert_eq!(over_http.tenant, TenantId::OPERATOR);
        let over_http = read_event(TenantId::OPERATOR, foreign.as_bytes(), Source::HttpBatch);
        assert_eq!(pointers(over_http.unwrap_err()), ["/tenant"]);
    }
}
