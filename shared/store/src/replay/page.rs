//! Reads the rows of a replay's page: events, the decisions about them, and their earlier deliveries.

use std::collections::HashMap;

use deadpool_postgres::GenericClient;
use postrider_model::delivery::{DeliveryStatus, EndpointStatus};
use postrider_model::ids::{DeliveryId, EndpointId, EventId, Generation, ReplayId, TenantId};
use postrider_model::limits::REPLAY_STEP_BYTES_MAX;
use postrider_model::replay::ReplaySelection;
use postrider_model::subscription::TypePattern;
use postrider_model::time::{Day, UnixMillis};
use uuid::Uuid;

use super::{ReplayCandidate, ReplayPage, ReplayTargets};
use crate::error::StoreError;
use crate::history::{EventRow, EventSummary, Query};
use crate::sql::{Coded, Date, RowExt, Ts, clean, found, read_all};
use crate::store::Store;

/// SQL for the bytes of an event's payload.
const BYTES: &str = "(coalesce(octet_length(data), 0) + coalesce(octet_length(metadata), 0))";

/// Which events of a selection are in a page.
#[derive(Debug, Clone, Default)]
pub struct ReplayStep {
    /// Starts after the event with this time of acceptance and id (exclusive); `None`: starts with the first event.
    pub after: Option<(UnixMillis, EventId)>,
    /// Maximum events.
    pub events_max: u32,
    /// Whether to read payloads. A page with payloads ends with the event that reaches [`REPLAY_STEP_BYTES_MAX`].
    pub payloads: bool,
}

impl Store {
    /// The endpoints to which a replay may deliver, by the tenant's current configuration; `None`: the tenant was deleted.
    pub async fn replay_targets(
        &self,
        tenant: TenantId,
        selection: &ReplaySelection,
    ) -> Result<Option<ReplayTargets>, StoreError> {
        targets(&self.core().client().await?, tenant, selection).await
    }

    /// Reads a page of the events of a selection, with their decisions and earlier deliveries.
    pub async fn replay_page(
        &self,
        tenant: TenantId,
        selection: &ReplaySelection,
        step: &ReplayStep,
    ) -> Result<ReplayPage, StoreError> {
        page(&self.core().client().await?, tenant, selection, step, None).await
    }
}

/// See [`Store::replay_targets`].
pub(super) async fn targets(
    client: &impl GenericClient,
    tenant: TenantId,
    selection: &ReplaySelection,
) -> Result<Option<ReplayTargets>, StoreError> {
    let living = "SELECT profile FROM tenants WHERE id = $1 AND deleted_at IS NULL";
    let Some(row) = client.query_opt(living, &[&tenant.0]).await? else { return Ok(None) };
    let active = "SELECT id, document FROM endpoints
                  WHERE tenant = $1 AND deleted_at IS NULL AND status = $2 AND ($3::uuid IS NULL OR id = $3)";
    let only = selection.endpoint.map(|endpoint| endpoint.0);
    let rows = client.query(active, &[&tenant.0, &EndpointStatus::Active.code(), &only]).await?;
    Ok(Some(ReplayTargets { profile: row.col("profile")?, endpoints: read_all(rows)? }))
}

/// See [`Store::replay_page`]. Deliveries of the replay `own` do not count as earlier ones.
pub(super) async fn page(
    client: &impl GenericClient,
    tenant: TenantId,
    selection: &ReplaySelection,
    step: &ReplayStep,
    own: Option<ReplayId>,
) -> Result<ReplayPage, StoreError> {
    let (events, is_last) = events(client, tenant, selection, step).await?;
    let mut decided = decided(client, tenant, &events).await?;
    let mut earlier = earlier(client, tenant, &events, &decided, own).await?;
    let candidate = |event: EventRow| {
        let key = (event.summary.id.clone(), event.summary.event_day);
        let decided = decided.remove(&key).unwrap_or_default();
        ReplayCandidate { event, decided, earlier: earlier.remove(&key).unwrap_or_default() }
    };
    Ok(ReplayPage { candidates: events.into_iter().map(candidate).collect(), is_last })
}

/// The events of a page, oldest first, and whether no event follows after them. Leaves out expunged events.
async fn events(
    client: &impl GenericClient,
    tenant: TenantId,
    selection: &ReplaySelection,
    step: &ReplayStep,
) -> Result<(Vec<EventRow>, bool), StoreError> {
    let mut query = Query::new();
    query.and("tenant = ? AND data IS NOT NULL", [Box::new(tenant.0) as _]);
    if let Some(event) = &selection.event {
        query.and("id = ?", [Box::new(event.as_str().to_owned()) as _]);
    }
    // An event's day is the day of its acceptance, so a range of time limits the partitions to read.
    if let Some(from) = step.after.as_ref().map(|(at, _)| *at).into_iter().chain(selection.from).max() {
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
    if let Some((at, id)) = &step.after {
        query.and("(accepted_at, id) > (?, ?)", [Box::new(Ts(*at)) as _, Box::new(id.to_string()) as _]);
    }
    let held = if step.payloads { "metadata, data" } else { "NULL::bytea AS metadata, NULL::bytea AS data" };
    let select = format!("SELECT {}, {held} FROM events", EventSummary::COLUMNS);
    let walked = query.sql(&select, "accepted_at, id", step.events_max.into());
    let sql = format!(
        "SELECT * FROM (
             SELECT *, count(*) OVER () AS found, sum({BYTES}) OVER (ORDER BY accepted_at, id) - {BYTES} AS bytes_before
             FROM ({walked}) walked) page
         WHERE bytes_before < {REPLAY_STEP_BYTES_MAX} ORDER BY accepted_at, id"
    );
    let rows = client.query(&sql, &query.params()).await?;
    let found = found(&rows)?;
    let events: Vec<EventRow> = read_all(rows)?;
    let is_last = events.len() == found && found < step.events_max as usize;
    Ok((events, is_last))
}

type ByEvent<T> = HashMap<(EventId, Day), T>;

/// Reads the endpoints in the decisions about the events.
async fn decided(
    client: &impl GenericClient,
    tenant: TenantId,
    events: &[EventRow],
) -> Result<ByEvent<Vec<EndpointId>>, StoreError> {
    let (ids, days) = keys(events);
    let sql = "SELECT d.event_id, d.event_day, d.matched FROM unnest($2::text[], $3::date[]) AS subscription(id, day)
               JOIN decisions d ON d.tenant = $1 AND d.event_id = subscription.id AND d.event_day = subscription.day";
    let rows: Vec<(EventId, Day, Vec<EndpointId>)> = read_all(client.query(sql, &[&tenant.0, &ids, &days]).await?)?;
    Ok(rows.into_iter().map(|(event, day, matched)| ((event, day), matched)).collect())
}

/// Reads the status of every earlier delivery of the events, by event and endpoint.
async fn earlier(
    client: &impl GenericClient,
    tenant: TenantId,
    events: &[EventRow],
    decided: &ByEvent<Vec<EndpointId>>,
    own: Option<ReplayId>,
) -> Result<ByEvent<HashMap<EndpointId, Vec<DeliveryStatus>>>, StoreError> {
    let firsts: Vec<Uuid> = decided
        .iter()
        .flat_map(|((event, _), matched)| {
            matched.iter().map(move |endpoint| DeliveryId::derive(tenant, event, *endpoint, &Generation::First).0)
        })
        .collect();
    let (ids, mut days) = keys(events);
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
    let mut earlier: ByEvent<HashMap<_, Vec<_>>> = HashMap::new();
    for row in rows {
        let of_event = earlier.entry((row.col("event_id")?, row.col("event_day")?)).or_default();
        of_event.entry(row.col("endpoint")?).or_default().push(row.col("status")?);
    }
    Ok(earlier)
}

fn keys(events: &[EventRow]) -> (Vec<&str>, Vec<Date>) {
    events.iter().map(|event| (event.summary.id.as_str(), Date(event.summary.event_day))).unzip()
}
