//! Reading a message from the exchange: whose it is by its routing key, and which events its body says.

use std::borrow::Cow;

use bytes::Bytes;
use postrider_broker::ProducerMessage;
use postrider_http::problem::{Problem, read_json};
use postrider_model::ids::TenantId;
use postrider_model::limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX};
use postrider_profiles::Mappings;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::records;
use crate::cloudevents::{self, essence};
use crate::event::CheckedEvent;
use crate::request::{Place, read_event, refuse_array};
use crate::sender::Whose;

/// The version of the contract that this build speaks; what a message without the header has.
const VERSION: &str = "1";
const VERSION_HEADER: &str = "postrider-version";

/// Routing keys whose messages are no single event: no event type can be published by itself under these names.
const BATCH: &str = "batch";
const KUMOMTA: &str = "kumomta";

/// What the routing key says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address<'a> {
    /// The tenant's id or its external id.
    pub(super) tenant: &'a str,
    /// Behind the tenant: an event type with `_` for spaces, or one of the names above.
    what: &'a str,
}

/// What a message says.
pub(super) enum Content<'a> {
    /// Nothing that anybody is to be told.
    Nothing,
    /// Events, each read on its own.
    Events(Vec<Member<'a>>),
}

/// An event of a message, or why it is none.
pub(super) struct Member<'a> {
    pub(super) event: Result<CheckedEvent<'a>, Problem>,
    /// The body that says this alone; `None` where the message cannot be parted.
    pub(super) alone: Option<Bytes>,
}

/// A batch, as the exchange takes it: the tenant stands beside the events.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    #[serde(borrow)]
    tenant: Cow<'a, str>,
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

impl<'a> Address<'a> {
    /// Whose message this is, if it is of a version that can be read.
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
    /// A message of which nothing can be read.
    pub(super) fn read(
        &self,
        whose: &impl Whose,
        message: &'a ProducerMessage,
        profile: &str,
        mappings: &Mappings,
    ) -> Result<Content<'a>, Problem> {
        match self.what {
            KUMOMTA => {
                let events = records::read(whose.tenant(None)?, &message.body, profile, mappings)?;
                Ok(if events.is_empty() { Content::Nothing } else { Content::Events(events) })
            }
            BATCH => self.read_batch(whose, message).map(Content::Events),
            _ => Ok(Content::Events(vec![Member { event: self.read_one(whose, message), alone: None }])),
        }
    }

    fn read_one(&self, whose: &impl Whose, message: &'a ProducerMessage) -> Result<CheckedEvent<'a>, Problem> {
        let event = match cloudevents::over_amqp(message)? {
            Some(form) => form.read(whose, &message.body)?,
            None => {
                check_content_type(message)?;
                let place = Place::Exchange { message_id: message.message_id.as_deref() };
                refuse_array(&message.body, "several events go to <tenant>.batch")?;
                read_event(whose, &message.body, place)?
            }
        };
        let expected = event.event_type.as_str().replace(' ', "_");
        if self.what != expected {
            let detail = format!(
                "the event's type is {}, so its routing key is {}.{expected}; it came with {}",
                event.event_type, self.tenant, message.routing_key
            );
            return Err(Problem::bad_request(detail));
        }
        Ok(event)
    }

    fn read_batch(&self, whose: &impl Whose, message: &'a ProducerMessage) -> Result<Vec<Member<'a>>, Problem> {
        check_content_type(message)?;
        if message.body.len() > BATCH_BYTES_MAX {
            let detail = format!("a batch has at most {BATCH_BYTES_MAX} bytes, got {}", message.body.len());
            return Err(Problem::payload_too_large(detail));
        }
        let batch: Batch<'a> = read_json(&message.body)?;
        let tenant = whose.tenant(Some(&batch.tenant))?;
        if batch.events.is_empty() || batch.events.len() > BATCH_EVENTS_MAX {
            let detail = format!("1 to {BATCH_EVENTS_MAX} events, got {}", batch.events.len());
            return Err(Problem::invalid_field("/events", detail));
        }
        let several = batch.events.len() > 1;
        let member = |json: &'a RawValue| {
            let event = read_event(whose, json.get().as_bytes(), Place::ExchangeBatch);
            Member { event, alone: several.then(|| batch_of_one(tenant, json)) }
        };
        Ok(batch.events.into_iter().map(member).collect())
    }
}

fn check_content_type(message: &ProducerMessage) -> Result<(), Problem> {
    match message.content_type.as_deref().map(essence).as_deref() {
        None | Some("" | "application/json") => Ok(()),
        Some(other) => {
            let detail = format!("content_type {other}: expected application/json or {}", cloudevents::STRUCTURED);
            Err(Problem::unsupported_media_type(detail))
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
