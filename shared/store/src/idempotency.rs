//! API requests with an `Idempotency-Key`. Such a request takes effect once, and its repeats get the first response.
//!
//! A request claims its key before it changes anything. The transaction of its change marks the claim as used; then the
//! response is sealed and stored. A repeat can therefore distinguish three cases: the first request committed nothing (the
//! repeat is processed), it committed a change but its response was lost, or its response is stored.

use std::time::Duration;

use deadpool_postgres::Transaction;
use postrider_model::limits::IDEMPOTENT_ANSWER_KEPT;
use postrider_model::time::UnixMillis;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::error::StoreError;
use crate::sql::{RowExt, Ts};
use crate::store::IdempotencyStore;

/// How long an unfinished request keeps its claim: longer than the timeout of requests.
const CLAIM_MAX: Duration = Duration::from_secs(150);

/// A request with an `Idempotency-Key`.
#[derive(Debug, Clone, Copy)]
pub struct IdempotentRequest<'a> {
    /// Who sends the request. Keys of different callers are independent.
    pub caller: &'a str,
    /// The key.
    pub key: &'a str,
    /// SHA-256 of the whole request.
    pub request: &'a [u8; 32],
}

/// The result of a claim.
#[derive(Debug)]
pub enum Claimed {
    /// The request is the first with the key, or earlier requests changed nothing. The caller makes its change under this
    /// claim, see [`Acting::claim`](crate::audit_log::Acting::claim).
    Now(Uuid),
    /// An earlier request got this response.
    Answered(Zeroizing<Vec<u8>>),
    /// An earlier request is still being processed.
    Running,
    /// An earlier request took effect, but its response was lost.
    AnswerLost,
    /// The key was used for another request.
    OtherRequest,
}

impl IdempotencyStore {
    /// Claims a key for a request.
    pub async fn claim_idempotency_key(&self, request: &IdempotentRequest<'_>) -> Result<Claimed, StoreError> {
        let IdempotentRequest { caller, key, request: asked } = *request;
        let now = UnixMillis::now();
        let before =
            |duration: Duration| Ts(UnixMillis(now.0 - i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)));
        let claim = Uuid::new_v4();
        let client = self.0.client().await?;
        // Takes over an expired key, and a key whose request changed nothing, stored no response and has exceeded `CLAIM_MAX`.
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
        // The row was deleted a moment ago, because its request was refused: the caller may retry.
        let Some(row) = client.query_opt(sql, &[&caller, &key, &held]).await? else { return Ok(Claimed::Running) };
        if row.col::<Vec<u8>>("request")? != asked {
            return Ok(Claimed::OtherRequest);
        }
        if let Some(sealed) = row.col::<Option<Vec<u8>>>("answer")? {
            // A stored response that cannot be opened (its master key was removed) counts as lost.
            return Ok(self.0.keys().open(&context(request), &sealed).map_or(Claimed::AnswerLost, Claimed::Answered));
        }
        let lost = row.col("committed")? && row.col("over")?;
        Ok(if lost { Claimed::AnswerLost } else { Claimed::Running })
    }

    /// Seals the response to a claimed request and stores it.
    ///
    /// # Errors
    /// [`StoreError::Crypto`], or an error of the database.
    pub async fn answer_idempotent_request(
        &self,
        request: &IdempotentRequest<'_>,
        claim: Uuid,
        answer: &[u8],
    ) -> Result<(), StoreError> {
        let sealed = self.0.keys().seal(&context(request), answer)?;
        let sql = "UPDATE idempotent_requests SET answer = $2 WHERE claim = $1";
        self.0.execute(sql, &[&claim, &sealed]).await?;
        Ok(())
    }

    /// Releases the key of a refused request, unless that request changed something. A repeat of the request is then processed.
    pub async fn release_idempotency_key(&self, claim: Uuid) -> Result<(), StoreError> {
        let sql = "DELETE FROM idempotent_requests WHERE claim = $1 AND NOT committed AND answer IS NULL";
        self.0.execute(sql, &[&claim]).await?;
        Ok(())
    }
}

/// Marks the claim of a request as used. Call this in the transaction that makes the request's change.
///
/// # Errors
/// [`StoreError::Conflict`]: another request took over the claim, so the caller must not commit its change.
pub(crate) async fn committed(tx: &Transaction<'_>, claim: Uuid) -> Result<(), StoreError> {
    let sql = "UPDATE idempotent_requests SET committed = true WHERE claim = $1";
    if tx.execute(sql, &[&claim]).await? == 0 {
        return Err(StoreError::Conflict("another request with this Idempotency-Key took over".into()));
    }
    Ok(())
}

/// The row and column to which a sealed response is bound.
fn context(request: &IdempotentRequest<'_>) -> String {
    format!("idempotent_requests/{}/{}", request.caller, request.key)
}
