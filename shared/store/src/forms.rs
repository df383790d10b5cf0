//! Forms that visitors of the dashboard submitted, with their results.
//!
//! A process claims a form before it processes it, so that two identical requests take effect once, even in two processes. The
//! result is sealed with the master keys, because it may contain a secret. Rows are deleted when they expire or their session
//! ends.

use std::time::Duration;

use postrider_model::limits::FORM_RESULTS_MAX;
use postrider_model::time::UnixMillis;
use zeroize::Zeroizing;

use crate::config::KeyHash;
use crate::error::StoreError;
use crate::sql::{RowExt, Ts};
use crate::store::SessionStore;

/// SHA-256 of a form's path and fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormHash(pub [u8; 32]);

/// The result of [`SessionStore::claim_form`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The form is new. The caller processes it, then calls [`SessionStore::finish_form`] or [`SessionStore::release_form`].
    New,
    /// Another request with the same form is being processed.
    Running,
    /// The form was processed; this is its result.
    Finished(Zeroizing<Vec<u8>>),
    /// The session does not exist, or it ended.
    NoSession,
}

/// The row and column to which a sealed result is bound.
fn context(session: &KeyHash, form: FormHash) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("dashboard_forms.result/{}/{}", hex(&session.0), hex(&form.0))
}

impl SessionStore {
    /// Claims a form that was submitted in the session with this token. The claim, and later the result, is kept for `keep` or
    /// until the session expires, whichever is earlier. Also deletes expired claims and results of all sessions.
    ///
    /// # Errors
    /// An error of the database; [`StoreError::Crypto`] if the stored result cannot be opened.
    pub async fn claim_form(&self, session: &str, form: FormHash, keep: Duration) -> Result<Claim, StoreError> {
        let (hash, now) = (KeyHash::of(session), UnixMillis::now());
        self.delete_expired_forms(now).await?;
        let client = self.0.client().await?;
        let claim = "INSERT INTO dashboard_forms (session_hash, form_hash, created_at, expires_at)
             SELECT token_hash, $2, $3, LEAST($4, expires_at) FROM dashboard_sessions
             WHERE token_hash = $1 AND expires_at > $3
             ON CONFLICT (session_hash, form_hash) DO NOTHING";
        let claimed = client.execute(claim, &[&&hash.0[..], &&form.0[..], &Ts(now), &Ts(now.plus(keep))]).await?;
        if claimed == 1 {
            return Ok(Claim::New);
        }
        let sql = "SELECT f.result FROM dashboard_sessions s
             LEFT JOIN dashboard_forms f ON f.session_hash = s.token_hash AND f.form_hash = $2
             WHERE s.token_hash = $1 AND s.expires_at > $3";
        let found = client.query_opt(sql, &[&&hash.0[..], &&form.0[..], &Ts(now)]).await?;
        let Some(row) = found else { return Ok(Claim::NoSession) };
        match row.col::<Option<Vec<u8>>>("result")? {
            None => Ok(Claim::Running),
            Some(sealed) => Ok(Claim::Finished(self.0.keys().open(&context(&hash, form), &sealed)?)),
        }
    }

    /// Seals the result of a claimed form and stores it. Of each session, only the newest `FORM_RESULTS_MAX` results are kept.
    ///
    /// # Errors
    /// An error of the database; [`StoreError::Crypto`] if no master key is configured.
    pub async fn finish_form(&self, session: &str, form: FormHash, result: &[u8]) -> Result<(), StoreError> {
        let hash = KeyHash::of(session);
        let sealed = self.0.keys().seal(&context(&hash, form), result)?;
        let client = self.0.client().await?;
        let sql = "UPDATE dashboard_forms SET result = $3 WHERE session_hash = $1 AND form_hash = $2";
        client.execute(sql, &[&&hash.0[..], &&form.0[..], &sealed]).await?;
        let sql = "DELETE FROM dashboard_forms WHERE session_hash = $1 AND form_hash IN (
                 SELECT form_hash FROM dashboard_forms WHERE session_hash = $1 AND result IS NOT NULL
                 ORDER BY created_at DESC, form_hash OFFSET $2)";
        client.execute(sql, &[&&hash.0[..], &i64::from(FORM_RESULTS_MAX)]).await?;
        Ok(())
    }

    /// Releases a claim, so that the same form can be submitted again.
    pub async fn release_form(&self, session: &str, form: FormHash) -> Result<(), StoreError> {
        let sql = "DELETE FROM dashboard_forms WHERE session_hash = $1 AND form_hash = $2 AND result IS NULL";
        self.0.execute(sql, &[&&KeyHash::of(session).0[..], &&form.0[..]]).await?;
        Ok(())
    }

    /// The result of a form of this session; `None` if it does not exist, has expired or cannot be opened.
    pub async fn form_result(&self, session: &str, form: FormHash) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let (hash, now) = (KeyHash::of(session), UnixMillis::now());
        let sql = "SELECT result FROM dashboard_forms WHERE session_hash = $1 AND form_hash = $2 AND expires_at > $3";
        let found = self.0.client().await?.query_opt(sql, &[&&hash.0[..], &&form.0[..], &Ts(now)]).await?;
        let Some(sealed) = found.map(|row| row.col::<Option<Vec<u8>>>("result")).transpose()?.flatten() else {
            return Ok(None);
        };
        Ok(self.0.keys().open(&context(&hash, form), &sealed).ok())
    }

    /// Deletes the claims and results that have expired at `now`.
    pub async fn delete_expired_forms(&self, now: UnixMillis) -> Result<u64, StoreError> {
        self.0.execute("DELETE FROM dashboard_forms WHERE expires_at <= $1", &[&Ts(now)]).await
    }
}
