//! Reads the row of an endpoint, writes it with its version, and turns it into a tombstone.

use deadpool_postgres::{GenericClient, Transaction};
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::time::UnixMillis;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::config_version::check_match;
use super::secrets::{self, Column};
use super::{Endpoint, EndpointSecrets, EndpointVersion};
use crate::crypto::MasterKeys;
use crate::error::StoreError;
use crate::sql::{Coded, FromRow, RowExt, Ts, clean, from_row, read_all, read_optional};

/// The row of an endpoint, with its sealed columns.
pub(crate) struct EndpointRow {
    pub(crate) endpoint: Endpoint,
    pub(crate) secret_current: Vec<u8>,
    pub(crate) secret_previous: Option<Vec<u8>>,
    pub(crate) secrets_earlier: Option<Vec<u8>>,
    pub(crate) secret_next: Option<Vec<u8>>,
    pub(crate) private: Vec<u8>,
}

pub(crate) const COLUMNS: &str = "e.id, e.tenant, e.document, e.status, e.disabled_reason, e.disabled_at, \
    e.paused_reason, e.paused_at, \
    e.secret_current, e.secret_previous, e.previous_until, e.secrets_earlier, e.earlier_until, e.secret_next, \
    e.next_from, e.private, e.version, e.created_at, e.updated_at";

impl FromRow for EndpointRow {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let earlier: Vec<UnixMillis> = row.col::<Option<_>>("earlier_until")?.unwrap_or_default();
        let previous: Option<UnixMillis> = row.col("previous_until")?;
        let endpoint = Endpoint {
            id: row.col("id")?,
            tenant: row.col("tenant")?,
            document: row.col("document")?,
            status: row.col("status")?,
            disabled_reason: row.col("disabled_reason")?,
            disabled_at: row.col("disabled_at")?,
            paused_reason: row.col("paused_reason")?,
            paused_at: row.col("paused_at")?,
            previous_secrets_until: previous.into_iter().chain(earlier).collect(),
            next_secret_from: row.col("next_from")?,
            version: row.col("version")?,
            created_at: row.col("created_at")?,
            updated_at: row.col("updated_at")?,
        };
        Ok(Self {
            endpoint,
            secret_current: row.col("secret_current")?,
            secret_previous: row.col("secret_previous")?,
            secrets_earlier: row.col("secrets_earlier")?,
            secret_next: row.col("secret_next")?,
            private: row.col("private")?,
        })
    }
}

impl EndpointRow {
    /// Opens the signing secrets.
    pub(crate) fn secrets(&self, keys: &MasterKeys) -> Result<EndpointSecrets, StoreError> {
        let id = self.endpoint.id;
        let newest = self.secret_previous.iter().map(|sealed| secrets::open(keys, id, Column::Previous, sealed));
        let earlier = secrets::open_list(keys, id, Column::Earlier, self.secrets_earlier.as_deref())?;
        let previous = newest.chain(earlier.into_iter().map(Ok)).collect::<Result<Vec<_>, _>>()?;
        let next = match (&self.secret_next, self.endpoint.next_secret_from) {
            (Some(sealed), Some(from)) => Some((secrets::open(keys, id, Column::Next, sealed)?, from)),
            _ => None,
        };
        Ok(EndpointSecrets {
            current: secrets::open(keys, id, Column::Current, &self.secret_current)?,
            previous: previous.into_iter().zip(self.endpoint.previous_secrets_until.iter().copied()).collect(),
            next,
        })
    }

    /// Seals new signing secrets and writes them into the row.
    pub(super) fn replace_secrets(&mut self, keys: &MasterKeys, new: &EndpointSecrets) -> Result<(), StoreError> {
        let id = self.endpoint.id;
        let seal = |column, secret| secrets::seal(keys, id, column, secret);
        let mut previous = new.previous.iter().map(|(secret, _)| secret);
        self.secret_current = seal(Column::Current, &new.current)?;
        self.secret_previous = previous.next().map(|secret| seal(Column::Previous, secret)).transpose()?;
        self.secrets_earlier = secrets::seal_list(keys, id, Column::Earlier, previous)?;
        self.secret_next = new.next.as_ref().map(|(secret, _)| seal(Column::Next, secret)).transpose()?;
        self.endpoint.previous_secrets_until = new.previous.iter().map(|(_, until)| *until).collect();
        self.endpoint.next_secret_from = new.next.as_ref().map(|(_, at)| *at);
        Ok(())
    }

    /// Writes the row. Also stores the status and the document as a new endpoint version, unless they equal the newest version.
    pub(super) async fn save(&self, tx: &Transaction<'_>) -> Result<(), StoreError> {
        let endpoint = &self.endpoint;
        let mut ends = endpoint.previous_secrets_until.iter().copied().map(Ts);
        let previous_until = ends.next();
        let earlier_until: Vec<Ts> = ends.collect();
        tx.execute(
            "INSERT INTO endpoints (id, tenant, document, status, disabled_reason, disabled_at, secret_current,
                secret_previous, previous_until, secret_next, next_from, private, version, created_at, updated_at,
                secrets_earlier, earlier_until, paused_reason, paused_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
             ON CONFLICT (id) DO UPDATE SET (document, status, disabled_reason, disabled_at, secret_current,
                secret_previous, previous_until, secret_next, next_from, private, version, updated_at,
                secrets_earlier, earlier_until, paused_reason, paused_at)
              = ROW (excluded.document, excluded.status, excluded.disabled_reason, excluded.disabled_at,
                excluded.secret_current, excluded.secret_previous, excluded.previous_until, excluded.secret_next,
                excluded.next_from, excluded.private, excluded.version, excluded.updated_at,
                excluded.secrets_earlier, excluded.earlier_until, excluded.paused_reason, excluded.paused_at)",
            &[
                &endpoint.id.0,
                &endpoint.tenant.0,
                &Json(&endpoint.document),
                &endpoint.status.code(),
                &endpoint.disabled_reason.as_deref().map(clean),
                &endpoint.disabled_at.map(Ts),
                &self.secret_current,
                &self.secret_previous,
                &previous_until,
                &self.secret_next,
                &endpoint.next_secret_from.map(Ts),
                &self.private,
                &endpoint.version,
                &Ts(endpoint.created_at),
                &Ts(endpoint.updated_at),
                &self.secrets_earlier,
                &earlier_until,
                &endpoint.paused_reason.as_deref().map(clean),
                &endpoint.paused_at.map(Ts),
            ],
        )
        .await?;
        tx.execute(
            "INSERT INTO endpoint_versions (endpoint, version, status, deleted, document, created_at)
             SELECT $1, $2, $3, false, $4, $5 WHERE NOT EXISTS (
                 SELECT 1 FROM (SELECT status, document FROM endpoint_versions WHERE endpoint = $1
                                ORDER BY version DESC LIMIT 1) newest
                 WHERE newest.status = $3 AND newest.document::text = $4::json::text)",
            &[
                &endpoint.id.0,
                &endpoint.version,
                &endpoint.status.code(),
                &Json(&endpoint.document),
                &Ts(endpoint.updated_at),
            ],
        )
        .await?;
        Ok(())
    }
}

/// Reads the endpoint's row, or returns [`StoreError::NotFound`]. The caller holds the lock on `config_version`, so no other
/// edit runs at the same time.
pub(super) async fn require(
    tx: &Transaction<'_>,
    tenant: Option<TenantId>,
    id: EndpointId,
    if_match: Option<i64>,
) -> Result<EndpointRow, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM endpoints e
         WHERE e.id = $1 AND e.deleted_at IS NULL AND ($2::uuid IS NULL OR e.tenant = $2)"
    );
    let row: Option<EndpointRow> = read_optional(tx.query_opt(&sql, &[&id.0, &tenant.map(|t| t.0)]).await?)?;
    let row = row.ok_or(StoreError::NotFound { what: "endpoint" })?;
    check_match(if_match, row.endpoint.version)?;
    Ok(row)
}

/// Turns the endpoints whose `column` (`id` or `tenant`) equals `value` into tombstones: wipes their secrets and adds a
/// version.
pub(super) async fn tombstone(
    tx: &Transaction<'_>,
    column: &'static str,
    value: Uuid,
    version: i64,
    now: Ts,
) -> Result<(), StoreError> {
    let sql = format!(
        "WITH gone AS (
             UPDATE endpoints SET version = $2, updated_at = $3, deleted_at = $3, secret_current = '', private = '',
                 secret_previous = NULL, previous_until = NULL, secrets_earlier = NULL, earlier_until = NULL,
                 secret_next = NULL, next_from = NULL
             WHERE {column} = $1 AND deleted_at IS NULL RETURNING id, status, document)
         INSERT INTO endpoint_versions (endpoint, version, status, deleted, document, created_at)
         SELECT id, $2, status, true, document, $3 FROM gone"
    );
    tx.execute(&sql, &[&value, &version, &now]).await?;
    Ok(())
}

/// See [`crate::Store::endpoints_at`].
pub(crate) async fn endpoints_at(
    client: &impl GenericClient,
    tenant: TenantId,
    version: i64,
    since: UnixMillis,
) -> Result<Vec<EndpointVersion>, StoreError> {
    let sql = "SELECT v.* FROM endpoints e CROSS JOIN LATERAL (
                   SELECT * FROM endpoint_versions WHERE endpoint = e.id AND version <= $2 ORDER BY version DESC LIMIT 1) v
               WHERE e.tenant = $1 AND (e.deleted_at IS NULL OR e.deleted_at >= $3)
               ORDER BY e.created_at DESC, e.id DESC LIMIT 1000";
    read_all(client.query(sql, &[&tenant.0, &version, &Ts(since)]).await?)
}

/// See [`crate::Store::endpoint_at`].
pub(crate) async fn endpoint_at(
    client: &impl GenericClient,
    id: EndpointId,
    version: i64,
) -> Result<Option<EndpointVersion>, StoreError> {
    let sql = "SELECT * FROM endpoint_versions WHERE endpoint = $1 AND version <= $2 ORDER BY version DESC LIMIT 1";
    read_optional(client.query_opt(sql, &[&id.0, &version]).await?)
}

from_row!(EndpointVersion { endpoint, version, status, deleted, document, created_at });
