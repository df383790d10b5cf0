//! Endpoints: a document that is no secret and versioned, and a sealed part beside it.

use std::collections::BTreeMap;

use deadpool_postgres::{GenericClient, Transaction};
use postrider_model::delivery::EndpointStatus;
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::time::UnixMillis;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::counter::{bump, check_match, finish};
use super::secrets::{self, Column};
use super::{EndpointPrivate, EndpointSecrets, Rotation, TenantLimits, tenants};
use crate::crypto::MasterKeys;
use crate::error::{EditError, StoreError};
use crate::log::{Cursor, Page, PageRequest};
use crate::outbox;
use crate::pool::Store;
use crate::sql::{Coded, RowExt, Ts, clean, unsigned};

/// How deliveries reach the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// An HTTP POST to its URL.
    #[default]
    Web,
    /// A Pushover message.
    Pushover,
}

/// What `webhook-signature` is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignatureKey {
    /// HMAC-SHA256 with the shared secret (`v1`).
    #[default]
    Hmac,
    /// Ed25519 (`v1a`); the endpoint's secret is the private key.
    Ed25519,
}

/// Everything about an endpoint that is no secret, as its customer says it. Kept once more for every version.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EndpointDocument {
    /// Its name, for people.
    pub name: String,
    /// More for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The customer's own JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Value>,
    /// How deliveries reach it.
    #[serde(default)]
    pub channel: Channel,
    /// Where to, for [`Channel::Web`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The sound, for [`Channel::Pushover`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sound: Option<String>,
    /// Patterns of event types; not empty.
    pub event_types: Vec<String>,
    /// Attribute -> values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub filters: BTreeMap<String, Vec<String>>,
    /// Conditions on the payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_filter: Option<serde_json::Value>,
    /// Names of its own headers. The store fills this in from [`EndpointPrivate::headers`]; the values are sealed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub header_names: Vec<String>,
    /// What signs.
    #[serde(default)]
    pub signature_key: SignatureKey,
    /// The public key (`whpk_…`) of an [`SignatureKey::Ed25519`] endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// Its own retry schedule; `None`: the profile's; empty: no retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_schedule_seconds: Option<Vec<u32>>,
    /// Its own attempt timeout, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    /// Its own highest rate, attempts a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<f64>,
    /// Whether its bodies escape everything that is not ASCII.
    #[serde(default)]
    pub ascii_json: bool,
    /// Name of the header that carries its token, for profiles that authenticate so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_header: Option<String>,
}

/// What can be edited about an endpoint, secrets opened.
#[derive(Debug, Clone)]
pub struct EndpointDraft {
    /// The document.
    pub document: EndpointDocument,
    /// `Active` or `Inactive`; a disabled endpoint that an edit makes active loses its reason.
    pub status: EndpointStatus,
    /// Header values and credentials.
    pub private: EndpointPrivate,
}

/// An endpoint to be made.
#[derive(Debug, Clone)]
pub struct NewEndpoint {
    /// What its customer says.
    pub draft: EndpointDraft,
    /// Its signing secret, made or imported by the caller.
    pub secret: SecretString,
}

/// An endpoint as it is; no secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Whose.
    pub tenant: TenantId,
    /// What its customer said.
    pub document: EndpointDocument,
    /// Whether it takes events.
    pub status: EndpointStatus,
    /// Why the engine switched it off.
    pub disabled_reason: Option<String>,
    /// When the engine switched it off.
    pub disabled_at: Option<UnixMillis>,
    /// Until when a previous secret signs, too.
    pub previous_secret_until: Option<UnixMillis>,
    /// From when on a next secret signs.
    pub next_secret_from: Option<UnixMillis>,
    /// Configuration version of its last edit: its ETag.
    pub version: i64,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it was last edited.
    pub updated_at: UnixMillis,
}

/// An endpoint in a list, with what its attempts came to within the retention.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointSummary {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Attempts that succeeded.
    pub successes: u64,
    /// Attempts that failed.
    pub failures: u64,
}

/// One page of a tenant's endpoints.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointList {
    /// The endpoints, newest first.
    pub items: Vec<EndpointSummary>,
    /// Where the next page begins; `None`: this is the last.
    pub next_cursor: Option<String>,
    /// Endpoints that the tenant has.
    pub usage: u32,
    /// Endpoints that the tenant may have.
    pub limit: u32,
}

/// The document of an endpoint as a configuration version knew it.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointVersion {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The configuration version that wrote it.
    pub version: i64,
    /// Whether it took events then.
    pub status: EndpointStatus,
    /// Whether it was deleted by that version.
    pub deleted: bool,
    /// The document.
    pub document: EndpointDocument,
    /// When it was written.
    pub created_at: UnixMillis,
}

/// The row of an endpoint with its sealed columns.
pub(crate) struct EndpointRow {
    pub(crate) endpoint: Endpoint,
    pub(crate) secret_current: Vec<u8>,
    pub(crate) secret_previous: Option<Vec<u8>>,
    pub(crate) secret_next: Option<Vec<u8>>,
    pub(crate) private: Vec<u8>,
}

pub(crate) const COLUMNS: &str = "e.id, e.tenant, e.document, e.status, e.disabled_reason, e.disabled_at, \
    e.secret_current, e.secret_previous, e.previous_until, e.secret_next, e.next_from, e.private, e.version, \
    e.created_at, e.updated_at";

impl EndpointRow {
    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        let Json(document) = row.col("document")?;
        let endpoint = Endpoint {
            id: EndpointId(row.col("id")?),
            tenant: TenantId(row.col("tenant")?),
            document,
            status: row.coded("status")?,
            disabled_reason: row.col("disabled_reason")?,
            disabled_at: row.at_opt("disabled_at")?,
            previous_secret_until: row.at_opt("previous_until")?,
            next_secret_from: row.at_opt("next_from")?,
            version: row.col("version")?,
            created_at: row.at("created_at")?,
            updated_at: row.at("updated_at")?,
        };
        Ok(Self {
            endpoint,
            secret_current: row.col("secret_current")?,
            secret_previous: row.col("secret_previous")?,
            secret_next: row.col("secret_next")?,
            private: row.col("private")?,
        })
    }

    /// The signing secrets, opened.
    pub(crate) fn secrets(&self, keys: &MasterKeys) -> Result<EndpointSecrets, StoreError> {
        let id = self.endpoint.id;
        let timed = |column, sealed: &Option<Vec<u8>>, at: Option<UnixMillis>| match (sealed, at) {
            (Some(sealed), Some(at)) => secrets::open(keys, id, column, sealed).map(|secret| Some((secret, at))),
            _ => Ok(None),
        };
        Ok(EndpointSecrets {
            current: secrets::open(keys, id, Column::Current, &self.secret_current)?,
            previous: timed(Column::Previous, &self.secret_previous, self.endpoint.previous_secret_until)?,
            next: timed(Column::Next, &self.secret_next, self.endpoint.next_secret_from)?,
        })
    }

    /// Puts these signing secrets in place of those that the row has.
    fn replace_secrets(&mut self, keys: &MasterKeys, new: &EndpointSecrets) -> Result<(), StoreError> {
        let id = self.endpoint.id;
        let sealed = |column, timed: &Option<(SecretString, UnixMillis)>| {
            timed.as_ref().map(|(secret, _)| secrets::seal(keys, id, column, secret)).transpose()
        };
        self.secret_current = secrets::seal(keys, id, Column::Current, &new.current)?;
        self.secret_previous = sealed(Column::Previous, &new.previous)?;
        self.secret_next = sealed(Column::Next, &new.next)?;
        self.endpoint.previous_secret_until = new.previous.as_ref().map(|(_, at)| *at);
        self.endpoint.next_secret_from = new.next.as_ref().map(|(_, at)| *at);
        Ok(())
    }

    async fn save(&self, tx: &Transaction<'_>) -> Result<(), StoreError> {
        let endpoint = &self.endpoint;
        tx.execute(
            "INSERT INTO endpoints (id, tenant, document, status, disabled_reason, disabled_at, secret_current,
                secret_previous, previous_until, secret_next, next_from, private, version, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
             ON CONFLICT (id) DO UPDATE SET (document, status, disabled_reason, disabled_at, secret_current,
                secret_previous, previous_until, secret_next, next_from, private, version, updated_at)
              = ROW (excluded.document, excluded.status, excluded.disabled_reason, excluded.disabled_at,
                excluded.secret_current, excluded.secret_previous, excluded.previous_until, excluded.secret_next,
                excluded.next_from, excluded.private, excluded.version, excluded.updated_at)",
            &[
                &endpoint.id.0,
                &endpoint.tenant.0,
                &Json(&endpoint.document),
                &endpoint.status.code(),
                &endpoint.disabled_reason.as_deref().map(clean),
                &endpoint.disabled_at.map(Ts),
                &self.secret_current,
                &self.secret_previous,
                &endpoint.previous_secret_until.map(Ts),
                &self.secret_next,
                &endpoint.next_secret_from.map(Ts),
                &self.private,
                &endpoint.version,
                &Ts(endpoint.created_at),
                &Ts(endpoint.updated_at),
            ],
        )
        .await?;
        tx.execute(
            "INSERT INTO endpoint_versions (endpoint, version, status, deleted, document, created_at)
             VALUES ($1, $2, $3, false, $4, $5)",
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

/// The endpoint's row, or "no such endpoint". The counter's lock keeps others from editing it meanwhile.
async fn require(
    tx: &Transaction<'_>,
    tenant: Option<TenantId>,
    id: EndpointId,
    if_match: Option<i64>,
) -> Result<EndpointRow, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM endpoints e
         WHERE e.id = $1 AND e.deleted_at IS NULL AND ($2::uuid IS NULL OR e.tenant = $2)"
    );
    let row = tx.query_opt(&sql, &[&id.0, &tenant.map(|t| t.0)]).await?;
    let row = EndpointRow::read(&row.ok_or(StoreError::NotFound { what: "endpoint" })?)?;
    check_match(if_match, row.endpoint.version)?;
    Ok(row)
}

/// Makes tombstones of the endpoints whose `column` (`id` or `tenant`) is `value`, and wipes their secrets.
pub(super) async fn bury(
    tx: &Transaction<'_>,
    column: &'static str,
    value: Uuid,
    version: i64,
    now: Ts,
) -> Result<(), StoreError> {
    let sql = format!(
        "WITH gone AS (
             UPDATE endpoints SET version = $2, updated_at = $3, deleted_at = $3, secret_current = '', private = '',
                 secret_previous = NULL, previous_until = NULL, secret_next = NULL, next_from = NULL
             WHERE {column} = $1 AND deleted_at IS NULL RETURNING id, status, document)
         INSERT INTO endpoint_versions (endpoint, version, status, deleted, document, created_at)
         SELECT id, $2, status, true, document, $3 FROM gone"
    );
    tx.execute(&sql, &[&value, &version, &now]).await?;
    Ok(())
}

fn header_names(private: &EndpointPrivate) -> Vec<String> {
    private.headers.iter().map(|(name, _)| name.clone()).collect()
}

impl Store {
    /// Makes an endpoint, if the tenant's limit allows one more.
    ///
    /// # Errors
    /// [`StoreError::EndpointLimit`], [`StoreError::NotFound`] for the tenant, [`StoreError::Crypto`].
    pub async fn create_endpoint(&self, tenant: TenantId, new: &NewEndpoint) -> Result<Endpoint, StoreError> {
        let (id, now) = (EndpointId::generate(), UnixMillis::now());
        let mut document = new.draft.document.clone();
        document.header_names = header_names(&new.draft.private);
        let mut row = EndpointRow {
            endpoint: Endpoint {
                id,
                tenant,
                document,
                status: new.draft.status,
                disabled_reason: None,
                disabled_at: None,
                previous_secret_until: None,
                next_secret_from: None,
                version: 0,
                created_at: now,
                updated_at: now,
            },
            secret_current: secrets::seal(self.keys(), id, Column::Current, &new.secret)?,
            secret_previous: None,
            secret_next: None,
            private: secrets::seal_private(self.keys(), id, &new.draft.private)?,
        };

        let mut client = self.client().await?;
        let tx = client.transaction().await?;
        // From here on every other edit waits: the count holds until the commit.
        row.endpoint.version = bump(&tx).await?;
        let limit = tenants::require(&tx, tenant).await?.draft.limits.endpoints();
        let sql = "SELECT count(*) AS usage FROM endpoints WHERE tenant = $1 AND deleted_at IS NULL";
        let usage: u32 = unsigned(tx.query_one(sql, &[&tenant.0]).await?.col::<i64>("usage")?);
        if usage >= limit {
            return Err(StoreError::EndpointLimit { usage, limit });
        }
        row.save(&tx).await?;
        finish(tx, row.endpoint.version).await?;
        Ok(row.endpoint)
    }

    /// The endpoints of a tenant, newest first.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the tenant, [`StoreError::InvalidCursor`].
    pub async fn list_endpoints(&self, tenant: TenantId, page: &PageRequest) -> Result<EndpointList, StoreError> {
        let (at, after) = page.after_uuid()?;
        let client = self.client().await?;
        let head = client
            .query_opt(
                "SELECT limits, (SELECT count(*) FROM endpoints e WHERE e.tenant = t.id AND e.deleted_at IS NULL) AS usage
                 FROM tenants t WHERE id = $1 AND deleted_at IS NULL",
                &[&tenant.0],
            )
            .await?
            .ok_or(StoreError::NotFound { what: "tenant" })?;
        let Json::<TenantLimits>(limits) = head.col("limits")?;
        let sql = format!(
            "SELECT {COLUMNS}, m.successes, m.failures
             FROM (SELECT * FROM endpoints
                   WHERE tenant = $1 AND deleted_at IS NULL AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3))
                   ORDER BY created_at DESC, id DESC LIMIT $4) e
             CROSS JOIN LATERAL (SELECT coalesce(sum(successes), 0)::bigint AS successes,
                                        coalesce(sum(failures), 0)::bigint AS failures
                                 FROM endpoint_minutes WHERE endpoint = e.id) m
             ORDER BY e.created_at DESC, e.id DESC"
        );
        let rows = client.query(&sql, &[&tenant.0, &at, &after, &page.fetch()]).await?;
        let summaries = rows.iter().map(|row| {
            let endpoint = EndpointRow::read(row)?.endpoint;
            let (successes, failures) = (row.col::<i64>("successes")?, row.col::<i64>("failures")?);
            Ok(EndpointSummary { endpoint, successes: unsigned(successes), failures: unsigned(failures) })
        });
        let page = Page::of(summaries.collect::<Result<Vec<_>, StoreError>>()?, page, |summary| {
            Cursor::of(summary.endpoint.created_at, summary.endpoint.id.0)
        });
        let usage = unsigned(head.col::<i64>("usage")?);
        Ok(EndpointList { items: page.items, next_cursor: page.next_cursor, usage, limit: limits.endpoints() })
    }

    /// One endpoint; `None` when there is none (any more), or when it is another tenant's than `tenant` (`None`: anyone's).
    ///
    /// # Errors
    /// The database's.
    pub async fn get_endpoint(&self, tenant: Option<TenantId>, id: EndpointId) -> Result<Option<Endpoint>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM endpoints e
             WHERE e.id = $1 AND e.deleted_at IS NULL AND ($2::uuid IS NULL OR e.tenant = $2)"
        );
        let row = self.client().await?.query_opt(&sql, &[&id.0, &tenant.map(|t| t.0)]).await?;
        row.as_ref().map(|row| Ok(EndpointRow::read(row)?.endpoint)).transpose()
    }

    /// Edits an endpoint: `edit` gets what it is and leaves what it shall be.
    ///
    /// # Errors
    /// Not found, another version than `if_match`, [`StoreError::Crypto`]; or what `edit` refused.
    pub async fn edit_endpoint<E>(
        &self,
        tenant: Option<TenantId>,
        id: EndpointId,
        if_match: Option<i64>,
        edit: impl FnOnce(&mut EndpointDraft) -> Result<(), E>,
    ) -> Result<Endpoint, EditError<E>> {
        let mut client = self.client().await?;
        let tx = client.transaction().await?;
        let version = bump(&tx).await?;
        let mut row = require(&tx, tenant, id, if_match).await?;
        let mut draft = EndpointDraft {
            document: row.endpoint.document.clone(),
            status: row.endpoint.status,
            private: secrets::open_private(self.keys(), id, &row.private)?,
        };
        edit(&mut draft).map_err(EditError::Refused)?;
        draft.document.header_names = header_names(&draft.private);
        row.private = secrets::seal_private(self.keys(), id, &draft.private)?;
        row.endpoint.document = draft.document;
        if draft.status != EndpointStatus::Disabled {
            row.endpoint.disabled_reason = None;
            row.endpoint.disabled_at = None;
        }
        row.endpoint.status = draft.status;
        row.endpoint.version = version;
        row.endpoint.updated_at = UnixMillis::now();
        row.save(&tx).await?;
        finish(tx, version).await?;
        Ok(row.endpoint)
    }

    /// Deletes an endpoint and wipes its secrets. Its pending deliveries are discarded when they surface.
    ///
    /// # Errors
    /// Not found, or another version than `if_match`.
    pub async fn delete_endpoint(
        &self,
        tenant: Option<TenantId>,
        id: EndpointId,
        if_match: Option<i64>,
    ) -> Result<(), StoreError> {
        let mut client = self.client().await?;
        let tx = client.transaction().await?;
        let version = bump(&tx).await?;
        require(&tx, tenant, id, if_match).await?;
        bury(&tx, "id", id.0, version, Ts(UnixMillis::now())).await?;
        finish(tx, version).await
    }

    /// Replaces the signing secret.
    ///
    /// # Errors
    /// Not found, another version than `if_match`, [`StoreError::Crypto`].
    pub async fn rotate_secret(
        &self,
        tenant: Option<TenantId>,
        id: EndpointId,
        if_match: Option<i64>,
        secret: &SecretString,
        rotation: Rotation,
    ) -> Result<Endpoint, StoreError> {
        let mut client = self.client().await?;
        let tx = client.transaction().await?;
        let version = bump(&tx).await?;
        let mut row = require(&tx, tenant, id, if_match).await?;
        let now = UnixMillis::now();
        let rotated = row.secrets(self.keys())?.rotated(secret.clone(), rotation, now);
        row.replace_secrets(self.keys(), &rotated)?;
        row.endpoint.version = version;
        row.endpoint.updated_at = now;
        row.save(&tx).await?;
        finish(tx, version).await?;
        Ok(row.endpoint)
    }

    /// The engine switches an endpoint off, if it is active. `false`: it was not active, or is gone.
    ///
    /// # Errors
    /// The database's.
    pub async fn disable_endpoint(&self, id: EndpointId, reason: &str) -> Result<bool, StoreError> {
        let mut client = self.client().await?;
        // Most calls come too late: every attempt under way reports the same answer. They shall not lock the counter.
        let active = "SELECT 1 FROM endpoints WHERE id = $1 AND deleted_at IS NULL AND status = $2";
        if client.query_opt(active, &[&id.0, &EndpointStatus::Active.code()]).await?.is_none() {
            return Ok(false);
        }
        let tx = client.transaction().await?;
        let version = bump(&tx).await?;
        let mut row = match require(&tx, None, id, None).await {
            Err(StoreError::NotFound { .. }) => return Ok(false),
            row => row?,
        };
        if row.endpoint.status != EndpointStatus::Active {
            return Ok(false);
        }
        let now = UnixMillis::now();
        row.endpoint.status = EndpointStatus::Disabled;
        row.endpoint.disabled_reason = Some(clean(reason).into_owned());
        row.endpoint.disabled_at = Some(now);
        row.endpoint.version = version;
        row.endpoint.updated_at = now;
        row.save(&tx).await?;
        outbox::add_event(&tx, &outbox::endpoint_disabled(&row.endpoint, reason, now)).await?;
        finish(tx, version).await?;
        Ok(true)
    }

    /// The endpoint as configuration version `version` knew it; `None`: it did not exist then.
    ///
    /// # Errors
    /// The database's.
    pub async fn endpoint_at(&self, id: EndpointId, version: i64) -> Result<Option<EndpointVersion>, StoreError> {
        endpoint_at(&self.client().await?, id, version).await
    }
}

/// See [`Store::endpoint_at`].
pub(crate) async fn endpoint_at(
    client: &impl GenericClient,
    id: EndpointId,
    version: i64,
) -> Result<Option<EndpointVersion>, StoreError> {
    let sql = "SELECT version, status, deleted, document, created_at FROM endpoint_versions
               WHERE endpoint = $1 AND version <= $2 ORDER BY version DESC LIMIT 1";
    let Some(row) = client.query_opt(sql, &[&id.0, &version]).await? else { return Ok(None) };
    let Json(document) = row.col("document")?;
    Ok(Some(EndpointVersion {
        endpoint: id,
        version: row.col("version")?,
        status: row.coded("status")?,
        deleted: row.col("deleted")?,
        document,
        created_at: row.at("created_at")?,
    }))
}
