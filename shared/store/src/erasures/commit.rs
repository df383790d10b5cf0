//! Commits a step: erases what it found, unless the erasure is a dry run, and stores how far it came.

use deadpool_postgres::Transaction;
use postrider_model::erasure::{ErasureStage, ErasureStatus, Extent};
use postrider_model::ids::EventId;
use postrider_model::limits::ERASURE_EVENTS_MAX;
use postrider_model::time::UnixMillis;
use serde_json::{Value, json};

use super::rows::{COLUMNS, end};
use super::{ClaimedErasure, EXAMPLES_MAX, Erasure, ErasureStep, Examined, Found, Hits, StepEnd, erase};
use crate::audit_log::{AuditAction, Change};
use crate::config::{bump, finish};
use crate::error::StoreError;
use crate::sql::{Coded, FromRow, Ts, signed};
use crate::store::Store;
use crate::withdraw::pending_of_event;

impl Store {
    /// Commits a step of a claimed erasure, and releases the claim. Returns `false` if nothing was committed, because the erasure
    /// was cancelled or another process committed the step.
    pub async fn commit_erasure_step(&self, claimed: &ClaimedErasure, step: ErasureStep) -> Result<bool, StoreError> {
        let mut client = self.core().client().await?;
        let tx = client.transaction().await?;
        let id = claimed.erasure.id;
        let expunges = matches!(&step.hits, Hits::Events(hits) if !hits.is_empty()) && !claimed.erasure.dry_run;
        // Edits lock the version counter before their rows.
        let version = if expunges { Some(bump(&tx).await?) } else { None };
        let current = "SELECT id FROM erasures WHERE id = $1 AND status = $2 AND steps = $3 FOR UPDATE";
        let running = ErasureStatus::Running.code();
        if tx.query_opt(current, &[&id.0, &running, &claimed.steps]).await?.is_none() {
            return Ok(false);
        }
        let found = self.apply(&tx, claimed, &step.hits, version).await?;
        let erasure = advance(&tx, claimed, &step, found).await?;
        self.conclude(&tx, claimed, &erasure, step.end).await?;
        match version {
            Some(version) => finish(tx, version).await?,
            None => tx.commit().await?,
        }
        Ok(true)
    }

    /// Erases the hits, or in a dry run counts what would be erased.
    async fn apply(
        &self,
        tx: &Transaction<'_>,
        claimed: &ClaimedErasure,
        hits: &Hits,
        version: Option<i64>,
    ) -> Result<Found, StoreError> {
        let (tenant, dry_run) = (claimed.erasure.tenant, claimed.erasure.dry_run);
        let mut found = Found::default();
        match hits {
            Hits::Events(hits) => {
                if let Some(version) = version {
                    let erased = erase::events(tx, tenant, hits, version).await?;
                    (found.events, found.deliveries, found.attempts) =
                        (erased.events, erased.deliveries, erased.attempts);
                } else {
                    found.events = hits.len() as u64;
                    for hit in hits {
                        found.deliveries += pending_of_event(tx, tenant, &hit.id, Some(hit.day)).await?.len() as u64;
                    }
                }
            }
            Hits::TestCalls(ids) => {
                found.test_calls = if dry_run { ids.len() as u64 } else { erase::test_calls(tx, ids).await? };
            }
            Hits::Attempts(hits) => {
                found.attempts = if dry_run { hits.len() as u64 } else { erase::attempts(tx, hits).await? };
            }
            Hits::Letters(ids, shared) => {
                found.letters_shared = *shared;
                found.letters = if dry_run { ids.len() as u64 } else { erase::letters(tx, ids).await? };
            }
        }
        Ok(found)
    }

    /// Moves the erasure to where the step ended.
    async fn conclude(
        &self,
        tx: &Transaction<'_>,
        claimed: &ClaimedErasure,
        erasure: &Erasure,
        ended: StepEnd,
    ) -> Result<(), StoreError> {
        let (id, now) = (erasure.id, UnixMillis::now());
        let too_many = !erasure.dry_run && erasure.found.events >= ERASURE_EVENTS_MAX;
        let ended = match ended {
            StepEnd::Continue(_) | StepEnd::Wait(..) if too_many => StepEnd::Fail(format!(
                "it has erased {} events, at most {ERASURE_EVENTS_MAX}: request another erasure for the rest",
                erasure.found.events
            )),
            other => other,
        };
        match ended {
            StepEnd::Continue(position) => at(tx, erasure, position, now).await,
            StepEnd::Wait(position, until) => at(tx, erasure, position, until).await,
            StepEnd::Stage(stage) => {
                if !erasure.dry_run {
                    after_stage(tx, erasure, &claimed.value).await?;
                }
                let sql =
                    "UPDATE erasures SET stage = $2, stage_at = $3, position = NULL, claimed_until = $3 WHERE id = $1";
                tx.execute(sql, &[&id.0, &stage.code(), &Ts(now)]).await?;
                Ok(())
            }
            StepEnd::Finish => {
                end(tx, id, ErasureStatus::Finished, None).await?;
                let change = Change::of(erasure.tenant, AuditAction::ErasureFinished, id);
                self.core().log_change(tx, change.to(counts(erasure))).await
            }
            StepEnd::Fail(why) => {
                end(tx, id, ErasureStatus::Failed, Some(&why)).await?;
                let mut after = counts(erasure);
                after["failure"] = why.into();
                self.core().log_change(tx, Change::of(erasure.tenant, AuditAction::ErasureFailed, id).to(after)).await
            }
        }
    }
}

/// Erases the copies of what a stage has searched completely.
async fn after_stage(tx: &Transaction<'_>, erasure: &Erasure, value: &str) -> Result<(), StoreError> {
    match erasure.stage {
        ErasureStage::Events => {
            let extent = if erasure.anywhere { Extent::Anywhere } else { Extent::Whole };
            erase::suggestions(tx, erasure.tenant, value, extent).await
        }
        ErasureStage::Attempts => erase::last_errors(tx, erasure.tenant, value).await,
        ErasureStage::TestCalls | ErasureStage::DeadLetters => Ok(()),
    }
}

/// Stores where the next step begins, and before when no process begins it.
async fn at(
    tx: &Transaction<'_>,
    erasure: &Erasure,
    position: Option<String>,
    not_before: UnixMillis,
) -> Result<(), StoreError> {
    let sql = "UPDATE erasures SET position = $2, claimed_until = $3 WHERE id = $1";
    tx.execute(sql, &[&erasure.id.0, &position, &Ts(not_before)]).await?;
    Ok(())
}

/// Adds to the numbers of the erasure, and returns the erasure.
async fn advance(
    tx: &Transaction<'_>,
    claimed: &ClaimedErasure,
    step: &ErasureStep,
    found: Found,
) -> Result<Erasure, StoreError> {
    let sql = format!(
        "UPDATE erasures SET steps = steps + 1, updated_at = $2, reached_at = coalesce($3, reached_at),
             events_examined = events_examined + $4, deliveries_examined = deliveries_examined + $5,
             letters_examined = letters_examined + $6, events = events + $7, deliveries = deliveries + $8,
             test_calls = test_calls + $9, attempts = attempts + $10, letters = letters + $11,
             letters_shared = letters_shared + $12, examples = (examples || $13::text[])[1:{EXAMPLES_MAX}]
         WHERE id = $1 RETURNING {COLUMNS}"
    );
    let Examined { events, deliveries, letters } = step.examined;
    let examined = [events, deliveries, letters].map(signed);
    let Found { events, deliveries, test_calls, attempts, letters, letters_shared } = found;
    let found = [events, deliveries, test_calls, attempts, letters, letters_shared].map(signed);
    let examples: Vec<&str> = match &step.hits {
        Hits::Events(hits) => hits.iter().map(|hit| EventId::as_str(&hit.id)).take(EXAMPLES_MAX).collect(),
        _ => Vec::new(),
    };
    let (now, reached_at) = (Ts(UnixMillis::now()), step.reached_at.map(Ts));
    let mut params: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> = vec![&claimed.erasure.id.0, &now, &reached_at];
    for number in examined.iter().chain(&found) {
        params.push(number);
    }
    params.push(&examples);
    Erasure::read(&tx.query_one(&sql, &params).await?)
}

/// What the audit log says about an erasure that has ended.
fn counts(erasure: &Erasure) -> Value {
    let found = erasure.found;
    json!({"dry_run": erasure.dry_run, "value_hash": erasure.value_hash, "events": found.events,
        "deliveries": found.deliveries, "test_calls": found.test_calls, "attempts": found.attempts,
        "dead_letters": found.letters, "dead_letters_shared": found.letters_shared})
}
