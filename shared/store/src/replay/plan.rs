//! Plans a page of a replay: which events, and for which endpoints. Dry runs and feeding use the same code.
//!
//! A page reads at most [`REPLAY_STEP_BYTES_MAX`] of payloads plus one event. Payload filters run off the async threads.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use deadpool_postgres::GenericClient;
use postrider_model::delivery::{BodyKind, DeliveryStatus, EndpointStatus};
use postrider_model::explain::{BoundSubscription, SubscriptionText};
use postrider_model::ids::{DeliveryId, EndpointId, EventId, Generation, ReplayId, TenantId};
use postrider_model::limits::{
    PAYLOAD_FILTER_STEPS_MAX, REPLAY_DRY_RUN_BYTES_MAX, REPLAY_DRY_RUN_EVENTS_MAX, REPLAY_DRY_RUN_STEPS_MAX,
    REPLAY_STEP_BYTES_MAX,
};
use postrider_model::payload_filter::{Budget, FieldIndex, Payload};
use postrider_model::replay::{ReplayMode, ReplaySelection};
use postrider_model::subscription::TypePattern;
use postrider_model::time::Day;
use postrider_profiles::{Profile, Profiles};
use serde_json::value::RawValue;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::config::EndpointDocument;
use crate::error::StoreError;
use crate::history::{Cursor, EventRow, Query, SUMMARY};
use crate::sql::{Coded, Date, RowExt, Ts, clean, unsigned};
use crate::store::Store;

/// Events that a dry run reads in one step. Payloads are read only for payload filters.
const COUNTED_AT_ONCE: u32 = 1_000;
/// SQL for the bytes of an event's payload.
const BYTES: &str = "(coalesce(octet_length(data), 0) + coalesce(octet_length(metadata), 0))";

/// Limits of a dry run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DryRunLimits {
    /// Events.
    pub events: u64,
    /// Bytes of payloads read for payload filters.
    pub bytes: u64,
    /// Steps of payload filters.
    pub steps: u64,
}

impl Default for DryRunLimits {
    fn default() -> Self {
        Self { events: REPLAY_DRY_RUN_EVENTS_MAX, bytes: REPLAY_DRY_RUN_BYTES_MAX, steps: REPLAY_DRY_RUN_STEPS_MAX }
    }
}

/// The result of a dry run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Events with at least one new delivery.
    pub events: u64,
    /// Deliveries that would be created.
    pub deliveries: u64,
}

/// The endpoints that a replay may deliver to, as the tenant is now.
pub(super) struct Targets {
    pub(super) profile: Arc<Profile>,
    /// Active endpoints, with their subscriptions when the replay matches again.
    endpoints: BTreeMap<EndpointId, Target>,
    /// Fields that the payload filters read.
    fields: FieldIndex,
}

struct Target {
    body: BodyKind,
    wants: Option<BoundSubscription>,
}

/// A new delivery of an event to an endpoint.
pub(super) struct Again {
    pub(super) endpoint: EndpointId,
    pub(super) body: BodyKind,
    /// The event's own delivery to that endpoint, if it had one.
    pub(super) origin: Option<DeliveryId>,
}

/// A page: events in order of acceptance, with their new deliveries.
#[derive(Default)]
pub(super) struct Planned {
    /// Events with at least one new delivery.
    pub(super) events: Vec<(EventRow, Vec<Again>)>,
    pub(super) deliveries: u64,
    pub(super) walked: u64,
    /// Bytes of payloads read.
    bytes: u64,
    /// Steps that payload filters took.
    steps: u64,
    /// The last event read; `None` if there was none.
    pub(super) reached: Option<Cursor>,
    /// No further event follows.
    pub(super) is_last: bool,
}

impl Targets {
    /// `None` if the tenant was deleted.
    pub(super) async fn read(
        client: &impl GenericClient,
        profiles: &Profiles,
        tenant: TenantId,
        selection: &ReplaySelection,
    ) -> Result<Option<Self>, StoreError> {
        let living = "SELECT profile FROM tenants WHERE id = $1 AND deleted_at IS NULL";
        let Some(row) = client.query_opt(living, &[&tenant.0]).await? else { return Ok(None) };
        let name: String = row.col("profile")?;
        let unreadable = || StoreError::Unreadable { what: "tenants.profile", detail: format!("{name} is not loaded") };
        let profile = Arc::clone(profiles.get(&name).ok_or_else(unreadable)?);
        let active = "SELECT id, document FROM endpoints
                      WHERE tenant = $1 AND deleted_at IS NULL AND status = $2 AND ($3::uuid IS NULL OR id = $3)";
        let only = selection.endpoint.map(|endpoint| endpoint.0);
        let rows = client.query(active, &[&tenant.0, &EndpointStatus::Active.code(), &only]).await?;
        let (mut endpoints, mut fields) = (BTreeMap::new(), FieldIndex::default());
        for row in rows {
            let Json(document): Json<EndpointDocument> = row.col("document")?;
            let wants = match selection.mode {
                ReplayMode::Redeliver => None,
                ReplayMode::Rematch => match wants_of(&document, &profile, &mut fields) {
                    Some(wants) => Some(wants),
                    // The subscription no longer fits the profile: the endpoint gets nothing, as in fan-out.
                    None => continue,
                },
            };
            endpoints.insert(EndpointId(row.col("id")?), Target { body: document.body_kind(), wants });
        }
        Ok(Some(Self { profile, endpoints, fields }))
    }

    /// Whether an endpoint has a payload filter.
    fn look_inside(&self) -> bool {
        let mut wants = self.endpoints.values().filter_map(|target| target.wants.as_ref());
        wants.any(|wants| wants.payload_filter.is_some())
    }

    /// The endpoints that match an event, regardless of earlier deliveries, and the steps that its payload filters took.
    fn of(&self, event: &EventRow, decided: &[EndpointId]) -> (Vec<EndpointId>, u64) {
        let summary = &event.summary;
        let fires = self.profile.origin_fires(&summary.event_type, summary.origin);
        let outside = |target: &Target, endpoint| match &target.wants {
            None => decided.contains(endpoint),
            Some(wants) => fires && wants.subscription.matches(&summary.event_type, &summary.attributes),
        };
        let mut of: Vec<_> = self.endpoints.iter().filter(|(endpoint, target)| outside(target, endpoint)).collect();
        let filters = || of.iter().filter_map(|(_, target)| target.wants.as_ref()?.payload_filter.as_ref());
        let mut budget = Budget::default();
        if filters().next().is_some() {
            let payload = Payload {
                data: event.data.as_deref().unwrap_or_default(),
                metadata: event.metadata.as_deref().map(RawValue::get),
                attributes: &summary.attributes,
            };
            let found = self.fields.collect(filters(), &payload);
            of.retain(|(_, target)| {
                let filter = target.wants.as_ref().and_then(|wants| wants.payload_filter.as_ref());
                filter.is_none_or(|filter| filter.matches(&found, &mut budget))
            });
        }
        let steps = PAYLOAD_FILTER_STEPS_MAX.saturating_sub(budget.left());
        (of.into_iter().map(|(endpoint, _)| *endpoint).collect(), steps)
    }
}

fn wants_of(document: &EndpointDocument, profile: &Profile, fields: &mut FieldIndex) -> Option<BoundSubscription> {
    let subscription = SubscriptionText {
        event_types: &document.event_types,
        filters: &document.filters,
        payload_filter: document.payload_filter.as_ref(),
    };
    subscription.bind(fields, |attribute| profile.attribute_kind(attribute)).ok()
}

/// What a page covers.
pub(super) struct Step<'a> {
    /// Where the page starts; `None`: at the first event.
    pub(super) after: Option<&'a Cursor>,
    /// The replay whose own deliveries do not count as earlier ones.
    pub(super) own: Option<ReplayId>,
    /// Maximum events.
    pub(super) events_max: u32,
    /// The page ends once it has this many deliveries.
    pub(super) deliveries_max: u64,
    /// Whether to read payloads.
    pub(super) payloads: bool,
}

/// An event with the endpoints that match it, regardless of earlier deliveries.
struct Candidates {
    event: EventRow,
    decided: Vec<EndpointId>,
    subscription: Vec<EndpointId>,
    steps: u64,
}

/// Plans a page.
pub(super) async fn plan(
    client: &impl GenericClient,
    tenant: TenantId,
    selection: &ReplaySelection,
    targets: &Arc<Targets>,
    step: Step<'_>,
) -> Result<Planned, StoreError> {
    let Step { after, own, events_max, deliveries_max, payloads } = step;
    let (events, is_last) = events(client, tenant, selection, after, events_max, payloads).await?;
    let decided = decided(client, tenant, &events).await?;
    let standing = standing(client, tenant, &events, &decided, own).await?;
    let candidates = candidates(targets, events, decided).await?;
    let mut planned = Planned { is_last, ..Planned::default() };
    let count = candidates.len();
    for (index, candidates) in candidates.into_iter().enumerate() {
        let Candidates { event, decided, subscription, steps } = candidates;
        let (id, day) = (event.summary.id.clone(), event.summary.event_day);
        let earlier = |endpoint| standing.get(&(id.clone(), day, endpoint)).map_or(&[][..], Vec::as_slice);
        let again = |(endpoint, target): (EndpointId, &Target)| {
            let first = || DeliveryId::derive(tenant, &id, endpoint, &Generation::First);
            let origin = decided.contains(&endpoint).then(first);
            Again { endpoint, body: target.body, origin }
        };
        let again: Vec<_> = subscription
            .into_iter()
            .filter(|endpoint| selection.selects(earlier(*endpoint)))
            .filter_map(|endpoint| targets.endpoints.get(&endpoint).map(|target| (endpoint, target)))
            .map(again)
            .collect();
        planned.walked += 1;
        planned.steps += steps;
        planned.bytes += event.data.as_deref().map_or(0, <[u8]>::len) as u64;
        planned.reached = Some(Cursor::of(event.summary.accepted_at, &id));
        planned.deliveries += again.len() as u64;
        if !again.is_empty() {
            planned.events.push((event, again));
        }
        if planned.deliveries >= deliveries_max && index + 1 < count {
            planned.is_last = false;
            break;
        }
    }
    Ok(planned)
}

/// Matches events with endpoints. Payload filters run off the async threads.
async fn candidates(
    targets: &Arc<Targets>,
    events: Vec<EventRow>,
    mut decided: Decided,
) -> Result<Vec<Candidates>, StoreError> {
    let look_inside = targets.look_inside();
    let targets = Arc::clone(targets);
    let find = move || {
        let of = |event: EventRow| {
            let key = (event.summary.id.clone(), event.summary.event_day);
            let decided = decided.remove(&key).unwrap_or_default();
            let (subscription, steps) = targets.of(&event, &decided);
            Candidates { event, decided, subscription, steps }
        };
        events.into_iter().map(of).collect()
    };
    if !look_inside {
        return Ok(find());
    }
    let failed = |error: tokio::task::JoinError| StoreError::Unreadable {
        what: "endpoints.document",
        detail: format!("evaluating its payload filter failed: {error}"),
    };
    tokio::task::spawn_blocking(find).await.map_err(failed)
}

/// The events of a selection, oldest first, and whether they are the last. Expunged events are left out. With payloads the page
/// ends at [`REPLAY_STEP_BYTES_MAX`] bytes.
async fn events(
    client: &impl GenericClient,
    tenant: TenantId,
    selection: &ReplaySelection,
    after: Option<&Cursor>,
    limit: u32,
    payloads: bool,
) -> Result<(Vec<EventRow>, bool), StoreError> {
    let mut query = Query::new();
    query.and("tenant = ? AND data IS NOT NULL", [Box::new(tenant.0) as _]);
    if let Some(event) = &selection.event {
        query.and("id = ?", [Box::new(event.as_str().to_owned()) as _]);
    }
    // An event's day is the day of its acceptance, so a range of time selects partitions.
    if let Some(from) = after.map(|cursor| cursor.at).into_iter().chain(selection.from).max() {
        query.and("accepted_at >= ? AND event_day >= ?", [Box::new(Ts(from)) as _, Box::new(Date(from.day())) as _]);
    }
    let to = selection.to;
    query.and("accepted_at < ? AND event_day <= ?", [Box::new(Ts(to)) as _, Box::new(Date(to.day())) as _]);
    if !selection.event_types.is_empty() && !selection.event_types.contains(&TypePattern::All) {
        let (mut exactly, mut below) = (Vec::new(), Vec::new());
        for pattern in &selection.event_types {
            match pattern {
                TypePattern::Exact(name) => exactly.push(name.to_string()),
                TypePattern::Below(prefix) => below.push(prefix.to_string()),
                TypePattern::All => {}
            }
        }
        let either =
            "(type = ANY(?) OR EXISTS (SELECT 1 FROM unnest(?::text[]) AS below WHERE starts_with(type, below)))";
        query.and(either, [Box::new(exactly) as _, Box::new(below) as _]);
    }
    for (name, value) in &selection.attributes {
        let (name, value) = (clean(name).into_owned(), clean(value).into_owned());
        query.and("attributes ->> ? = ?", [Box::new(name) as _, Box::new(value) as _]);
    }
    if let Some(cursor) = after {
        query.and("(accepted_at, id) > (?, ?)", [Box::new(Ts(cursor.at)) as _, Box::new(cursor.id.clone()) as _]);
    }
    let held = if payloads { "metadata, data" } else { "NULL::bytea AS metadata, NULL::bytea AS data" };
    let walked = query.sql(&format!("SELECT {SUMMARY}, {held} FROM events"), "accepted_at, id", limit.into());
    let sql = format!(
        "SELECT * FROM (
             SELECT *, count(*) OVER () AS found, sum({BYTES}) OVER (ORDER BY accepted_at, id) - {BYTES} AS bytes_before
             FROM ({walked}) walked) page
         WHERE bytes_before < {REPLAY_STEP_BYTES_MAX} ORDER BY accepted_at, id"
    );
    let rows = client.query(&sql, &query.params()).await?;
    let found = rows.first().map(|row| row.col::<i64>("found")).transpose()?.map_or(0, unsigned::<usize>);
    let events = rows.iter().map(EventRow::read).collect::<Result<Vec<_>, _>>()?;
    let is_last = events.len() == found && found < limit as usize;
    Ok((events, is_last))
}

type Decided = HashMap<(EventId, Day), Vec<EndpointId>>;

/// The endpoints in the decisions of the events.
async fn decided(client: &impl GenericClient, tenant: TenantId, events: &[EventRow]) -> Result<Decided, StoreError> {
    let (ids, days) = keys(events);
    let sql = "SELECT d.event_id, d.event_day, d.matched FROM unnest($2::text[], $3::date[]) AS subscription(id, day)
               JOIN decisions d ON d.tenant = $1 AND d.event_id = subscription.id AND d.event_day = subscription.day";
    let mut decided = Decided::with_capacity(events.len());
    for row in client.query(sql, &[&tenant.0, &ids, &days]).await? {
        let matched: Vec<Uuid> = row.col("matched")?;
        let matched = matched.into_iter().map(EndpointId).collect();
        decided.insert((row.parsed("event_id")?, row.day("event_day")?), matched);
    }
    Ok(decided)
}

/// The status of every earlier delivery of the events, by event and endpoint.
async fn standing(
    client: &impl GenericClient,
    tenant: TenantId,
    events: &[EventRow],
    decided: &Decided,
    own: Option<ReplayId>,
) -> Result<HashMap<(EventId, Day, EndpointId), Vec<DeliveryStatus>>, StoreError> {
    let firsts: Vec<Uuid> = decided
        .iter()
        .flat_map(|((event, _), matched)| {
            matched.iter().map(move |endpoint| DeliveryId::derive(tenant, event, *endpoint, &Generation::First).0)
        })
        .collect();
    let (ids, mut days) = keys(events);
    let mut standing: HashMap<_, Vec<_>> = HashMap::new();
    let columns = "event_id, event_day, endpoint, status";
    let again = format!(
        "SELECT {columns} FROM deliveries WHERE tenant = $1 AND event_id = ANY($2) AND generation IS NOT NULL
             AND generation NOT LIKE 'test:%' AND generation IS DISTINCT FROM $3"
    );
    let own = own.map(|replay| Generation::Replay(replay).to_string());
    let mut rows = client.query(&again, &[&tenant.0, &ids, &own]).await?;
    days.sort_unstable();
    days.dedup();
    let first = format!("SELECT {columns} FROM deliveries WHERE id = ANY($1) AND delivery_day = ANY($2)");
    rows.extend(client.query(&first, &[&firsts, &days]).await?);
    for row in rows {
        let key = (row.parsed("event_id")?, row.day("event_day")?, EndpointId(row.col("endpoint")?));
        standing.entry(key).or_default().push(row.coded("status")?);
    }
    Ok(standing)
}

fn keys(events: &[EventRow]) -> (Vec<&str>, Vec<Date>) {
    events.iter().map(|event| (event.summary.id.as_str(), Date(event.summary.event_day))).unzip()
}

impl Store {
    /// Counts the deliveries that a replay would create now. `None`: counting would exceed the limits.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the tenant; the database's.
    pub async fn count_replay(
        &self,
        profiles: &Profiles,
        tenant: TenantId,
        selection: &ReplaySelection,
        limits: DryRunLimits,
    ) -> Result<Option<Counted>, StoreError> {
        let client = self.core().client().await?;
        let targets = Targets::read(&client, profiles, tenant, selection).await?;
        let targets = Arc::new(targets.ok_or(StoreError::NotFound { what: "tenant" })?);
        let (mut counted, mut after) = (Counted::default(), None);
        let mut looked = DryRunLimits { events: 0, bytes: 0, steps: 0 };
        loop {
            let step = Step {
                after: after.as_ref(),
                own: None,
                events_max: COUNTED_AT_ONCE,
                deliveries_max: u64::MAX,
                payloads: targets.look_inside(),
            };
            let page = plan(&client, tenant, selection, &targets, step).await?;
            counted.events += page.events.len() as u64;
            counted.deliveries += page.deliveries;
            looked.events += page.walked;
            looked.bytes += page.bytes;
            looked.steps += page.steps;
            if looked.bytes > limits.bytes || looked.steps > limits.steps {
                return Ok(None);
            }
            if page.is_last {
                return Ok(Some(counted));
            }
            if looked.events >= limits.events {
                return Ok(None);
            }
            after = page.reached;
        }
    }
}
