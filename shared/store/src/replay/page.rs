//! Reads a page of the events of a replay, and the endpoints to which the replay may deliver.

use std::collections::HashMap;
use std::time::Duration;

use deadpool_postgres::GenericClient;
use postrider_model::delivery::EndpointStatus;
use postrider_model::ids::{EndpointId, EventId, ReplayId, TenantId};
use postrider_model::limits::REPLAY_STEP_BYTES_MAX;
use postrider_model::replay::{ReplayMode, ReplaySelection};
use postrider_model::subscription::TypePattern;
use postrider_model::time::UnixMillis;

use super::earlier::{decided, earlier, pending, statuses};
use super::{ReplayCandidate, ReplayPage, ReplayTargets};
use crate::config::EndpointVersion;
use crate::error::StoreError;
use crate::history::{EventRow, EventSummary, Query};
use crate::sql::{Coded, Date, RowExt, Ts, clean, found, read_all};
use crate::store::Store;

/// SQL for the bytes of an event's payload.
const BYTES: &str = "(coalesce(octet_length(data), 0) + coalesce(octet_length(metadata), 0))";

/// The age at which a recovery reads an event, so that the event is on record. Recorders are usually less than 2 s behind.
const ON_RECORD_AFTER: Duration = Duration::from_secs(10);

/// Selects the events of one page.
#[derive(Debug, Clone, Default)]
pub struct ReplayStep {
    /// Starts after the event with this time of acceptance and id (exclusive); `None` starts with the first event.
    pub after: Option<(UnixMillis, EventId)>,
    /// Maximum number of events.
    pub events_max: u32,
    /// Whether to read payloads. A page with payloads ends with the event that reaches [`REPLAY_STEP_BYTES_MAX`].
    pub payloads: bool,
}

impl Store {
    /// Returns the endpoints to which a replay may deliver, by the tenant's current configuration; `None` if the tenant was
    /// deleted. The endpoint of a recovery is included even if it is off, so that the events of the recovery can be counted.
    pub async fn replay_targets(
        &self,
        tenant: TenantId,
        selection: &ReplaySelection,
    ) -> Result<Option<ReplayTargets>, StoreError> {
        let off_too = selection.mode == ReplayMode::Recover;
        targets(&self.core().client().await?, tenant, selection, off_too).await
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

/// See [`Store::replay_targets`]. `off_too`: whether inactive and disabled endpoints are included.
pub(super) async fn targets(
    client: &impl GenericClient,
    tenant: TenantId,
    selection: &ReplaySelection,
    off_too: bool,
) -> Result<Option<ReplayTargets>, StoreError> {
    let living = "SELECT profile FROM tenants WHERE id = $1 AND deleted_at IS NULL";
    let Some(row) = client.query_opt(living, &[&tenant.0]).await? else { return Ok(None) };
    let active = "SELECT id, document FROM endpoints
                  WHERE tenant = $1 AND deleted_at IS NULL AND (status IN ($2, $5) OR $4) AND ($3::uuid IS NULL OR id = $3)";
    let only = selection.endpoint.map(|endpoint| endpoint.0);
    // Deliveries of a replay to a paused endpoint are set aside by a dispatcher.
    let paused = EndpointStatus::Paused.code();
    let rows = client.query(active, &[&tenant.0, &EndpointStatus::Active.code(), &only, &off_too, &paused]).await?;
    let versions = match selection.endpoint {
        Some(endpoint) if selection.mode == ReplayMode::Recover => versions(client, endpoint).await?,
        _ => Vec::new(),
    };
    Ok(Some(ReplayTargets { profile: row.col("profile")?, endpoints: read_all(rows)?, versions }))
}

async fn versions(client: &impl GenericClient, endpoint: EndpointId) -> Result<Vec<EndpointVersion>, StoreError> {
    let sql = "SELECT * FROM endpoint_versions WHERE endpoint = $1 ORDER BY version";
    read_all(client.query(sql, &[&endpoint.0]).await?)
}

/// See [`Store::replay_page`]. Deliveries of the replay `own` do not count as earlier deliveries.
pub(super) async fn page(
    client: &impl GenericClient,
    tenant: TenantId,
    selection: &ReplaySelection,
    step: &ReplayStep,
    own: Option<ReplayId>,
) -> Result<ReplayPage, StoreError> {
    // A recovery that is carried out, not only counted, reads only events that are old enough for all of their rows to be on
    // record.
    let to = match (own, selection.mode) {
        (Some(_), ReplayMode::Recover) => selection.to.min(UnixMillis::now().minus(ON_RECORD_AFTER)),
        _ => selection.to,
    };
    let (events, is_last) = events(client, tenant, selection, to, step).await?;
    let is_last = is_last && to == selection.to;
    let mut decided = decided(client, tenant, &events).await?;
    let mut earlier = earlier(client, tenant, &events, &decided, own).await?;
    let mut pending = match selection.endpoint {
        Some(endpoint) if selection.mode == ReplayMode::Recover => pending(client, endpoint, &earlier).await?,
        _ => HashMap::new(),
    };
    let candidate = |event: EventRow| {
        let key = (event.summary.id.clone(), event.summary.event_day);
        let (config_version, decided) = decided.remove(&key).unzip();
        let earlier = earlier.remove(&key).unwrap_or_default();
        ReplayCandidate {
            event,
            config_version,
            decided: decided.unwrap_or_default(),
            earlier: earlier.into_iter().map(|(endpoint, found)| (endpoint, statuses(&found))).collect(),
            pending: pending.remove(&key).unwrap_or_default(),
        }
    };
    Ok(ReplayPage { candidates: events.into_iter().map(candidate).collect(), is_last })
}

/// Returns the events of a page that were accepted before `to`, oldest first, and whether the page contains the last such
/// event. Leaves out expunged events.
async fn events(
    client: &impl GenericClient,
    tenant: TenantId,
    selection: &ReplaySelection,
    to: UnixMillis,
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
