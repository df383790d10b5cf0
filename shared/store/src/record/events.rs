//! Events and decisions.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use postrider_model::event::Attributes;
use postrider_model::ids::{EventId, TenantId};
use postrider_model::time::Day;
use postrider_wire::messages::{AcceptedEvent, Decision};
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use super::conflict_mode::InsertMode;
use crate::sql::{Coded, Date, Ts, clean};

/// Inserts events. Of two with the same id and day, the first is kept.
pub(super) fn insert(mode: InsertMode) -> String {
    format!("{INSERT}{}", mode.on_conflict())
}

const INSERT: &str = "\
INSERT INTO events (accepted_at, occurred_at, instance, sequence, tenant, event_day, origin, lane, id, type, content_hash,
    attributes, metadata, data)
SELECT unnest($1::timestamptz[]), unnest($2::timestamptz[]), unnest($3::bigint[]), unnest($4::bigint[]),
    unnest($5::uuid[]), unnest($6::date[]), unnest($7::smallint[]), unnest($8::smallint[]), unnest($9::text[]),
    unnest($10::text[]), unnest($11::text[]), unnest($12::jsonb[]), unnest($13::bytea[]), unnest($14::bytea[])
";

/// Events as array parameters of [`insert`].
#[derive(Default)]
pub(super) struct Columns<'a> {
    accepted_at: Vec<Ts>,
    occurred_at: Vec<Ts>,
    instance: Vec<i64>,
    sequence: Vec<i64>,
    tenant: Vec<Uuid>,
    event_day: Vec<Date>,
    origin: Vec<i16>,
    lane: Vec<i16>,
    id: Vec<&'a str>,
    event_type: Vec<&'a str>,
    content_hash: Vec<Option<Cow<'a, str>>>,
    attributes: Vec<Option<Json<Cow<'a, Attributes>>>>,
    metadata: Vec<Option<&'a [u8]>>,
    data: Vec<&'a [u8]>,
}

/// Attributes without NUL, which `jsonb` refuses (as ingest does).
fn storable(attributes: &Attributes) -> Cow<'_, Attributes> {
    if attributes.0.iter().any(|(name, value)| name.contains('\0') || value.contains('\0')) {
        let pairs = attributes.0.iter();
        Cow::Owned(Attributes(pairs.map(|(name, value)| (clean(name).into(), clean(value).into())).collect()))
    } else {
        Cow::Borrowed(attributes)
    }
}

impl<'a> Columns<'a> {
    /// These events, sorted by key.
    pub(super) fn of(events: &[&'a (AcceptedEvent, Bytes)]) -> Self {
        let mut events = events.to_vec();
        // A stable sort keeps the first of two with the same id.
        events.sort_by(|(a, _), (b, _)| (a.event_day, a.tenant, &a.id).cmp(&(b.event_day, b.tenant, &b.id)));
        events.dedup_by(|(a, _), (b, _)| (a.event_day, a.tenant, &a.id) == (b.event_day, b.tenant, &b.id));
        let mut columns = Self::default();
        for (event, data) in events {
            columns.accepted_at.push(Ts(event.accepted_at));
            columns.occurred_at.push(Ts(event.occurred_at));
            // Both are only compared for equality and gaps, so the bits may be stored as signed.
            columns.instance.push(event.instance.cast_signed());
            columns.sequence.push(event.sequence.cast_signed());
            columns.tenant.push(event.tenant.0);
            columns.event_day.push(Date(event.event_day));
            columns.origin.push(event.origin.code());
            columns.lane.push(event.lane.code());
            columns.id.push(event.id.as_str());
            columns.event_type.push(event.event_type.as_str());
            columns.content_hash.push(event.content_hash.as_deref().map(clean));
            let some = !event.attributes.0.is_empty();
            columns.attributes.push(some.then(|| Json(storable(&event.attributes))));
            columns.metadata.push(event.metadata.as_ref().map(|metadata| metadata.get().as_bytes()));
            columns.data.push(data);
        }
        columns
    }

    pub(super) fn is_empty(&self) -> bool {
        self.id.is_empty()
    }

    /// Rows to write.
    pub(super) fn len(&self) -> usize {
        self.id.len()
    }

    pub(super) fn params(&self) -> [&(dyn ToSql + Sync); 14] {
        [
            &self.accepted_at,
            &self.occurred_at,
            &self.instance,
            &self.sequence,
            &self.tenant,
            &self.event_day,
            &self.origin,
            &self.lane,
            &self.id,
            &self.event_type,
            &self.content_hash,
            &self.attributes,
            &self.metadata,
            &self.data,
        ]
    }
}

/// Inserts decisions. Two decisions about one event (after a crash) are merged by union.
pub(super) fn insert_decisions(mode: InsertMode) -> String {
    match mode {
        InsertMode::Plain => INSERT_DECISIONS.to_owned(),
        InsertMode::KeepExisting => format!("{INSERT_DECISIONS}{UNITE_DECISIONS}"),
    }
}

/// SQL has no ragged arrays, so each row takes a slice of one array.
const INSERT_DECISIONS: &str = "\
INSERT INTO decisions AS d (config_version, decided_at, tenant, event_day, event_id, matched)
SELECT u.config_version, u.decided_at, u.tenant, u.event_day, u.event_id, ($6::uuid[])[u.from_index : u.to_index]
FROM (SELECT unnest($1::bigint[]) AS config_version, unnest($2::timestamptz[]) AS decided_at, unnest($3::uuid[]) AS tenant,
        unnest($4::date[]) AS event_day, unnest($5::text[]) AS event_id, unnest($7::int[]) AS from_index,
        unnest($8::int[]) AS to_index) u
";

/// Takes the union of the endpoints, and the earlier version and time.
const UNITE_DECISIONS: &str = "\
ON CONFLICT (tenant, event_id, event_day) DO UPDATE SET
    matched = (SELECT array_agg(DISTINCT m ORDER BY m) FROM unnest(d.matched || excluded.matched) m),
    config_version = least(d.config_version, excluded.config_version),
    decided_at = least(d.decided_at, excluded.decided_at)
WHERE NOT d.matched @> excluded.matched OR excluded.config_version < d.config_version
    OR excluded.decided_at < d.decided_at";

/// Decisions as array parameters of [`insert_decisions`].
#[derive(Default)]
pub(super) struct DecisionColumns<'a> {
    config_version: Vec<i64>,
    decided_at: Vec<Ts>,
    tenant: Vec<Uuid>,
    event_day: Vec<Date>,
    event_id: Vec<&'a str>,
    matched: Vec<Uuid>,
    from_index: Vec<i32>,
    to_index: Vec<i32>,
}

impl<'a> DecisionColumns<'a> {
    /// These decisions, one for each event, sorted by key.
    pub(super) fn of(decisions: &[&'a Decision]) -> Self {
        let mut by_event: BTreeMap<(Day, TenantId, &'a EventId), Vec<&'a Decision>> = BTreeMap::new();
        for decision in decisions {
            by_event.entry((decision.event_day, decision.tenant, &decision.event)).or_default().push(decision);
        }
        let mut columns = Self::default();
        for ((day, tenant, event), same) in by_event {
            let mut matched: Vec<Uuid> =
                same.iter().flat_map(|d| d.matched.iter().map(|endpoint| endpoint.0)).collect();
            matched.sort_unstable();
            matched.dedup();
            columns.config_version.push(same.iter().map(|d| d.config_version).min().unwrap_or_default());
            columns.decided_at.push(Ts(same.iter().map(|d| d.decided_at).min().unwrap_or_default()));
            columns.tenant.push(tenant.0);
            columns.event_day.push(Date(day));
            columns.event_id.push(event.as_str());
            // SQL arrays start at 1; a slice that ends before its start is empty.
            columns.from_index.push(index(columns.matched.len() + 1));
            columns.matched.append(&mut matched);
            columns.to_index.push(index(columns.matched.len()));
        }
        columns
    }

    pub(super) fn is_empty(&self) -> bool {
        self.event_id.is_empty()
    }

    pub(super) fn params(&self) -> [&(dyn ToSql + Sync); 8] {
        [
            &self.config_version,
            &self.decided_at,
            &self.tenant,
            &self.event_day,
            &self.event_id,
            &self.matched,
            &self.from_index,
            &self.to_index,
        ]
    }
}

fn index(at: usize) -> i32 {
    i32::try_from(at).unwrap_or(i32::MAX)
}
