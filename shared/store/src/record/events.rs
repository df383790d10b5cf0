//! Inserts events and decisions.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use postrider_model::event::Attributes;
use postrider_model::ids::{EventId, TenantId};
use postrider_model::time::Day;
use postrider_wire::messages::{AcceptedEvent, Decision};
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use super::array_params::{self, ArrayParams, array_params};
use super::conflict_mode::InsertMode;
use crate::sql::{Coded, Date, Ts, clean};

/// SQL that inserts events. Of two events with the same tenant, id and day, the first is kept.
pub(super) fn insert(mode: InsertMode) -> String {
    array_params::insert("events", Events::COLUMNS) + mode.on_conflict()
}

array_params! {
    /// Events as parameters of [`insert`].
    Events<'a> of (event: &'a AcceptedEvent, payload: &'a Bytes) {
        accepted_at: Ts = Ts(event.accepted_at),
        occurred_at: Ts = Ts(event.occurred_at),
        // `instance` and `sequence` are only compared with numbers that are stored the same way, so they may be cast to signed.
        instance: i64 = event.instance.cast_signed(),
        sequence: i64 = event.sequence.cast_signed(),
        tenant: Uuid = event.tenant.0,
        event_day: Date = Date(event.event_day),
        origin: i16 = event.origin.code(),
        lane: i16 = event.lane.code(),
        id: &'a str = event.id.as_str(),
        event_type as "type": &'a str = event.event_type.as_str(),
        content_hash: Option<Cow<'a, str>> = event.content_hash.as_deref().map(clean),
        attributes: Option<Json<Cow<'a, Attributes>>> =
            Some(&event.attributes).filter(|attributes| !attributes.0.is_empty()).map(|of| Json(storable(of))),
        metadata: Option<&'a [u8]> = event.metadata.as_ref().map(|metadata| metadata.get().as_bytes()),
        data: &'a [u8] = payload,
        deliver_at: Option<Ts> = event.deliver_at.map(Ts),
        expires_at: Option<Ts> = event.expires_at.map(Ts),
    }
}

/// Replaces NUL in attributes, as ingest does, because `jsonb` refuses it.
fn storable(attributes: &Attributes) -> Cow<'_, Attributes> {
    if attributes.0.iter().any(|(name, value)| name.contains('\0') || value.contains('\0')) {
        let pairs = attributes.0.iter();
        Cow::Owned(Attributes(pairs.map(|(name, value)| (clean(name).into(), clean(value).into())).collect()))
    } else {
        Cow::Borrowed(attributes)
    }
}

impl<'a> Events<'a> {
    /// The events, without duplicates and sorted by key.
    pub(super) fn of(events: &[&'a (AcceptedEvent, Bytes)]) -> Self {
        let mut events = events.to_vec();
        // The sort is stable, so the first of two events with the same key is kept.
        events.sort_by(|(a, _), (b, _)| (a.event_day, a.tenant, &a.id).cmp(&(b.event_day, b.tenant, &b.id)));
        events.dedup_by(|(a, _), (b, _)| (a.event_day, a.tenant, &a.id) == (b.event_day, b.tenant, &b.id));
        let mut rows = Self::default();
        events.into_iter().for_each(|(event, data)| rows.push(event, data));
        rows
    }

    /// The number of rows to write.
    pub(super) fn len(&self) -> usize {
        self.rows
    }
}

/// SQL that inserts decisions. Merges two decisions about one event, which a crash of fan-out may cause.
pub(super) fn insert_decisions(mode: InsertMode) -> String {
    // SQL has no arrays of arrays of different lengths, so each row takes a slice of one long array.
    let rows = array_params::select(DecisionRows::COLUMNS);
    let insert = format!(
        "INSERT INTO decisions AS d (config_version, decided_at, tenant, event_day, event_id, matched)
         SELECT u.config_version, u.decided_at, u.tenant, u.event_day, u.event_id, ($8::uuid[])[u.from_index : u.to_index]
         FROM ({rows}) u "
    );
    match mode {
        InsertMode::Plain => insert,
        InsertMode::KeepExisting => insert + UNITE_DECISIONS,
    }
}

/// Merges two decisions: the result has all endpoints of both, the lower version and the earlier time.
const UNITE_DECISIONS: &str = "\
ON CONFLICT (tenant, event_id, event_day) DO UPDATE SET
    matched = (SELECT array_agg(DISTINCT m ORDER BY m) FROM unnest(d.matched || excluded.matched) m),
    config_version = least(d.config_version, excluded.config_version),
    decided_at = least(d.decided_at, excluded.decided_at)
WHERE NOT d.matched @> excluded.matched OR excluded.config_version < d.config_version
    OR excluded.decided_at < d.decided_at";

array_params! {
    /// Rows of [`insert_decisions`]. Each row merges `same`: the decisions of the batch about one event.
    DecisionRows<'a> of (same: &[&'a Decision], first: &'a Decision, slice: (i32, i32)) {
        config_version: i64 = same.iter().map(|d| d.config_version).min().unwrap_or_default(),
        decided_at: Ts = Ts(same.iter().map(|d| d.decided_at).min().unwrap_or_default()),
        tenant: Uuid = first.tenant.0,
        event_day: Date = Date(first.event_day),
        event_id: &'a str = first.event.as_str(),
        from_index: i32 = slice.0,
        to_index: i32 = slice.1,
    }
}

/// Decisions as parameters of [`insert_decisions`].
#[derive(Default)]
pub(super) struct Decisions<'a> {
    rows: DecisionRows<'a>,
    matched: Vec<Uuid>,
}

impl<'a> Decisions<'a> {
    /// The decisions, merged so that each event has one, and sorted by key.
    pub(super) fn of(decisions: &[&'a Decision]) -> Self {
        let mut by_event: BTreeMap<(Day, TenantId, &'a EventId), Vec<&'a Decision>> = BTreeMap::new();
        for decision in decisions {
            by_event.entry((decision.event_day, decision.tenant, &decision.event)).or_default().push(decision);
        }
        let mut columns = Self::default();
        for same in by_event.into_values() {
            let mut matched: Vec<Uuid> =
                same.iter().flat_map(|d| d.matched.iter().map(|endpoint| endpoint.0)).collect();
            matched.sort_unstable();
            matched.dedup();
            // Indexes of SQL arrays start at 1. A slice that ends before its start is empty.
            let from_index = index(columns.matched.len() + 1);
            columns.matched.append(&mut matched);
            columns.rows.push(&same, same[0], (from_index, index(columns.matched.len())));
        }
        columns
    }
}

impl ArrayParams for Decisions<'_> {
    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        let mut params = self.rows.params();
        params.push(&self.matched);
        params
    }
}

fn index(at: usize) -> i32 {
    i32::try_from(at).unwrap_or(i32::MAX)
}
