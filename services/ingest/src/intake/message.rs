//! Reads a message from the exchange: its tenant from the routing key, and its events from the body.

use std::borrow::Cow;

use bytes::Bytes;
use postrider_broker::ProducerMessage;
use postrider_http::json;
use postrider_model::ids::TenantId;
use postrider_model::limits::BATCH_BYTES_MAX;
use postrider_profiles::Mappings;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::message_event::MessageEvent;
use super::records;
use crate::event::cloudevents::{self, essence};
use crate::event::json::{Source, check_batch_length, read_event, refuse_array};
use crate::event::{Event, EventTenant};
use crate::refused::Refused;

/// The version of the message format that this build reads. A message without the version header has this version.
const VERSION: &str = "1";
const VERSION_HEADER: &str = "postrider-version";

/// Last part of the routing key for a message that is not a single event. An event with such a type can only be published in a
/// batch.
const BATCH: &str = "batch";
const KUMOMTA: &str = "kumomta";

/// The parts of a routing key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address<'a> {
    /// The id or the external id of the tenant.
    pub(super) tenant: &'a str,
    /// The part after the tenant: an event type with `_` instead of spaces, [`BATCH`] or [`KUMOMTA`].
    what: &'a str,
}

/// The content of a message.
pub(super) enum Content<'a> {
    /// A KumoMTA record that results in no event.
    Nothing,
    /// Events. An event that cannot be read does not affect the other events.
    Events(Vec<MessageEvent<'a>>),
}

/// A batch on the exchange. It specifies the tenant once for all events.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    #[serde(borrow)]
    tenant: Cow<'a, str>,
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

impl<'a> Address<'a> {
    /// Reads the routing key.
    ///
    /// # Errors
    /// The message has an unsupported version or an invalid routing key.
    pub(super) fn of(message: &'a ProducerMessage) -> Result<Self, String> {
        if let Some(version) = message.header(VERSION_HEADER).filter(|version| *version != VERSION) {
            let version: String = version.chars().take(20).collect();
            return Err(format!("{VERSION_HEADER} {version:?}: this build reads version {VERSION}"));
        }
        let key = message.routing_key.as_str();
        let parts = key.split_once('.').filter(|(_, what)| !what.is_empty());
        let (tenant, what) = parts.ok_or_else(|| {
            format!("routing key {key:?}: expected <tenant>.<event type>, <tenant>.{BATCH} or <tenant>.{KUMOMTA}")
        })?;
        Ok(Self { tenant, what })
    }

    /// Reads the body.
    ///
    /// # Errors
    /// No event of the message can be read.
    pub(super) fn read(
        &self,
        tenant: &impl EventTenant,
        message: &'a ProducerMessage,
        profile: &str,
        mappings: &Mappings,
    ) -> Result<Content<'a>, Refused> {
        match self.what {
            KUMOMTA => {
                let events = records::read(tenant.tenant(None)?, &message.body, profile, mappings)?;
                Ok(if events.is_empty() { Content::Nothing } else { Content::Events(events) })
            }
            BATCH => self.read_batch(tenant, message).map(Content::Events),
            _ => Ok(Content::Events(vec![MessageEvent { event: self.read_one(tenant, message), alone: None }])),
        }
    }

    fn read_one(&self, tenant: &impl EventTenant, message: &'a ProducerMessage) -> Result<Event<'a>, Refused> {
        let event = match cloudevents::over_amqp(message)? {
            Some(form) => form.read(tenant, &message.body)?,
            None => {
                check_content_type(message)?;
                let source = Source::Exchange { message_id: message.message_id.as_deref() };
                refuse_array(&message.body, "several events go to <tenant>.batch")?;
                read_event(tenant, &message.body, source)?
            }
        };
        let expected = event.event_type.as_str().replace(' ', "_");
        if self.what != expected {
            let detail = format!(
                "the event's type is {}, so its routing key is {}.{expected}; it came with {}",
                event.event_type, self.tenant, message.routing_key
            );
            return Err(Refused::Malformed(detail));
        }
        Ok(event)
    }

    fn read_batch(
        &self,
        tenant: &impl EventTenant,
        message: &'a ProducerMessage,
    ) -> Result<Vec<MessageEvent<'a>>, Refused> {
        check_content_type(message)?;
        if message.body.len() > BATCH_BYTES_MAX {
            let detail = format!("a batch has at most {BATCH_BYTES_MAX} bytes, got {}", message.body.len());
            return Err(Refused::TooLarge(detail));
        }
        let batch: Batch<'a> = json::read(&message.body)?;
        let id = tenant.tenant(Some(&batch.tenant))?;
        check_batch_length(batch.events.len())?;
        let several = batch.events.len() > 1;
        let read = |json: &'a RawValue| {
            let event = read_event(tenant, json.get().as_bytes(), Source::ExchangeBatch);
            MessageEvent { event, alone: several.then(|| batch_of_one(id, json)) }
        };
        Ok(batch.events.into_iter().map(read).collect())
    }
}

fn check_content_type(message: &ProducerMessage) -> Result<(), Refused> {
    match message.content_type.as_deref().map(essence).as_deref() {
        None | Some("" | "application/json") => Ok(()),
        Some(other) => {
            let detail = format!("content_type {other}: expected application/json or {}", cloudevents::STRUCTURED);
            Err(Refused::UnsupportedFormat(detail))
        }
    }
}

fn batch_of_one(tenant: TenantId, event: &RawValue) -> Bytes {
    format!(r#"{{"tenant":"{tenant}","events":[{}]}}"#, event.get()).into()
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
