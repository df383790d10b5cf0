//! Edits and reads of endpoints.

use deadpool_postgres::Transaction;
use postrider_model::delivery::{EndpointStatus, FailingEndpoints};
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::notice::NoticeState;
use postrider_model::time::UnixMillis;
use secrecy::{ExposeSecret, SecretString};

use super::config_version::bump;
use super::endpoint_row::{COLUMNS, EndpointRow, endpoint_at, endpoints_at, require, tombstone};
use super::secrets::{self, Column};
use super::{
    Endpoint, EndpointDocument, EndpointDraft, EndpointPrivate, EndpointVersion, NewEndpoint, NewSecret, tenants,
};
use crate::audit_log::{AuditAction, Change, json};
use crate::error::{EditError, StoreError};
use crate::notices;
use crate::outbox;
use crate::pauses;
use crate::sql::{Coded, RowExt, Ts, clean, from_row};
use crate::store::ConfigStore;

/// An endpoint that a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundEndpoint {
    /// Its id.
    pub id: EndpointId,
    /// Its name.
    pub name: String,
    /// Its URL; `None` for channels other than `web`.
    pub url: Option<String>,
}

from_row!(FoundEndpoint { id, name, url });

fn header_names(private: &EndpointPrivate) -> Vec<String> {
    private.headers.iter().map(|(name, _)| name.clone()).collect()
}

/// The audit log's representation of an endpoint.
fn described(endpoint: &Endpoint) -> serde_json::Value {
    let mut described = json(&endpoint.document);
    described["status"] = endpoint.status.as_str().into();
    described["disabled_reason"] = endpoint.disabled_reason.clone().into();
    if endpoint.paused_reason.is_some() {
        described["paused_reason"] = endpoint.paused_reason.clone().into();
    }
    described
}

/// Whether two private parts have the same headers, token and credentials.
fn same_private(one: &EndpointPrivate, two: &EndpointPrivate) -> bool {
    let text = |secret: &SecretString| secret.expose_secret().to_owned();
    let all = |private: &EndpointPrivate| {
        let headers: Vec<_> = private.headers.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        let pushover = private.pushover.as_ref().map(|both| (text(&both.user_key), text(&both.api_token)));
        (headers, private.token.as_ref().map(text), pushover, private.chat.as_ref().map(text))
    };
    all(one) == all(two)
}

/// Changes the status of an endpoint on a person's order, with everything that belongs to the change. Does not write the
/// endpoint's row.
async fn change_status(tx: &Transaction<'_>, endpoint: &mut Endpoint, to: EndpointStatus) -> Result<(), StoreError> {
    let (from, now) = (endpoint.status, endpoint.updated_at);
    if from == to {
        return Ok(());
    }
    endpoint.status = to;
    if matches!(from, EndpointStatus::Disabled | EndpointStatus::Paused) {
        // The days of failures that disable or pause an endpoint are counted from now on.
        let sql = "UPDATE endpoint_health SET failing_since = $2 WHERE endpoint = $1";
        tx.execute(sql, &[&endpoint.id.0, &Ts(now)]).await?;
    }
    (endpoint.disabled_reason, endpoint.disabled_at) = (None, None);
    (endpoint.paused_reason, endpoint.paused_at) = (None, (to == EndpointStatus::Paused).then_some(now));
    match (from, to) {
        (_, EndpointStatus::Paused) => {
            outbox::add_event(tx, &outbox::endpoint_paused(endpoint, None, now)).await?;
            notices::due(tx, endpoint, NoticeState::Paused).await?;
        }
        (EndpointStatus::Paused, EndpointStatus::Active) => {
            outbox::add_event(tx, &outbox::endpoint_resumed(endpoint, now)).await?;
        }
        _ => {}
    }
    if from == EndpointStatus::Paused || to == EndpointStatus::Paused {
        pauses::look_now(tx, endpoint.tenant, endpoint.id, now).await?;
    }
    Ok(())
}

impl ConfigStore {
    /// Creates an endpoint, unless the tenant has reached its limit of endpoints.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] at the limit; [`StoreError::NotFound`] if the tenant does not exist; [`StoreError::Crypto`].
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
                paused_reason: None,
                paused_at: (new.draft.status == EndpointStatus::Paused).then_some(now),
                previous_secrets_until: Vec::new(),
                next_secret_from: None,
                version: 0,
                created_at: now,
                updated_at: now,
            },
            secret_current: secrets::seal(self.0.keys(), id, Column::Current, &new.secret)?,
            secret_previous: None,
            secrets_earlier: None,
            secret_next: None,
            private: secrets::seal_private(self.0.keys(), id, &new.draft.private)?,
        };

        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        // From this point on other edits wait, so the number of endpoints remains correct until the commit.
        row.endpoint.version = bump(&tx).await?;
        let limit = tenants::require(&tx, tenant).await?.draft.limits.endpoints();
        let sql = "SELECT count(*) AS usage FROM endpoints WHERE tenant = $1 AND deleted_at IS NULL";
        let usage: u32 = tx.query_one(sql, &[&tenant.0]).await?.col("usage")?;
        if usage >= limit {
            return Err(StoreError::Conflict(format!("the tenant has {usage} of {limit} endpoints")));
        }
        row.save(&tx).await?;
        if row.endpoint.status == EndpointStatus::Paused {
            pauses::look_now(&tx, tenant, id, now).await?;
        }
        tenants::note_ordered(&tx, tenant, row.endpoint.version).await?;
        if usage + 1 == limit {
            outbox::add_event(&tx, &outbox::limit_reached(tenant, "endpoints", limit, now)).await?;
        }
        let change = Change::of(tenant, AuditAction::EndpointCreated, id).to(described(&row.endpoint));
        self.0.finish_edit(tx, row.endpoint.version, change).await?;
        Ok(row.endpoint)
    }

    /// Returns the names of a tenant's newest endpoints, at most `limit`. Cheaper than [`ConfigStore::list_endpoints`], which
    /// also reads the counts of every hour of the retention.
    pub async fn endpoint_names(&self, tenant: TenantId, limit: u32) -> Result<Vec<(EndpointId, String)>, StoreError> {
        let sql = "SELECT id, document FROM endpoints WHERE tenant = $1 AND deleted_at IS NULL
                   ORDER BY created_at DESC, id DESC LIMIT $2";
        let found: Vec<(_, EndpointDocument)> = self.0.fetch_all(sql, &[&tenant.0, &i64::from(limit)]).await?;
        Ok(found.into_iter().map(|(id, document)| (id, document.name)).collect())
    }

    /// Returns the endpoints of a tenant whose name or URL contains `text`, ignoring case, newest first, at most `limit`. Reads
    /// all endpoints of the tenant; the tenant's limit bounds their number.
    pub async fn find_endpoints(
        &self,
        tenant: TenantId,
        text: &str,
        limit: u32,
    ) -> Result<Vec<FoundEndpoint>, StoreError> {
        let sql = "SELECT id, document ->> 'name' AS name, document ->> 'url' AS url FROM endpoints
                   WHERE tenant = $1 AND deleted_at IS NULL
                       AND (strpos(lower(document ->> 'name'), lower($2)) > 0 OR strpos(lower(document ->> 'url'), lower($2)) > 0)
                   ORDER BY created_at DESC, id DESC LIMIT $3";
        self.0.fetch_all(sql, &[&tenant.0, &clean(text), &i64::from(limit)]).await
    }

    /// Returns the names of the tenant's endpoints with these ids, and whether each was deleted.
    pub async fn names_of_endpoints(
        &self,
        tenant: TenantId,
        ids: &[EndpointId],
    ) -> Result<Vec<(EndpointId, String, bool)>, StoreError> {
        let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
        let sql = "SELECT id, document, deleted_at IS NOT NULL FROM endpoints WHERE tenant = $1 AND id = ANY($2)";
        let found: Vec<(_, EndpointDocument, _)> = self.0.fetch_all(sql, &[&tenant.0, &ids]).await?;
        Ok(found.into_iter().map(|(id, document, deleted)| (id, document.name, deleted)).collect())
    }

    /// Returns one endpoint; `None` if it does not exist or belongs to another tenant. `tenant` `None` accepts every tenant.
    pub async fn get_endpoint(&self, tenant: Option<TenantId>, id: EndpointId) -> Result<Option<Endpoint>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM endpoints e
             WHERE e.id = $1 AND e.deleted_at IS NULL AND ($2::uuid IS NULL OR e.tenant = $2)"
        );
        let found: Option<EndpointRow> = self.0.fetch_optional(&sql, &[&id.0, &tenant.map(|t| t.0)]).await?;
        Ok(found.map(|row| row.endpoint))
    }

    /// Edits an endpoint: `edit` changes the current state in place. If `edit` changes nothing, no new version is written.
    ///
    /// # Errors
    /// The endpoint does not exist; its version differs from `if_match`; [`StoreError::Crypto`]; the error of `edit`.
    pub async fn edit_endpoint<E>(
        &self,
        tenant: Option<TenantId>,
        id: EndpointId,
        if_match: Option<i64>,
        edit: impl FnOnce(&mut EndpointDraft) -> Result<(), E>,
    ) -> Result<Endpoint, EditError<E>> {
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        let version = bump(&tx).await?;
        let mut row = require(&tx, tenant, id, if_match).await?;
        let mut draft = EndpointDraft {
            document: row.endpoint.document.clone(),
            status: row.endpoint.status,
            private: secrets::open_private(self.0.keys(), id, &row.private)?,
        };
        let private_before = draft.private.clone();
        edit(&mut draft).map_err(EditError::Refused)?;
        draft.document.header_names = header_names(&draft.private);
        let private_changes = !same_private(&private_before, &draft.private);
        if !private_changes && draft.document == row.endpoint.document && draft.status == row.endpoint.status {
            return Ok(row.endpoint);
        }
        let before = described(&row.endpoint);
        row.private = secrets::seal_private(self.0.keys(), id, &draft.private)?;
        draft.document.count_generation(&row.endpoint.document);
        row.endpoint.document = draft.document;
        row.endpoint.version = version;
        row.endpoint.updated_at = UnixMillis::now();
        change_status(&tx, &mut row.endpoint, draft.status).await?;
        row.save(&tx).await?;
        tenants::note_ordered(&tx, row.endpoint.tenant, version).await?;
        let mut after = described(&row.endpoint);
        if private_changes {
            after["secret_values"] = "changed".into();
        }
        let change = Change::of(row.endpoint.tenant, AuditAction::EndpointEdited, id).from(before).to(after);
        self.0.finish_edit(tx, version, change).await?;
        Ok(row.endpoint)
    }

    /// Deletes an endpoint and wipes its secrets. Dispatchers discard its pending deliveries.
    ///
    /// # Errors
    /// The endpoint does not exist, or its version differs from `if_match`.
    pub async fn delete_endpoint(
        &self,
        tenant: Option<TenantId>,
        id: EndpointId,
        if_match: Option<i64>,
    ) -> Result<(), StoreError> {
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        let version = bump(&tx).await?;
        let gone = require(&tx, tenant, id, if_match).await?.endpoint;
        tombstone(&tx, "id", id.0, version, Ts(UnixMillis::now())).await?;
        notices::forget(&tx, id).await?;
        tenants::note_ordered(&tx, gone.tenant, version).await?;
        self.0
            .finish_edit(tx, version, Change::of(gone.tenant, AuditAction::EndpointDeleted, id).from(described(&gone)))
            .await
    }

    /// Replaces the signing secret, and the public key if there is one. Each previous secret continues to sign until the end of
    /// its own overlap.
    ///
    /// # Errors
    /// The endpoint does not exist; its version differs from `if_match`; [`StoreError::Crypto`]; [`StoreError::Conflict`] while
    /// another secret is planned, or at [`SECRETS_IN_FORCE_MAX`](postrider_model::limits::SECRETS_IN_FORCE_MAX).
    pub async fn rotate_secret(
        &self,
        tenant: Option<TenantId>,
        id: EndpointId,
        if_match: Option<i64>,
        new: &NewSecret,
    ) -> Result<Endpoint, StoreError> {
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        let version = bump(&tx).await?;
        let mut row = require(&tx, tenant, id, if_match).await?;
        let now = UnixMillis::now();
        let rotated = row.secrets(self.0.keys())?.rotated(new, now)?;
        let next_from = row.endpoint.next_secret_from;
        row.endpoint.document.rotate_public_key(new.public_key.clone(), new.rotation, next_from, now);
        row.replace_secrets(self.0.keys(), &rotated)?;
        row.endpoint.version = version;
        row.endpoint.updated_at = now;
        row.save(&tx).await?;
        let ends: Vec<String> =
            row.endpoint.previous_secrets_until.iter().map(|until| until.to_rfc3339_millis()).collect();
        let after = serde_json::json!({
            "previous_secrets_until": ends,
            "next_secret_from": row.endpoint.next_secret_from.map(UnixMillis::to_rfc3339_millis),
            "end_others": new.end_others,
            "public_key": new.public_key,
        });
        self.0
            .finish_edit(tx, version, Change::of(row.endpoint.tenant, AuditAction::SecretRotated, id).to(after))
            .await?;
        Ok(row.endpoint)
    }

    /// Disables an endpoint if it is active, or pauses it if its tenant prefers that and it is not ordered. Returns its new
    /// status; `None` if it was not active or was deleted.
    pub async fn stop_endpoint(&self, id: EndpointId, reason: &str) -> Result<Option<EndpointStatus>, StoreError> {
        let mut client = self.0.client().await?;
        // Most calls find the endpoint already disabled, because every attempt in progress reports the same response. Such a
        // call must not lock the counter.
        let active = "SELECT 1 FROM endpoints WHERE id = $1 AND deleted_at IS NULL AND status = $2";
        if client.query_opt(active, &[&id.0, &EndpointStatus::Active.code()]).await?.is_none() {
            return Ok(None);
        }
        let tx = client.transaction().await?;
        let version = bump(&tx).await?;
        let mut row = match require(&tx, None, id, None).await {
            Err(StoreError::NotFound { .. }) => return Ok(None),
            row => row?,
        };
        if row.endpoint.status != EndpointStatus::Active {
            return Ok(None);
        }
        let (now, tenant) = (UnixMillis::now(), row.endpoint.tenant);
        let reason = clean(reason).into_owned();
        let preferred = match row.endpoint.document.ordering {
            Some(_) => FailingEndpoints::Disable,
            None => tenants::require(&tx, tenant).await?.draft.failing_endpoints,
        };
        let endpoint = &mut row.endpoint;
        (endpoint.version, endpoint.updated_at) = (version, now);
        let (action, event, notice, member) = match preferred {
            FailingEndpoints::Disable => {
                endpoint.status = EndpointStatus::Disabled;
                (endpoint.disabled_reason, endpoint.disabled_at) = (Some(reason.clone()), Some(now));
                let event = outbox::endpoint_disabled(endpoint, &reason, now);
                (AuditAction::EndpointDisabled, event, NoticeState::Disabled, "disabled_reason")
            }
            FailingEndpoints::Pause => {
                endpoint.status = EndpointStatus::Paused;
                (endpoint.paused_reason, endpoint.paused_at) = (Some(reason.clone()), Some(now));
                pauses::look_now(&tx, tenant, id, now).await?;
                let event = outbox::endpoint_paused(endpoint, Some(&reason), now);
                (AuditAction::EndpointPaused, event, NoticeState::Paused, "paused_reason")
            }
        };
        row.save(&tx).await?;
        outbox::add_event(&tx, &event).await?;
        notices::due(&tx, &row.endpoint, notice).await?;
        let status = row.endpoint.status;
        let after = serde_json::json!({"status": status.as_str(), member: reason});
        let before = serde_json::json!({"status": EndpointStatus::Active.as_str()});
        self.0.finish_edit(tx, version, Change::of(tenant, action, id).from(before).to(after)).await?;
        Ok(Some(status))
    }

    /// Returns the endpoints of a tenant as they were at configuration version `version`, newest first, at most 1,000. Leaves
    /// out endpoints that were created later, and endpoints that were deleted before `since`.
    pub async fn endpoints_at(
        &self,
        tenant: TenantId,
        version: i64,
        since: UnixMillis,
    ) -> Result<Vec<EndpointVersion>, StoreError> {
        endpoints_at(&self.0.client().await?, tenant, version, since).await
    }

    /// Returns the endpoint as it was at configuration version `version`; `None` if it did not exist at that version.
    pub async fn endpoint_at(&self, id: EndpointId, version: i64) -> Result<Option<EndpointVersion>, StoreError> {
        endpoint_at(&self.0.client().await?, id, version).await
    }
}
