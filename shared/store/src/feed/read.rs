//! Reads the configuration, or its changes, as of one version.

use std::collections::BTreeMap;
use std::pin::pin;

use futures::TryStreamExt;
use postrider_model::endpoint::Channel;
use postrider_model::ordering::Ordering;
use serde::Deserialize;
use tokio_postgres::types::Json;
use tokio_postgres::{Client, IsolationLevel, Row, Transaction};

use super::{Changes, EndpointSubscription, FeedEventType, FeedKey, FeedScope, FeedTenant};
use crate::config::{KeyHash, KeyTenants, Scopes, body_kind};
use crate::error::StoreError;
use crate::intervention::Intervention;
use crate::sql::{FromRow, RowExt};
use postrider_model::scope::Scope;

/// The part of an endpoint's document that fan-out needs. Other members are not deserialised.
#[derive(Deserialize)]
struct SubscriptionDocument {
    event_types: Box<[String]>,
    #[serde(default)]
    filters: BTreeMap<String, Box<[String]>>,
    #[serde(default)]
    payload_filter: Option<serde_json::Value>,
    #[serde(default)]
    channel: Channel,
    #[serde(default)]
    ascii_json: bool,
    #[serde(default)]
    ordering: Option<Ordering>,
    #[serde(default)]
    ordering_generation: u32,
}

/// The current version.
pub(super) async fn current(client: &Client) -> Result<i64, StoreError> {
    client.query_one("SELECT version FROM config_version", &[]).await?.col("version")
}

/// Reads the hash of a key.
fn hash(row: &Row) -> Result<KeyHash, StoreError> {
    let hash: &[u8] = row.try_get("hash")?;
    let bytes = hash
        .try_into()
        .map_err(|_| StoreError::Unreadable { what: "the hash of a key", detail: format!("{} bytes", hash.len()) })?;
    Ok(KeyHash(bytes))
}

/// Reads the changes after version `since` (exclusive), or everything for `None`, from one snapshot.
pub(super) async fn read(client: &mut Client, what: FeedScope, since: Option<i64>) -> Result<Changes, StoreError> {
    let options = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
    let reader = Reader { tx: options.start().await?, since };
    let version = reader.tx.query_one("SELECT version FROM config_version", &[]).await?.col("version")?;
    let mut changes = Changes { version, snapshot: since.is_none(), ..Changes::default() };
    if what.tenants {
        reader.tenants(&mut changes).await?;
    }
    if what.keys {
        reader.api_keys(&mut changes).await?;
        reader.product_keys(&mut changes).await?;
    }
    if what.event_types {
        reader.event_types(&mut changes).await?;
    }
    if what.subscriptions {
        reader.subscriptions(&mut changes).await?;
    }
    if what.endpoint_ids && since.is_some() {
        reader.endpoint_ids(&mut changes).await?;
    }
    if what.interventions {
        reader.interventions(&mut changes).await?;
    }
    reader.tx.commit().await?;
    Ok(changes)
}

/// Reads one table after another into [`Changes`].
struct Reader<'a> {
    tx: Transaction<'a>,
    since: Option<i64>,
}

impl Reader<'_> {
    /// Streams the rows of a statement with `since` as `$1`, because a snapshot may have a million rows.
    async fn each(&self, sql: &str, mut take: impl FnMut(&Row) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let mut rows = pin!(self.tx.query_raw(sql, [self.since.unwrap_or(-1)]).await?);
        while let Some(row) = rows.try_next().await? {
            take(&row)?;
        }
        Ok(())
    }

    /// Returns, for a snapshot, the condition that leaves out tombstones: a snapshot replaces everything that its
    /// receiver has, so it needs no deleted rows.
    fn if_living(&self, column: &str) -> String {
        if self.since.is_none() { format!(" AND {column} IS NULL") } else { String::new() }
    }

    async fn tenants(&self, changes: &mut Changes) -> Result<(), StoreError> {
        let sql = format!(
            "SELECT id, profile, external_id, limits, enforce_catalog, enforce_schemas, disable_after_days, ordered, version,
                    deleted_at IS NOT NULL AS gone
             FROM tenants WHERE version > $1{}",
            self.if_living("deleted_at")
        );
        self.each(&sql, |row| {
            let id = row.col("id")?;
            if row.col("gone")? {
                changes.tenants_gone.push(id);
                return Ok(());
            }
            changes.tenants.push(FeedTenant {
                id,
                profile: row.col("profile")?,
                external_id: row.col("external_id")?,
                limits: row.col("limits")?,
                enforce_catalog: row.col("enforce_catalog")?,
                enforce_schemas: row.col("enforce_schemas")?,
                disable_after_days: row.col("disable_after_days")?,
                ordered: row.col("ordered")?,
                version: row.col("version")?,
            });
            Ok(())
        })
        .await
    }

    async fn api_keys(&self, changes: &mut Changes) -> Result<(), StoreError> {
        let sql = format!(
            "SELECT id, tenant, hash, scopes, deleted_at IS NOT NULL AS gone FROM api_keys WHERE version > $1{}",
            self.if_living("deleted_at")
        );
        self.each(&sql, |row| {
            let id = row.col("id")?;
            if row.col("gone")? {
                changes.keys_gone.push(id);
                return Ok(());
            }
            let tenants = KeyTenants::One(row.col("tenant")?);
            changes.keys.push(FeedKey { id, tenants, hash: hash(row)?, scopes: row.col("scopes")? });
            Ok(())
        })
        .await
    }

    async fn product_keys(&self, changes: &mut Changes) -> Result<(), StoreError> {
        let sql = format!(
            "SELECT id, tenants, hash, deleted_at IS NOT NULL AS gone FROM product_keys WHERE version > $1{}",
            self.if_living("deleted_at")
        );
        self.each(&sql, |row| {
            let id = row.col("id")?;
            if row.col("gone")? {
                changes.keys_gone.push(id);
                return Ok(());
            }
            let scopes = Scopes::from_iter([Scope::Publish]);
            changes.keys.push(FeedKey { id, tenants: row.col("tenants")?, hash: hash(row)?, scopes });
            Ok(())
        })
        .await
    }

    async fn event_types(&self, changes: &mut Changes) -> Result<(), StoreError> {
        // If a tenant has started to enforce schemas, the schemas of its older definitions are needed too.
        let sql = format!(
            "SELECT e.tenant, e.name, CASE WHEN t.enforce_schemas THEN e.schema END AS schema, e.ttl_seconds,
                    e.deleted_at IS NOT NULL AS gone
             FROM event_types e JOIN tenants t ON t.id = e.tenant
             WHERE (e.version > $1 OR (t.version > $1 AND e.deleted_at IS NULL)){}",
            self.if_living("e.deleted_at")
        );
        self.each(&sql, |row| {
            let (tenant, name) = (row.col("tenant")?, row.col("name")?);
            if row.col("gone")? {
                changes.event_types_gone.push((tenant, name));
            } else {
                let (schema, ttl_seconds) = (row.col("schema")?, row.col("ttl_seconds")?);
                changes.event_types.push(FeedEventType { tenant, name, schema, ttl_seconds });
            }
            Ok(())
        })
        .await
    }

    async fn subscriptions(&self, changes: &mut Changes) -> Result<(), StoreError> {
        // Subscriptions are compiled for the tenant's profile, so an edit of a tenant reads all of its subscriptions. There are
        // two statements, because a single statement with OR would use no index and scan every endpoint.
        let own = "SELECT id, tenant, document, version, status = 3 AS paused,
                          deleted_at IS NOT NULL OR status NOT IN (0, 3) AS gone
                   FROM endpoints WHERE version > $1";
        let sql = match self.since {
            None => format!("{own} AND deleted_at IS NULL AND status IN (0, 3)"),
            Some(_) => format!(
                "{own} UNION ALL
                 SELECT e.id, e.tenant, e.document, e.version, e.status = 3, false
                 FROM tenants t JOIN endpoints e ON e.tenant = t.id
                 WHERE t.version > $1 AND e.version <= $1 AND e.deleted_at IS NULL AND e.status IN (0, 3)"
            ),
        };
        self.each(&sql, |row| {
            let (tenant, endpoint) = (row.col("tenant")?, row.col("id")?);
            if row.col("gone")? {
                changes.subscriptions_gone.push((tenant, endpoint));
                return Ok(());
            }
            let Json::<SubscriptionDocument>(document) = row.col("document")?;
            changes.subscriptions.push(EndpointSubscription {
                endpoint,
                tenant,
                event_types: document.event_types,
                filters: document.filters.into_iter().collect(),
                payload_filter: document.payload_filter,
                body_kind: body_kind(document.channel, document.ascii_json),
                paused: row.col("paused")?,
                ordering: document.ordering.map(|ordering| Box::new((ordering, document.ordering_generation))),
                version: row.col("version")?,
            });
            Ok(())
        })
        .await
    }

    async fn endpoint_ids(&self, changes: &mut Changes) -> Result<(), StoreError> {
        // Caches store endpoints with their tenant's profile and limits, so an edit of a tenant changes all of its endpoints.
        let sql = "SELECT id FROM endpoints WHERE version > $1
                   UNION ALL
                   SELECT e.id FROM tenants t JOIN endpoints e ON e.tenant = t.id
                   WHERE t.version > $1 AND e.version <= $1 AND e.deleted_at IS NULL";
        self.each(sql, |row| {
            changes.endpoints_changed.push(row.col("id")?);
            Ok(())
        })
        .await
    }

    async fn interventions(&self, changes: &mut Changes) -> Result<(), StoreError> {
        let sql = format!("SELECT {} FROM interventions WHERE version > $1", Intervention::COLUMNS);
        self.each(&sql, |row| {
            changes.interventions.push(Intervention::read(row)?);
            Ok(())
        })
        .await
    }
}
