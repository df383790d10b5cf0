//! Dashboard sessions.
//!
//! A session refers to the key, the [portal link](crate::portal) or the [person](crate::people) that opened it. At each request
//! the session has the current permissions of that key or link; the caller decides about a person. Only the visitor has the
//! session's token; the table has its hash.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postrider_model::ids::{PersonId, PortalLinkId, TenantId};
use postrider_model::limits::SESSIONS_PER_KEY_MAX;
use postrider_model::time::UnixMillis;
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::audit_log::{AuditAction, Change};
use crate::config::KeyHash;
use crate::error::StoreError;
use crate::people::Person;
use crate::portal::PortalLink;
use crate::sql::{FromRow, RowExt, Ts};
use crate::store::SessionStore;

/// Who opened a session, and so determines the session's permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenedBy {
    /// The key with this hash, if it still exists.
    Key(KeyHash),
    /// A portal link.
    Link(PortalLink),
    /// A person whom the identity provider signed in, with the claims of their last sign-in.
    Person(Box<Person>),
}

/// A new token: 256 random bits as 43 characters of URL-safe base64.
pub(crate) fn new_token() -> Zeroizing<String> {
    let random = Zeroizing::new(rand::random::<[u8; 32]>());
    Zeroizing::new(URL_SAFE_NO_PAD.encode(random.as_slice()))
}

impl SessionStore {
    /// Opens a session for a key of `tenant` (`None`: an operator's key), and deletes expired sessions. Returns the session's
    /// token: 256 random bits as 43 characters of URL-safe base64.
    ///
    /// # Errors
    /// [`StoreError::Conflict`]: the key has [`SESSIONS_PER_KEY_MAX`] open sessions; or an error of the database.
    pub async fn open_session(
        &self,
        key: KeyHash,
        tenant: Option<TenantId>,
        lasts: Duration,
    ) -> Result<SecretString, StoreError> {
        let (token, now) = (new_token(), UnixMillis::now());
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        tx.execute("DELETE FROM dashboard_sessions WHERE expires_at <= $1", &[&Ts(now)]).await?;
        let sql = "INSERT INTO dashboard_sessions (token_hash, key_hash, created_at, expires_at)
                   SELECT $1, $2, $3, $4 WHERE (SELECT count(*) FROM dashboard_sessions WHERE key_hash = $2) < $5";
        let (token_hash, until) = (KeyHash::of(&token), Ts(now.plus(lasts)));
        let most = i64::from(SESSIONS_PER_KEY_MAX);
        if tx.execute(sql, &[&&token_hash.0[..], &&key.0[..], &Ts(now), &until, &most]).await? == 0 {
            return Err(StoreError::Conflict(format!(
                "this key has {SESSIONS_PER_KEY_MAX} sessions already; sign out of one, or wait until one expires"
            )));
        }
        let id = self.0.acting.actor.id().unwrap_or_default();
        let change = Change { tenant, ..Change::of(TenantId::OPERATOR, AuditAction::SignedIn, id) };
        self.0.log_change(&tx, change).await?;
        tx.commit().await?;
        Ok(SecretString::from(token.as_str()))
    }

    /// Adds an audit-log entry about requests with unknown keys: their number since the last entry, and the `peer` of the last.
    pub async fn record_refused_keys(&self, count: u64, peer: &str) -> Result<(), StoreError> {
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        let change = Change { tenant: None, ..Change::of(TenantId::OPERATOR, AuditAction::SignInFailed, peer) };
        self.0.log_change(&tx, change.to(serde_json::json!({ "refused": count }))).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Returns who opened a session; `None` if the session does not exist or has ended.
    pub async fn session(&self, token: &str) -> Result<Option<OpenedBy>, StoreError> {
        let sql = "SELECT key_hash, portal_link, l.id, tenant, scopes, landing, embedded, opened_at,
                          person, issuer, subject, email, name, claims
                   FROM dashboard_sessions s
                   LEFT JOIN portal_links l ON l.id = s.portal_link
                   LEFT JOIN dashboard_people p ON p.id = s.person
                   WHERE s.token_hash = $1 AND s.expires_at > $2";
        let found =
            self.0.client().await?.query_opt(sql, &[&&KeyHash::of(token).0[..], &Ts(UnixMillis::now())]).await?;
        let Some(row) = found else { return Ok(None) };
        if row.col::<Option<PortalLinkId>>("portal_link")?.is_some() {
            return Ok(Some(OpenedBy::Link(PortalLink::read(&row)?)));
        }
        if row.col::<Option<PersonId>>("person")?.is_some() {
            return Ok(Some(OpenedBy::Person(Box::new(Person::read(&row)?))));
        }
        Ok(<[u8; 32]>::try_from(row.col::<Vec<u8>>("key_hash")?).ok().map(|hash| OpenedBy::Key(KeyHash(hash))))
    }

    /// Ends a session. Idempotent.
    pub async fn close_session(&self, token: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM dashboard_sessions WHERE token_hash = $1";
        self.0.execute(sql, &[&&KeyHash::of(token).0[..]]).await?;
        Ok(())
    }
}
