//! A page of a replay: which events, and for which endpoints. The same code counts (a dry run) and feeds.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use deadpool_postgres::GenericClient;
use postrider_model::delivery::{BodyKind, DeliveryStatus, EndpointStatus};
use postrider_model::explain::{Wanted, Wants};
use postrider_model::ids::{DeliveryId, EndpointId, EventId, Generation, ReplayId, TenantId};
use postrider_model::payload_filter::Payload;
use postrider_model::replay::{ReplayMode, ReplaySelection};
use postrider_model::subscription::TypePattern;
use postrider_model::time::Day;
use postrider_profiles::{Profile, Profiles};
use serde_json::value::RawValue;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::config::EndpointDocument;
use crate::error::StoreError;
use crate::log::{Cursor, EventRow, Query, SUMMARY};
use crate::pool::Store;
use crate::sql::{Coded, Date, RowExt, Ts, clean};

/// Events that a dry run looks at in one step; it reads no payloads unless a filter does.
const COUNTED_AT_ONCE: u32 = 1_000;

/// What a replay would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Events that would be delivered again to somebody.
    pub events: u64,
    /// Deliveries that would be made.
    pub deliveries: u64,
}

/// The tenant as it is now: to whom events can go.
pub(super) struct Targets {
    pub(super) profile: Arc<Profile>,
    /// Its active endpoints; with what they want, when that is asked.
    endpoints: BTreeMap<EndpointId, Target>,
}

struct Target {
    body: BodyKind,
    wants: Option<Wants>,
}

/// An event for an endpoint.
pub(super) struct Again {
    pub(super) endpoint: EndpointId,
    pub(super) body: BodyKind,
    /// The event's own delivery to that endpoint, if it had one.
    pub(super) origin: Option<DeliveryId>,
}

/// A page: events in the order of their acceptance, with whom they are for.
#[derive(Default)]
pub(super) struct Planned {
    /// Events that nobody gets are not among them.
    pub(super) events: Vec<(EventRow, Vec<Again>)>,
    pub(super) deliveries: u64,
    pub(super) walked: u64,
    /// The last event that was looked at; `None`: there was none.
    pub(super) reached: Option<Cursor>,
    /// No further event follows.
    pub(super) is_last: bool,
}

impl Targets {
    /// `None` when the tenant is gone.
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
        let mut endpoints = BTreeMap::new();
        for row in rows {
            let Json(document): Json<EndpointDocument> = row.col("document")?;
            let wants = match selection.mode {
                ReplayMode::Redeliver => None,
                ReplayMode::Rematch => match wants_of(&document, &profile) {
                    Some(wants) => Some(wants),
                    // It no longer fits the profile and takes nothing, in fan-out neither.
                    None => continue,
                },
            };
            endpoints.insert(EndpointId(row.col("id")?), Target { body: document.body_kind(), wants });
        }
        Ok(Some(Self { profile, endpoints }))
    }

    /// Whether what events hold decides who gets them.
    fn look_inside(&self) -> bool {
        self.endpoints.values().filter_map(|target| target.wants.as_ref()).any(Wants::look_inside)
    }

    /// Who gets an event, as far as earlier deliveries do not matter.
    fn of<'a>(
        &'a self,
        event: &'a EventRow,
        decided: &'a [EndpointId],
    ) -> impl Iterator<Item = (EndpointId, &'a Target)> {
        let summary = &event.summary;
        let fires = self.profile.origin_fires(&summary.event_type, summary.origin);
        let payload = Payload {
            data: event.data.as_deref().unwrap_or_default(),
            metadata: event.metadata.as_deref().map(RawValue::get),
            attributes: &summary.attributes,
        };
        let takes = move |(endpoint, target): &(EndpointId, &Target)| match &target.wants {
            None => decided.contains(endpoint),
            Some(wants) => fires && wants.take(&summary.event_type, &payload),
        };
        self.endpoints.iter().map(|(endpoint, target)| (*endpoint, target)).filter(takes)
    }
}

fn wants_of(document: &EndpointDocument, profile: &Profile) -> Option<Wants> {
    let wanted = Wanted {
        event_types: &document.event_types,
        filters: &document.filters,
        payload_filter: document.payload_filter.as_ref(),
    };
    wanted.compile(|attribute| profile.attribute_kind(attribute)).ok()
}

/// One step of a walk.
pub(super) struct Step<'a> {
    /// Where it begins; `None`: at the beginning.
    pub(super) after: Option<&'a Cursor>,
    /// The replay whose deliveries do not count as earlier ones.
    pub(super) own: Option<ReplayId>,
    /// Events at most.
    pub(super) events_max: u32,
    /// No further event once there are so many deliveries.
    pub(super) deliveries_max: u64,
    /// Whether to read what the events hold.
    pub(super) payloads: bool,
}

/// Plans a page.
pub(super) async fn plan(
    client: &impl GenericClient,
    tenant: TenantId,
    selection: &ReplaySelection,
    targets: &Targets,
    step: Step<'_>,
) -> Result<Planned, StoreError> {
    let Step { after, own, events_max, deliveries_max, payloads } = step;
    let events = events(client, tenant, selection, after, events_max, payloads).await?;
    let decided = decided(client, tenant, &events).await?;
    let standing = standing(client, tenant, &events, &decided, own).await?;
    let mut planned = Planned { is_last: events.len() < events_max as usize, ..Planned::default() };
    let count = events.len();
    for (index, event) in events.into_iter().enumerate() {
        let (id, day) = (event.summary.id.clone(), event.summary.event_day);
        let decided = decided.get(&(id.clone(), day)).map_or(&[][..], Vec::as_slice);
        let wanted = |endpoint: EndpointId| {
            let earlier = standing.get(&(id.clone(), day, endpoint)).map_or(&[][..], Vec::as_slice);
            selection.wants(earlier)
        };
        let again: Vec<_> = targets
            .of(&event, decided)
            .filter(|(endpoint, _)| wanted(*endpoint))
            .map(|(endpoint, target)| {
                let first = || DeliveryId::derive(tenant, &id, endpoint, &Generation::First);
                let origin = decided.contains(&endpoint).then(first);
                Again { endpoint, body: target.body, origin }
            })
            .collect();
        planned.walked += 1;
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

/// The events of a selection, oldest first. Those whose payload was expunged are none.
async fn events(
    client: &impl GenericClient,
    tenant: TenantId,
    selection: &ReplaySelection,
    after: Option<&Cursor>,
    limit: u32,
    payloads: bool,
) -> Result<Vec<EventRow>, StoreError> {
    let mut query = Query::new();
    query.and("tenant = ? AND data IS NOT NULL", [Box::new(tenant.0) as _]);
    if let Some(event) = &selection.event {
        query.and("id = ?", [Box::new(event.as_str().to_owned()) as _]);
    }
    // The day of an event is that of its acceptance: the range of time is one of partitions, too.
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
    let sql = query.sql(&format!("SELECT {SUMMARY}, {held} FROM events"), "accepted_at, id", limit.into());
    client.query(&sql, &query.params()).await?.iter().map(EventRow::read).collect()
}

type Decided = HashMap<(EventId, Day), Vec<EndpointId>>;

/// Whom the events were for when they came.
async fn decided(client: &impl GenericClient, tenant: TenantId, events: &[EventRow]) -> Result<Decided, StoreError> {
    let (ids, days) = keys(events);
    let sql = "SELECT d.event_id, d.event_day, d.matched FROM unnest($2::text[], $3::date[]) AS wanted(id, day)
               JOIN decisions d ON d.tenant = $1 AND d.event_id = wanted.id AND d.event_day = wanted.day";
    let mut decided = Decided::with_capacity(events.len());
    for row in client.query(sql, &[&tenant.0, &ids, &days]).await? {
        let matched: Vec<Uuid> = row.col("matched")?;
        let matched = matched.into_iter().map(EndpointId).collect();
        decided.insert((row.parsed("event_id")?, row.day("event_day")?), matched);
    }
    Ok(decided)
}

/// How every earlier delivery of the events stands, by event and endpoint.
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
    /// What a replay would do if it ran now. `None`: there are more than `events_max` events to look at.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the tenant; the database's.
    pub async fn count_replay(
        &self,
        profiles: &Profiles,
        tenant: TenantId,
        selection: &ReplaySelection,
        events_max: u64,
    ) -> Result<Option<Counted>, StoreError> {
        let client = self.client().await?;
        let targets = Targets::read(&client, profiles, tenant, selection).await?;
        let targets = targets.ok_or(StoreError::NotFound { what: "tenant" })?;
        let (mut counted, mut walked, mut after) = (Counted::default(), 0, None);
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
            walked += page.walked;
            if page.is_last {
                return Ok(Some(counted));
            }
            if walked >= events_max {
                return Ok(None);
            }
            after = page.reached;
        }
    }
}
