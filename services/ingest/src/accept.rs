//! Accepting: from a checked event to a message that the broker has confirmed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use postrider_broker::topology::ACCEPTED_EXCHANGE;
use postrider_broker::{BatchPublisher, PublishError};
use postrider_http::problem::{FieldError, Problem};
use postrider_model::delivery::Lane;
use postrider_model::event::EventType;
use postrider_model::ids::{EventId, TenantId};
use postrider_model::limits::EVENT_ID_DAYS_AFTER_RETENTION;
use postrider_model::time::UnixMillis;
use postrider_profiles::{EventView, Profile};
use postrider_telemetry::spans;
use postrider_telemetry::trace_context::TraceContext;
use postrider_wire::bundle::Member;
use postrider_wire::messages::AcceptedEvent;
use tracing::Instrument;

use crate::catalog::EventTypes;
use crate::content::Content;
use crate::event::{CheckedEvent, IdSource};
use crate::idempotency::{Remembered, Seen, Stamp};
use crate::metrics;
use crate::numbers::Numbers;
use crate::schemas::SchemaChecks;

/// What a producer is told about an accepted event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) id: EventId,
    pub(crate) duplicate: bool,
    /// What receivers of the tenant's product cannot verify.
    pub(crate) warnings: Vec<String>,
}

/// Who publishes, and under which configuration.
#[derive(Debug, Clone)]
pub(crate) struct Publisher {
    pub(crate) tenant: TenantId,
    pub(crate) profile: Arc<Profile>,
    /// Whether types are refused that neither the profile's catalog nor the tenant names.
    pub(crate) enforces_catalog: bool,
    /// What the tenant says about event types.
    pub(crate) event_types: Arc<EventTypes>,
    pub(crate) config_version: i64,
    /// The lane that its deliveries take.
    pub(crate) lane: Lane,
    /// For how long the request was slowed: it is answered no later for that.
    pub(crate) waited: Duration,
}

impl Publisher {
    /// Whether the catalog names this type: the profile's, or what the tenant added.
    fn names(&self, event_type: &EventType) -> bool {
        self.profile.event_type(event_type.as_str()).is_some() || self.event_types.has(event_type)
    }
}

/// Stamps events and hands them to the broker.
pub(crate) struct Accepter {
    publisher: BatchPublisher,
    remembered: Remembered,
    schemas: SchemaChecks,
    confirm_timeout: Duration,
    numbers: Arc<Numbers>,
}

impl Accepter {
    pub(crate) fn new(
        publisher: BatchPublisher,
        remembered: Remembered,
        confirm_timeout: Duration,
        numbers: Arc<Numbers>,
    ) -> Self {
        Self { publisher, remembered, schemas: SchemaChecks::new(), confirm_timeout, numbers }
    }

    /// Accepts one event of `trace`; returns once the broker has confirmed it, or once it is known to be a repeat.
    ///
    /// # Errors
    /// 422 for a field that the profile requires or the type's schema refuses, 429 while too many of the tenant's events are
    /// being checked by schemas, 409 for an id that another event has, 503 when no confirm came in
    /// time: then nobody knows, and a repeat under the same id or key is safe.
    pub(crate) async fn accept(
        &self,
        publisher: &Publisher,
        event: &CheckedEvent<'_>,
        trace: TraceContext,
    ) -> Result<Accepted, Problem> {
        let (began, now) = (Instant::now(), UnixMillis::now());
        let warnings = check_profile(publisher, event, now)?;
        self.schemas.check(publisher.tenant, &publisher.event_types, event).await?;
        let publishing = Publishing { publisher, event, began, trace };
        let duplicate = match event.id_source {
            IdSource::Made => {
                let stamp = Stamp { accepted_at: now, claimed: false };
                self.publish(&publishing, None, stamp).await.map_err(|error| unavailable(&error))?;
                false
            }
            IdSource::Producer => self.publish_once(&publishing, now).await?,
        };
        metrics::accepted(duplicate);
        tracing::debug!(event.id = %event.id, tenant.id = %publisher.tenant, duplicate, "accepted an event");
        Ok(Accepted { id: event.id.clone(), duplicate, warnings })
    }

    /// Publishes an event whose producer named its id, unless it was accepted before: then it is a duplicate.
    async fn publish_once(&self, publishing: &Publishing<'_>, now: UnixMillis) -> Result<bool, Problem> {
        let Publishing { publisher, event, .. } = *publishing;
        let content = Content::of(event);
        let publish = async |stamp| self.publish(publishing, Some(content.hash().to_owned()), stamp).await;
        let seen = self.remembered.once(publisher.tenant, event, &content, now, publish).await;
        match seen.map_err(|error| unavailable(&error))? {
            Seen::Published => Ok(false),
            Seen::Duplicate => Ok(true),
            Seen::OtherContent { accepted_at, differences } => {
                let what = if differences.is_empty() { "content".to_owned() } else { differences.join(", ") };
                Err(Problem::conflict(format!(
                    "{} belongs to an event that was accepted at {accepted_at} with other {what}; an id or idempotency key \
                     belongs to one event for the log's retention and {EVENT_ID_DAYS_AFTER_RETENTION} days more",
                    event.id
                )))
            }
        }
    }

    async fn publish(
        &self,
        publishing: &Publishing<'_>,
        content_hash: Option<String>,
        stamp: Stamp,
    ) -> Result<(), PublishError> {
        let Publishing { publisher, event, began, trace } = *publishing;
        let Stamp { accepted_at, claimed } = stamp;
        let span = spans::publish(ACCEPTED_EXCHANGE, &event.id);
        let number = self.numbers.take();
        let head = AcceptedEvent {
            id: event.id.clone(),
            tenant: publisher.tenant,
            event_type: event.event_type.clone(),
            occurred_at: event.occurred_at.unwrap_or(accepted_at),
            accepted_at,
            event_day: accepted_at.day(),
            origin: event.origin,
            attributes: event.attributes.clone(),
            metadata: event.metadata.as_deref().map(ToOwned::to_owned),
            lane: publisher.lane,
            config_version: publisher.config_version,
            instance: self.numbers.instance(),
            sequence: number.number,
            epoch: 0,
            content_hash,
            claimed,
            traceparent: Some(TraceContext::of(&span).unwrap_or(trace).to_string()),
        };
        // A head of strings and numbers can always be written; a refusal is what the caller could do something about.
        let member = Member::new(&head, Bytes::copy_from_slice(event.data.get().as_bytes()))
            .map_err(|_| PublishError::Refused)?;
        let confirm_timeout = self.confirm_timeout.saturating_sub(publisher.waited).saturating_sub(began.elapsed());
        self.publisher.publish_within(vec![member], confirm_timeout).instrument(span).await?;
        number.confirm();
        Ok(())
    }
}

/// An event on its way to the broker.
#[derive(Clone, Copy)]
struct Publishing<'a> {
    publisher: &'a Publisher,
    event: &'a CheckedEvent<'a>,
    /// Since when its producer waits.
    began: Instant,
    trace: TraceContext,
}

/// What the tenant's profile requires of an event, and what it warns of.
fn check_profile(publisher: &Publisher, event: &CheckedEvent<'_>, now: UnixMillis) -> Result<Vec<String>, Problem> {
    if publisher.enforces_catalog && !publisher.names(&event.event_type) {
        let Profile { name, .. } = &*publisher.profile;
        let detail = format!(
            "{} is not in the catalog, which this tenant enforces: the profile {name} does not name it, nor does the tenant",
            event.event_type
        );
        return Err(Problem::invalid_field("/type", detail));
    }
    let view = EventView {
        id: &event.id,
        event_type: &event.event_type,
        occurred_at: event.occurred_at.unwrap_or(now),
        accepted_at: now,
        attributes: &event.attributes,
        metadata: event.metadata.as_deref(),
        data: event.data.get().as_bytes(),
    };
    publisher.profile.check_event(&view).map_err(|errors| {
        Problem::unprocessable(errors.into_iter().map(|error| FieldError::new(error.pointer, error.detail)).collect())
    })?;
    Ok(publisher.profile.warnings(&view))
}

fn unavailable(error: &PublishError) -> Problem {
    metrics::refused();
    Problem::unavailable(
        format!("the event may or may not be accepted ({error}); publish it again with the same id or Idempotency-Key"),
        Duration::from_secs(2),
    )
}
