//! Requests to the API that carried an `Idempotency-Key`: each acts once, and its repeats get the first one's answer.
//!
//! A request claims its key before it acts. The change that it makes notes, in its own transaction, that the claim was used; the
//! answer is stored, sealed, after that. So a repeat knows what became of the first request whenever that one died: no change was
//! committed (it acts now), a change was committed and the answer is lost, or the answer is there.

use std::time::Duration;

use deadpool_postgres::Transaction;
use postrider_model::limits::IDEMPOTENT_ANSWER_KEPT;
use postrider_model::time::UnixMillis;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::error::StoreError;
use crate::sql::{RowExt, Ts};
use crate::store::IdempotencyStore;

/// How long a claim holds whose request does not end: longer than a request may take.
const CLAIM_MAX: Duration = Duration::from_secs(150);

/// A request that named a key.
#[derive(Debug, Clone, Copy)]
pub struct IdempotentRequest<'a> {
    /// Who called; keys of different callers have nothing to do with each other.
    pub caller: &'a str,
    /// The key.
    pub key: &'a str,
    /// SHA-256 of all that the request asks for.
    pub request: &'a [u8; 32],
}

/// What a claim found.
#[derive(Debug)]
pub enum Claimed {
    /// The request is the first, or none before it changed anything: act under this claim, see
    /// [`Acting::claim`](crate::audit_log::Acting::claim).
    Now(Uuid),
    /// The request before it was answered so.
    Answered(Zeroizing<Vec<u8>>),
    /// The request before it is still being worked on.
    Running,
    /// The request before it took effect, and its answer is lost.
    AnswerLost,
    /// The key belongs to another request.
    OtherRequest,
}

impl IdempotencyStore {
    /// Claims a key for a request.
    ///
    /// # Errors
    /// The database's.
    pub async fn claim_idempotency_key(&self, request: &IdempotentRequest<'_>) -> Result<Claimed, StoreError> {
        let IdempotentRequest { caller, key, request: asked } = *request;
        let now = UnixMillis::now();
        let before =
            |duration: Duration| Ts(UnixMillis(now.0 - i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)));
        let claim = Uuid::new_v4();
        let client = self.0.client().await?;
        // A key that is too old is a new one; so is one whose request changed nothing and ended, or died, without an answer.
        let sql = "INSERT INTO idempotent_requests AS r (caller, key, request, claim, claimed_at, committed, created_at)
                   VALUES ($1, $2, $3, $4, $5, false, $5)
                   ON CONFLICT (caller, key) DO UPDATE SET request = excluded.request, claim = excluded.claim,
                       claimed_at = excluded.claimed_at, committed = false, answer = NULL, created_at = excluded.created_at
                   WHERE r.created_at < $6 OR (r.answer IS NULL AND NOT r.committed AND r.claimed_at < $7)";
        let (kept, held) = (before(IDEMPOTENT_ANSWER_KEPT), before(CLAIM_MAX));
        if client.execute(sql, &[&caller, &key, &&asked[..], &claim, &Ts(now), &kept, &held]).await? == 1 {
            return Ok(Claimed::Now(claim));
        }
        let sql = "SELECT request, committed, answer, claimed_at < $3 AS over FROM idempotent_requests
                   WHERE caller = $1 AND key = $2";
        // It went away just now: its request was refused, and the caller may come again.
        let Some(row) = client.query_opt(sql, &[&caller, &key, &held]).await? else { return Ok(Claimed::Running) };
        if row.col::<Vec<u8>>("request")? != asked {
            return Ok(Claimed::OtherRequest);
        }
        if let Some(sealed) = row.col::<Option<Vec<u8>>>("answer")? {
            // Sealed with a master key that is gone: it was an answer all the same.
            return Ok(self.0.keys().open(&context(request), &sealed).map_or(Claimed::AnswerLost, Claimed::Answered));
        }
        let lost = row.col("committed")? && row.col("over")?;
        Ok(if lost { Claimed::AnswerLost } else { Claimed::Running })
    }

    /// Stores the answer of a claimed request, sealed.
    ///
    /// # Errors
    /// [`StoreError::Crypto`], or the database's.
    pub async fn answer_idempotent_request(
        &self,
        request: &IdempotentRequest<'_>,
        claim: Uuid,
        answer: &[u8],
    ) -> Result<(), StoreError> {
        let sealed = self.0.keys().seal(&context(request), answer)?;
        let sql = "UPDATE idempotent_requests SET answer = $2 WHERE claim = $1";
        self.0.client().await?.execute(sql, &[&claim, &sealed]).await?;
        Ok(())
    }

    /// Gives a key back whose request was refused: unless it changed something all the same, the next one acts.
    ///
    /// # Errors
    /// The database's.
    pub async fn release_idempotency_key(&self, claim: Uuid) -> Result<(), StoreError> {
        let sql = "DELETE FROM idempotent_requests WHERE claim = $1 AND NOT committed AND answer IS NULL";
        self.0.client().await?.execute(sql, &[&claim]).await?;
        Ok(())
    }
}

/// Notes in a change's transaction that its claim was used.
///
/// # Errors
/// [`StoreError::Conflict`]: another request took the claim over, so this one must not change anything any more.
pub(crate) async fn committed(tx: &Transaction<'_>, claim: Uuid) -> Result<(), StoreError> {
    let sql = "UPDATE idempotent_requests SET committed = true WHERE claim = $1";
    if tx.execute(sql, &[&claim]).await? == 0 {
        return Err(StoreError::Conflict("another request with this Idempotency-Key took over".into()));
    }
    Ok(())
}

/// What an answer is bound to.
fn context(request: &IdempotentRequest<'_>) -> String {
    format!("idempotent_requests/{}/{}", request.caller, request.key)
}
