//! Accepts events: publishes a checked event and waits until the broker has confirmed it.

mod schemas;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use postrider_broker::topology::ACCEPTED_EXCHANGE;
use postrider_broker::{BatchPublisher, PublishError};
use postrider_http::problem::FieldError;
use postrider_model::delivery_window::WindowError;
use postrider_model::ids::EventId;
use postrider_model::limits::EVENT_ID_DAYS_AFTER_RETENTION;
use postrider_model::time::UnixMillis;
use postrider_profiles::{EventView, Profile};
use postrider_telemetry::spans;
use postrider_telemetry::trace_context::TraceContext;
use postrider_wire::bundle::Member;
use postrider_wire::messages::AcceptedEvent;
use tracing::Instrument;

use self::schemas::SchemaChecks;
use crate::admission::tenant_directory::PublishingTenant;
use crate::admission::{Admission, ExpiredEvents};
use crate::audit_sequence::AuditSequence;
use crate::event::content::Content;
use crate::event::{Event, IdSource};
use crate::idempotency::{Idempotency, PublishOutcome, Stamp};
use crate::metrics;
use crate::refused::Refused;

/// Time after which a producer should repeat an event that the broker did not confirm.
const UNCONFIRMED_RETRY: Duration = Duration::from_secs(2);

/// The receipt of an accepted event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) id: EventId,
    pub(crate) duplicate: bool,
    /// Warnings about values of the event that some receivers of the tenant's product cannot verify.
    pub(crate) warnings: Vec<String>,
}

/// Checks events by profile and schema, and publishes each of them once.
pub(crate) struct Accepter {
    publisher: BatchPublisher,
    /// For events of tenants with an ordered endpoint.
    in_order: BatchPublisher,
    idempotency: Idempotency,
    schemas: SchemaChecks,
    confirm_timeout: Duration,
    sequence: Arc<AuditSequence>,
}

impl Accepter {
    pub(crate) fn new(
        (publisher, in_order): (BatchPublisher, BatchPublisher),
        idempotency: Idempotency,
        confirm_timeout: Duration,
        sequence: Arc<AuditSequence>,
    ) -> Self {
        Self { publisher, in_order, idempotency, schemas: SchemaChecks::new(), confirm_timeout, sequence }
    }

    /// Accepts one event, which belongs to `trace`. Returns after the broker has confirmed the event, or when the event is
    /// known to be a duplicate.
    ///
    /// # Errors
    /// The profile or the schema of the event type refuses a field, too many events are being checked by schemas, another event
    /// has the same id, or the broker did not confirm the event in time. In the last case, the event may have been accepted.
    /// The producer can safely repeat it with the same id or idempotency key.
    pub(crate) async fn accept(
        &self,
        admission: &Admission,
        event: Event<'_>,
        trace: TraceContext,
    ) -> Result<Accepted, Refused> {
        let (began, now) = (Instant::now(), UnixMillis::now());
        let tenant = &admission.tenant;
        check_window(admission, &event, now)?;
        let warnings = check_profile(tenant, &event, now)?;
        self.schemas.check(tenant.id, &tenant.event_types, &event).await?;
        let (id, id_source) = (event.id.clone(), event.id_source);
        let publishing = Publishing { admission, event, began, trace };
        let duplicate = match id_source {
            IdSource::Made => {
                let stamp = Stamp { accepted_at: now, claimed: false };
                self.publish(publishing, None, stamp).await.map_err(|error| unconfirmed(&error))?;
                false
            }
            IdSource::Producer => Box::pin(self.publish_once(publishing, now)).await?,
        };
        metrics::accepted(duplicate);
        tracing::debug!(event.id = %id, tenant.id = %tenant.id, duplicate, "accepted an event");
        Ok(Accepted { id, duplicate, warnings })
    }

    /// Publishes an event whose producer chose its id, unless the event was already accepted. Returns whether the event is a
    /// duplicate.
    async fn publish_once(&self, publishing: Publishing<'_>, now: UnixMillis) -> Result<bool, Refused> {
        let id = publishing.event.id.clone();
        let content = Content::of(&publishing.event);
        let key = (publishing.admission.tenant.id, id.clone());
        let publish = async |stamp| self.publish(publishing, Some(content.hash().to_owned()), stamp).await;
        let outcome = self.idempotency.once(key, &content, now, publish).await;
        match outcome.map_err(|error| unconfirmed(&error))? {
            PublishOutcome::Published => Ok(false),
            PublishOutcome::Duplicate => Ok(true),
            PublishOutcome::OtherContent { accepted_at, differences } => {
                let what = if differences.is_empty() { "content".to_owned() } else { differences.join(", ") };
                Err(Refused::Conflict(format!(
                    "{id} belongs to an event that was accepted at {accepted_at} with other {what}; an id or idempotency key \
                     belongs to one event for the log's retention and {EVENT_ID_DAYS_AFTER_RETENTION} days more"
                )))
            }
        }
    }

    async fn publish(
        &self,
        publishing: Publishing<'_>,
        content_hash: Option<String>,
        stamp: Stamp,
    ) -> Result<(), PublishError> {
        let Publishing { admission, event, began, trace } = publishing;
        let Stamp { accepted_at, claimed } = stamp;
        let span = spans::publish(ACCEPTED_EXCHANGE, &event.id);
        let window = event.window.resolve(accepted_at, admission.tenant.event_types.ttl(&event.event_type));
        let number = self.sequence.take();
        let head = AcceptedEvent {
            id: event.id,
            tenant: event.tenant,
            event_type: event.event_type,
            occurred_at: event.occurred_at.unwrap_or(accepted_at),
            accepted_at,
            event_day: accepted_at.day(),
            origin: event.origin,
            attributes: event.attributes,
            metadata: event.metadata.map(|metadata| metadata.into_owned()),
            lane: admission.lane,
            deliver_at: window.deliver_at,
            expires_at: window.expires_at,
            config_version: admission.tenant.config_version,
            instance: self.sequence.instance(),
            sequence: number.number,
            epoch: 0,
            content_hash,
            claimed,
            traceparent: Some(TraceContext::of(&span).unwrap_or(trace).to_string()),
        };
        // The head contains only strings and numbers, so it can always be serialized.
        let member = Member::new(&head, Bytes::copy_from_slice(event.data.get().as_bytes()))
            .map_err(|_| PublishError::Refused)?;
        let confirm_timeout = self.confirm_timeout.saturating_sub(began.elapsed());
        let publisher = if admission.tenant.is_ordered { &self.in_order } else { &self.publisher };
        publisher.publish_within(admission.tenant.id, vec![member], confirm_timeout).instrument(span).await?;
        number.confirm();
        Ok(())
    }
}

/// An event that is being published.
struct Publishing<'a> {
    admission: &'a Admission,
    event: Event<'a>,
    /// The time at which the producer began to wait.
    began: Instant,
    trace: TraceContext,
}

/// Checks that the deliveries of an event can be attempted.
fn check_window(admission: &Admission, event: &Event<'_>, now: UnixMillis) -> Result<(), Refused> {
    let default_ttl = admission.tenant.event_types.ttl(&event.event_type);
    match event.window.resolve(now, default_ttl).check(now) {
        Err(WindowError::Expired { .. }) if admission.expired == ExpiredEvents::Accept => Ok(()),
        Err(error) => Err(Refused::field(format!("/{}", error.field()), error.to_string())),
        Ok(()) => Ok(()),
    }
}

/// Checks the requirements of the tenant's profile for an event. Returns the profile's warnings.
fn check_profile(tenant: &PublishingTenant, event: &Event<'_>, now: UnixMillis) -> Result<Vec<String>, Refused> {
    if tenant.enforces_catalog && !tenant.defines(&event.event_type) {
        let Profile { name, .. } = &*tenant.profile;
        let detail = format!(
            "{} is not in the catalog, which this tenant enforces: the profile {name} does not name it, nor does the tenant",
            event.event_type
        );
        return Err(Refused::field("/type", detail));
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
    tenant.profile.check_event(&view).map_err(|errors| {
        Refused::Invalid(errors.into_iter().map(|error| FieldError::new(error.pointer, error.detail)).collect())
    })?;
    Ok(tenant.profile.warnings(&view))
}

fn unconfirmed(error: &PublishError) -> Refused {
    metrics::unconfirmed();
    Refused::later(
        format!("the event may or may not be accepted ({error}); publish it again with the same id or Idempotency-Key"),
        UNCONFIRMED_RETRY,
    )
}
