//! Tenants' definitions of event types: the tenant's own types, and definitions that override those of its profile.

use deadpool_postgres::{GenericClient, Transaction};
use postrider_model::event::EventType;
use postrider_model::ids::TenantId;
use postrider_model::limits::{EVENT_TYPES_BYTES_PER_TENANT_MAX, EVENT_TYPES_PER_TENANT_MAX, PAGE_BYTES_MAX, PAGE_MAX};
use postrider_model::time::UnixMillis;
use tokio_postgres::Row;

use super::config_version::{bump, check_match};
use crate::audit_log::{AuditAction, Change};
use crate::error::StoreError;
use crate::sql::{FromRow, RowExt, Ts, clean, found, from_row, read_all, read_optional};
use crate::store::ConfigStore;

/// A tenant's definition of an event type. The caller has validated the JSON and the schema.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventTypeDraft {
    /// A description for people.
    pub description: Option<String>,
    /// An example of `data`: JSON text, stored unchanged.
    pub sample: Option<String>,
    /// The JSON Schema of `data`, stored unchanged.
    pub schema: Option<String>,
    /// Number of seconds after which events of the type expire, unless they state another expiry.
    pub ttl_seconds: Option<u32>,
}

impl EventTypeDraft {
    /// The bytes of the sample and the schema together.
    fn bytes(&self) -> u64 {
        [&self.sample, &self.schema].into_iter().flatten().map(|text| text.len() as u64).sum()
    }
}

/// An event type as its tenant defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantEventType {
    /// Its name.
    pub name: EventType,
    /// The tenant's definition.
    pub draft: EventTypeDraft,
    /// Configuration version of the last edit, which is the type's ETag.
    pub version: i64,
    /// When it was defined.
    pub created_at: UnixMillis,
    /// When it was last edited.
    pub updated_at: UnixMillis,
}

/// An event type that was just saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedEventType {
    /// The type.
    pub event_type: TenantEventType,
    /// Whether the tenant had no definition of the type until now.
    pub created: bool,
}

/// Selects the event types of a tenant to list. The list is sorted by name.
#[derive(Debug, Clone, Copy)]
pub struct EventTypePage<'a> {
    /// Lists names after this name (exclusive); `None` starts at the first name.
    pub after: Option<&'a str>,
    /// Lists this type and the types below it: `email` lists `email.sent`. `None` lists all types.
    pub group: Option<&'a str>,
    /// Maximum number of types, clamped to 1 to [`PAGE_MAX`] + 1. A caller that requests one type more than it needs sees
    /// whether another page follows.
    pub limit: u32,
}

/// A page of a tenant's event types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTypeList {
    /// The event types, sorted by name.
    pub items: Vec<TenantEventType>,
    /// Whether the page ended before its limit, because its samples and schemas reached [`PAGE_BYTES_MAX`] bytes. If so,
    /// other types follow.
    pub is_cut: bool,
}

/// A tenant's definition of an event type at an earlier time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventTypeAt {
    /// The definition at that time. It has not been edited since then.
    Known(TenantEventType),
    /// The tenant had no definition of the type.
    Absent,
    /// The definition has been edited or deleted since then, and the store does not keep earlier definitions.
    EditedSince,
}

/// SQL for the bytes of a row's sample and schema.
const BYTES: &str = "(coalesce(octet_length(sample), 0) + coalesce(octet_length(schema), 0))";

from_row!(EventTypeDraft { description, sample, schema, ttl_seconds });

/// The columns of [`TenantEventType`].
const COLUMNS: &str = "name, description, sample, schema, ttl_seconds, version, created_at, updated_at";

impl FromRow for TenantEventType {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            name: row.col("name")?,
            draft: EventTypeDraft::read(row)?,
            version: row.col("version")?,
            created_at: row.col("created_at")?,
            updated_at: row.col("updated_at")?,
        })
    }
}

async fn find(
    client: &impl GenericClient,
    tenant: TenantId,
    name: &EventType,
) -> Result<Option<TenantEventType>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM event_types WHERE tenant = $1 AND name = $2 AND deleted_at IS NULL");
    read_optional(client.query_opt(&sql, &[&tenant.0, &name.as_str()]).await?)
}

/// The audit log's representation of an event type.
fn described(draft: &EventTypeDraft) -> serde_json::Value {
    serde_json::json!({
        "description": draft.description, "sample": draft.sample, "schema": draft.schema, "ttl_seconds": draft.ttl_seconds,
    })
}

/// Turns a tenant's event type into a tombstone and erases its definition. `name` `None` does so for all types of the tenant.
pub(super) async fn tombstone(
    tx: &Transaction<'_>,
    tenant: TenantId,
    name: Option<&EventType>,
    version: i64,
    now: Ts,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE event_types SET description = NULL, sample = NULL, schema = NULL, ttl_seconds = NULL, version = $3,
             updated_at = $4, deleted_at = $4
         WHERE tenant = $1 AND ($2::text IS NULL OR name = $2) AND deleted_at IS NULL",
        &[&tenant.0, &name.map(EventType::as_str), &version, &now],
    )
    .await?;
    Ok(())
}

impl ConfigStore {
    /// Saves a tenant's definition of an event type and replaces the previous one. An equal definition writes no new version.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if the tenant does not exist; the version differs from `if_match`; [`StoreError::Conflict`] at
    /// a limit of types.
    pub async fn put_event_type(
        &self,
        tenant: TenantId,
        name: &EventType,
        draft: &EventTypeDraft,
        if_match: Option<i64>,
    ) -> Result<SavedEventType, StoreError> {
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        let version = bump(&tx).await?;
        super::tenants::require(&tx, tenant).await?;
        let before = find(&tx, tenant, name).await?;
        match &before {
            Some(before) => check_match(if_match, before.version)?,
            // A type without a definition has no version that `if_match` could equal.
            None if if_match.is_some() => return Err(StoreError::VersionMismatch { current: 0 }),
            None => {}
        }
        if before.is_none() {
            let sql = "SELECT count(*) AS usage FROM event_types WHERE tenant = $1 AND deleted_at IS NULL";
            let usage: u32 = tx.query_one(sql, &[&tenant.0]).await?.col("usage")?;
            if usage >= EVENT_TYPES_PER_TENANT_MAX {
                let detail = format!("the tenant has {usage} of {EVENT_TYPES_PER_TENANT_MAX} event types");
                return Err(StoreError::Conflict(detail));
            }
        }
        let sql = format!(
            "SELECT coalesce(sum({BYTES}), 0)::bigint AS bytes FROM event_types
             WHERE tenant = $1 AND name <> $2 AND deleted_at IS NULL"
        );
        let others: u64 = tx.query_one(&sql, &[&tenant.0, &name.as_str()]).await?.col("bytes")?;
        let usage = others + draft.bytes();
        if usage > EVENT_TYPES_BYTES_PER_TENANT_MAX {
            return Err(StoreError::Conflict(format!(
                "samples and schemas of the tenant's event types would have {usage} bytes together, at most \
                 {EVENT_TYPES_BYTES_PER_TENANT_MAX}"
            )));
        }
        let now = UnixMillis::now();
        let draft = EventTypeDraft {
            description: draft.description.as_deref().map(|text| clean(text).into_owned()),
            ..draft.clone()
        };
        if let Some(event_type) = before.as_ref().filter(|before| before.draft == draft) {
            return Ok(SavedEventType { event_type: event_type.clone(), created: false });
        }
        let event_type = TenantEventType {
            name: name.clone(),
            draft,
            version,
            created_at: before.as_ref().map_or(now, |before| before.created_at),
            updated_at: now,
        };
        tx.execute(
            "INSERT INTO event_types (tenant, name, description, sample, schema, version, created_at, updated_at, ttl_seconds)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (tenant, name) DO UPDATE SET (description, sample, schema, version, created_at, updated_at,
                    ttl_seconds, deleted_at)
                = ROW (excluded.description, excluded.sample, excluded.schema, excluded.version, excluded.created_at,
                       excluded.updated_at, excluded.ttl_seconds, NULL)",
            &[
                &tenant.0,
                &name.as_str(),
                &event_type.draft.description,
                &event_type.draft.sample,
                &event_type.draft.schema,
                &version,
                &Ts(event_type.created_at),
                &Ts(now),
                &event_type.draft.ttl_seconds.map(|seconds| i32::try_from(seconds).unwrap_or(i32::MAX)),
            ],
        )
        .await?;
        let change = Change::of(tenant, AuditAction::EventTypeSaved, name).to(described(&event_type.draft));
        let change = match &before {
            Some(before) => change.from(described(&before.draft)),
            None => change,
        };
        self.0.finish_edit(tx, version, change).await?;
        Ok(SavedEventType { event_type, created: before.is_none() })
    }

    /// The event types that a tenant defines, sorted by name.
    pub async fn list_event_types(
        &self,
        tenant: TenantId,
        page: EventTypePage<'_>,
    ) -> Result<EventTypeList, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS}, found FROM (
                 SELECT *, count(*) OVER () AS found, sum({BYTES}) OVER (ORDER BY name) - {BYTES} AS bytes_before FROM (
                     SELECT * FROM event_types
                     WHERE tenant = $1 AND deleted_at IS NULL AND ($2::text IS NULL OR name > $2)
                       AND ($3::text IS NULL OR name = $3 OR starts_with(name, $3 || '.'))
                     ORDER BY name LIMIT $4) wanted) page
             WHERE bytes_before < {PAGE_BYTES_MAX} ORDER BY name"
        );
        let limit = i64::from(page.limit.clamp(1, PAGE_MAX + 1));
        let rows = self.0.client().await?.query(&sql, &[&tenant.0, &page.after, &page.group, &limit]).await?;
        let found = found(&rows)?;
        let items: Vec<TenantEventType> = read_all(rows)?;
        Ok(EventTypeList { is_cut: items.len() < found, items })
    }

    /// The names of all event types that a tenant defines.
    pub async fn event_type_names(&self, tenant: TenantId) -> Result<Vec<EventType>, StoreError> {
        let sql = "SELECT name FROM event_types WHERE tenant = $1 AND deleted_at IS NULL ORDER BY name";
        let names: Vec<(EventType,)> = self.0.fetch_all(sql, &[&tenant.0]).await?;
        Ok(names.into_iter().map(|(name,)| name).collect())
    }

    /// Returns a tenant's definition of one event type as it was at `moment`.
    pub async fn event_type_at(
        &self,
        tenant: TenantId,
        name: &EventType,
        moment: UnixMillis,
    ) -> Result<EventTypeAt, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS}, deleted_at IS NOT NULL AS gone FROM event_types WHERE tenant = $1 AND name = $2"
        );
        let Some(row) = self.0.client().await?.query_opt(&sql, &[&tenant.0, &name.as_str()]).await? else {
            return Ok(EventTypeAt::Absent);
        };
        let said = TenantEventType::read(&row)?;
        Ok(if said.updated_at > moment {
            EventTypeAt::EditedSince
        } else if row.col("gone")? {
            EventTypeAt::Absent
        } else {
            EventTypeAt::Known(said)
        })
    }

    /// A tenant's definition of one event type; `None` if the tenant does not define it.
    pub async fn get_event_type(
        &self,
        tenant: TenantId,
        name: &EventType,
    ) -> Result<Option<TenantEventType>, StoreError> {
        find(&self.0.client().await?, tenant, name).await
    }

    /// Deletes a tenant's definition of an event type.
    ///
    /// # Errors
    /// The definition does not exist, or its version differs from `if_match`.
    pub async fn delete_event_type(
        &self,
        tenant: TenantId,
        name: &EventType,
        if_match: Option<i64>,
    ) -> Result<(), StoreError> {
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        let version = bump(&tx).await?;
        let Some(before) = find(&tx, tenant, name).await? else {
            return Err(StoreError::NotFound { what: "event type" });
        };
        check_match(if_match, before.version)?;
        tombstone(&tx, tenant, Some(name), version, Ts(UnixMillis::now())).await?;
        let change = Change::of(tenant, AuditAction::EventTypeDeleted, name).from(described(&before.draft));
        self.0.finish_edit(tx, version, change).await
    }
}
