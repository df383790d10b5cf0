//! Portal links: one-time links that open a session of the dashboard without an API key.
//!
//! The row of a link contains the permissions of its session. Deleting the row ends the session. Rows are deleted when they
//! expire, with their tenant, and with the key that created them. Only the visitor has the link's token; the table has its
//! hash.

use std::time::Duration;

use deadpool_postgres::Transaction;
use postrider_model::ids::{KeyId, PortalLinkId, TenantId};
use postrider_model::limits::{PORTAL_LINKS_PER_TENANT_MAX, PORTAL_SESSIONS_PER_TENANT_MAX};
use postrider_model::time::UnixMillis;
use secrecy::SecretString;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::audit_log::{Actor, AuditAction, Change};
use crate::config::{KeyHash, Scopes};
use crate::error::StoreError;
use crate::sessions::new_token;
use crate::sql::{RowExt, Ts, clean, from_row};
use crate::store::SessionStore;

/// A link to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPortalLink {
    /// The scopes of its session.
    pub scopes: Scopes,
    /// The person who gets the link, as the product names that person.
    pub user: Option<String>,
    /// The first page, below the tenant's address, such as `/webhooks`.
    pub landing: String,
    /// Whether it may be opened in a frame.
    pub embedded: bool,
    /// How long the link can be opened.
    pub expires_in: Duration,
    /// How long its session lasts.
    pub session: Duration,
}

/// A link that was just created. Its token cannot be read again.
#[derive(Debug)]
pub struct CreatedPortalLink {
    /// Its id.
    pub id: PortalLinkId,
    /// 256 random bits as 43 characters of URL-safe base64.
    pub token: SecretString,
    /// Until when it can be opened.
    pub expires_at: UnixMillis,
}

/// A link that has not expired: the link can be opened, or its session is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortalLink {
    /// Its id.
    pub id: PortalLinkId,
    /// Its tenant.
    pub tenant: TenantId,
    /// What its session may do.
    pub scopes: Scopes,
    /// The first page, below the tenant's address.
    pub landing: String,
    /// Whether it may be opened in a frame.
    pub embedded: bool,
    /// When it was opened; `None` if it was not opened yet.
    pub opened_at: Option<UnixMillis>,
}

/// A session that a link opened.
#[derive(Debug)]
pub struct OpenedPortalSession {
    /// The session's token.
    pub token: SecretString,
    /// How long it lasts.
    pub lasts: Duration,
}

from_row!(PortalLink { id, tenant, scopes, landing, embedded, opened_at });

/// Locks a tenant's row, so that deleting the tenant deletes every link and view, and so that concurrent requests respect their
/// limit.
pub(crate) async fn lock_tenant(tx: &Transaction<'_>, tenant: TenantId) -> Result<(), StoreError> {
    let sql = "SELECT 1 FROM tenants WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE";
    tx.query_opt(sql, &[&tenant.0]).await?.map(drop).ok_or(StoreError::NotFound { what: "tenant" })
}

/// Locks the row of the key that creates a link, so that deleting the key deletes every link.
async fn lock_key(tx: &Transaction<'_>, key: Option<Uuid>) -> Result<(), StoreError> {
    let Some(key) = key else { return Ok(()) };
    let sql = "SELECT 1 FROM api_keys WHERE id = $1 AND deleted_at IS NULL FOR SHARE";
    tx.query_opt(sql, &[&key]).await?.map(drop).ok_or(StoreError::NotFound { what: "key" })
}

impl SessionStore {
    /// Creates a link for a tenant, and deletes expired links of all tenants.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if the tenant or the acting key does not exist; [`StoreError::Conflict`] at the limit of links
    /// that are not opened.
    pub async fn create_portal_link(
        &self,
        tenant: TenantId,
        new: &NewPortalLink,
    ) -> Result<CreatedPortalLink, StoreError> {
        let (token, now) = (new_token(), UnixMillis::now());
        let (id, expires_at) = (PortalLinkId::generate(), now.plus(new.expires_in));
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        let key = if let Actor::Key(KeyId(key)) = self.0.acting.actor { Some(key) } else { None };
        lock_tenant(&tx, tenant).await?;
        lock_key(&tx, key).await?;
        tx.execute("DELETE FROM portal_links WHERE expires_at <= $1", &[&Ts(now)]).await?;
        let sql = "SELECT count(*) AS usage FROM portal_links WHERE tenant = $1 AND opened_at IS NULL";
        let usage: u32 = tx.query_one(sql, &[&tenant.0]).await?.col("usage")?;
        if usage >= PORTAL_LINKS_PER_TENANT_MAX {
            let detail = format!(
                "the tenant has {usage} of {PORTAL_LINKS_PER_TENANT_MAX} portal links that were not opened; wait until some expire"
            );
            return Err(StoreError::Conflict(detail));
        }
        let user = new.user.as_deref().map(clean);
        let seconds = i32::try_from(new.session.as_secs()).unwrap_or(i32::MAX);
        tx.execute(
            "INSERT INTO portal_links (id, token_hash, tenant, key_id, user_name, scopes, landing, embedded, session_seconds,
                                       created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            &[
                &id.0,
                &&KeyHash::of(&token).0[..],
                &tenant.0,
                &key,
                &user,
                &new.scopes.bits(),
                &clean(&new.landing),
                &new.embedded,
                &seconds,
                &Ts(now),
                &Ts(expires_at),
            ],
        )
        .await?;
        let made = serde_json::json!({
            "scopes": new.scopes, "user": new.user, "landing": new.landing, "embed": new.embedded, "session_seconds": seconds,
        });
        self.0.log_change(&tx, Change::of(tenant, AuditAction::PortalLinkCreated, id).to(made)).await?;
        tx.commit().await?;
        Ok(CreatedPortalLink { id, token: SecretString::from(token.as_str()), expires_at })
    }

    /// Returns the link with this token; `None` if it does not exist or has expired.
    pub async fn portal_link(&self, token: &str) -> Result<Option<PortalLink>, StoreError> {
        let sql = format!("SELECT {} FROM portal_links WHERE token_hash = $1 AND expires_at > $2", PortalLink::COLUMNS);
        self.0.fetch_optional(&sql, &[&&KeyHash::of(token).0[..], &Ts(UnixMillis::now())]).await
    }

    /// Opens a link and its session. Returns `None` if the link was already opened, has expired or does not exist.
    ///
    /// `current` is the token of the visitor's present session. If a link with the same tenant, user, scopes and `embedded`
    /// opened that session, the session continues as the session of this link, so that the visitor's other pages continue to
    /// work.
    ///
    /// If the tenant has more than [`PORTAL_SESSIONS_PER_TENANT_MAX`] opened links, deletes its oldest opened links: first
    /// links that have no session, then links with their sessions.
    pub async fn open_portal_link(
        &self,
        id: PortalLinkId,
        current: Option<&str>,
    ) -> Result<Option<OpenedPortalSession>, StoreError> {
        let now = UnixMillis::now();
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        let open = "UPDATE portal_links SET opened_at = $2, expires_at = $2 + make_interval(secs => session_seconds)
                    WHERE id = $1 AND opened_at IS NULL AND expires_at > $2 RETURNING tenant, session_seconds";
        let Some(row) = tx.query_opt(open, &[&id.0, &Ts(now)]).await? else { return Ok(None) };
        let (tenant, lasts): (TenantId, _) = (row.col("tenant")?, Duration::from_secs(row.col("session_seconds")?));
        let token = match current {
            Some(current) if continue_session(&tx, id, current).await? => Zeroizing::new(current.to_owned()),
            _ => new_session(&tx, id, now).await?,
        };
        let oldest = "DELETE FROM portal_links WHERE id IN (
                          SELECT id FROM portal_links p WHERE tenant = $1 AND opened_at IS NOT NULL
                          ORDER BY EXISTS (SELECT 1 FROM dashboard_sessions s WHERE s.portal_link = p.id) DESC,
                              opened_at DESC, id DESC OFFSET $2)";
        tx.execute(oldest, &[&tenant.0, &i64::from(PORTAL_SESSIONS_PER_TENANT_MAX)]).await?;
        self.0.log_change(&tx, Change::of(tenant, AuditAction::SignedIn, id)).await?;
        tx.commit().await?;
        Ok(Some(OpenedPortalSession { token: SecretString::from(token.as_str()), lasts }))
    }

    /// Deletes a tenant's links and ends their sessions. Returns the number of deleted links.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if the tenant does not exist.
    pub async fn end_portal_sessions(&self, tenant: TenantId) -> Result<u64, StoreError> {
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        lock_tenant(&tx, tenant).await?;
        let ended = tx.execute("DELETE FROM portal_links WHERE tenant = $1", &[&tenant.0]).await?;
        if ended > 0 {
            let change = Change::of(tenant, AuditAction::PortalSessionsEnded, tenant);
            self.0.log_change(&tx, change.to(serde_json::json!({ "ended": ended }))).await?;
        }
        tx.commit().await?;
        Ok(ended)
    }
}

/// Makes the session with this token the session of a link that was just opened. Returns `false` if the session has other
/// rights, or if no link opened it.
async fn continue_session(tx: &Transaction<'_>, id: PortalLinkId, token: &str) -> Result<bool, StoreError> {
    let sql = "UPDATE dashboard_sessions s SET portal_link = new.id, expires_at = new.expires_at
               FROM portal_links new, portal_links old
               WHERE new.id = $1 AND s.token_hash = $2 AND s.expires_at > new.opened_at AND old.id = s.portal_link
                 AND (old.tenant, old.scopes, old.embedded) = (new.tenant, new.scopes, new.embedded)
                 AND old.user_name IS NOT DISTINCT FROM new.user_name";
    Ok(tx.execute(sql, &[&id.0, &&KeyHash::of(token).0[..]]).await? == 1)
}

/// Opens the session of a link that was just opened. Returns its token.
async fn new_session(tx: &Transaction<'_>, id: PortalLinkId, now: UnixMillis) -> Result<Zeroizing<String>, StoreError> {
    let token = new_token();
    let sql = "INSERT INTO dashboard_sessions (token_hash, key_hash, portal_link, created_at, expires_at)
               SELECT $2, token_hash, id, $3, expires_at FROM portal_links WHERE id = $1";
    tx.execute(sql, &[&id.0, &&KeyHash::of(&token).0[..], &Ts(now)]).await?;
    Ok(token)
}
