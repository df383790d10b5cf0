//! Requeues or discards dead letters: one, several, or all letters that match a filter, page by page.
//!
//! A requeue first commits an entry in the outbox for each dead letter. Then this process publishes the messages, one after the
//! other. If the broker does not confirm a message in time, or if this process dies, the recorder's outbox relay publishes the
//! remaining messages.

use postrider_broker::Queue;
use postrider_model::limits::PAGE_MAX;
use postrider_store::history::DeadLetterRow;
use postrider_store::outbox::OutboxId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DeadLetterFilter, DeadLetterState, LIST};
use crate::error::{Mistakes, parse_id};
use crate::page::{PageQuery, cursor_of};
use crate::{CONFIRM_TIMEOUT, Caller, Error, Operations};

/// What to do with dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadLetterAction {
    /// Publish each dead letter again to the queue that it came from.
    Requeue,
    /// Mark each dead letter as discarded. It remains in the list.
    Discard,
}

/// Which dead letters to change: either `ids` or `filter`.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"filter": {"source": "postrider.intake", "reason": "no such tenant"}}))]
pub struct ChangeDeadLetters {
    /// The ids of 1 to 200 dead letters.
    #[schema(max_items = 200)]
    pub ids: Option<Vec<String>>,
    /// A filter of open dead letters. Each call changes up to 200 dead letters that match, newest first. `{}` matches all open
    /// dead letters.
    pub filter: Option<DeadLetterFilter>,
    /// The `next_cursor` of the previous call with the same filter.
    pub cursor: Option<String>,
    /// Whether to report what the call would do, without changing any dead letter.
    pub dry_run: Option<bool>,
}

/// What was done with dead letters.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeadLettersChanged {
    /// The number of dead letters that were changed, or with `dry_run` the number that would be changed.
    pub changed: u64,
    /// The dead letters that were not changed, each with the reason.
    pub refused: Vec<DeadLetterRefused>,
    /// The `cursor` of the next call; `null` if no more dead letters match the filter.
    #[schema(required = true, example = json!(null))]
    pub next_cursor: Option<String>,
}

/// A dead letter that was not changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeadLetterRefused {
    /// Its id.
    #[schema(example = "4711")]
    pub id: String,
    /// Why it was not changed.
    #[schema(example = "cannot requeue: unknown is not a requeueable queue")]
    pub detail: String,
}

/// The dead letters that a request selects.
struct Selected {
    letters: Vec<DeadLetterRow>,
    /// Ids that belong to no dead letter.
    missing: Vec<String>,
    next_cursor: Option<String>,
}

/// Returns why the action cannot be applied to the letter; `None` if it can be applied.
fn refusal(letter: &DeadLetterRow, action: DeadLetterAction) -> Option<Error> {
    let before = [("requeued", letter.requeued_at), ("discarded", letter.discarded_at)];
    if let Some((what, at)) = before.into_iter().find_map(|(what, at)| Some((what, at?))) {
        return Some(Error::Conflict(format!("it was already {what} at {}", at.to_rfc3339_millis())));
    }
    if action == DeadLetterAction::Discard {
        return None;
    }
    if Queue::requeue_target(&letter.source, &letter.routing_key).is_none() {
        return Some(Error::Conflict(format!("cannot requeue: {} is not a requeueable queue", letter.source)));
    }
    letter
        .is_cut
        .then(|| Error::Conflict(format!("cannot requeue: only the first part of {} bytes was kept", letter.bytes)))
}

/// Returns the error for a letter that another request changed after this request had checked it.
fn overtaken() -> Error {
    Error::Conflict("another request requeued or discarded it at the same time".to_owned())
}

impl ChangeDeadLetters {
    fn check(&self) -> Result<(), Error> {
        let mut mistakes = Mistakes::default();
        match (&self.ids, &self.filter) {
            (Some(ids), None) => {
                if !(1..=PAGE_MAX as usize).contains(&ids.len()) {
                    mistakes.add("/ids", format!("1 to {PAGE_MAX} ids, got {}", ids.len()));
                }
                if self.cursor.is_some() {
                    mistakes.add("/cursor", "only together with `filter`");
                }
            }
            (None, Some(filter)) => {
                if filter.state.is_some_and(|state| state != DeadLetterState::Open) {
                    mistakes.add("/filter/state", "only open dead letters can be changed: leave it out");
                }
                if filter.from.zip(filter.to).is_some_and(|(from, to)| from >= to) {
                    mistakes.add("/filter/from", "must lie before `to`");
                }
            }
            _ => mistakes.add("/ids", "give either `ids` or `filter`"),
        }
        mistakes.finish()
    }
}

impl Operations {
    /// Requeues or discards the dead letters with the given ids, or up to [`PAGE_MAX`] open dead letters that match the filter.
    /// If one dead letter is refused, the others are still changed.
    ///
    /// # Errors
    /// Operators only. [`Error::Invalid`] for a request that is not valid; [`Error::TooMany`] while other searches of operators
    /// run.
    pub async fn change_dead_letters(
        &self,
        caller: Caller,
        action: DeadLetterAction,
        request: &ChangeDeadLetters,
    ) -> Result<DeadLettersChanged, Error> {
        caller.operator()?;
        request.check()?;
        let Selected { letters, missing, next_cursor } = self.select_letters(request).await?;
        let mut refused: Vec<(String, Error)> =
            missing.into_iter().map(|id| (id, Error::NotFound("dead letter"))).collect();
        let mut ids = Vec::new();
        for letter in &letters {
            match refusal(letter, action) {
                Some(error) => refused.push((letter.id.to_string(), error)),
                None => ids.push(letter.id),
            }
        }
        if !request.dry_run.unwrap_or_default() && !ids.is_empty() {
            let changed = self.apply_to_letters(caller, action, &ids).await?;
            let (done, others): (Vec<i64>, Vec<i64>) = ids.into_iter().partition(|id| changed.contains(id));
            refused.extend(others.into_iter().map(|id| (id.to_string(), overtaken())));
            ids = done;
        }
        let refused = refused.into_iter().map(|(id, error)| DeadLetterRefused { id, detail: error.to_string() });
        Ok(DeadLettersChanged { changed: ids.len() as u64, refused: refused.collect(), next_cursor })
    }

    /// Requeues or discards one dead letter.
    ///
    /// # Errors
    /// Operators only. [`Error::Conflict`] if the letter is already requeued or discarded. A requeue also conflicts if messages
    /// of the letter's queue cannot be requeued, or if only a part of the message was stored.
    pub async fn change_dead_letter(&self, caller: Caller, action: DeadLetterAction, id: &str) -> Result<(), Error> {
        caller.operator()?;
        let letter = self.store.history().get_dead_letter(parse_id("dead letter", id)?).await?;
        if let Some(error) = refusal(&letter, action) {
            return Err(error);
        }
        let changed = self.apply_to_letters(caller, action, &[letter.id]).await?;
        if changed.is_empty() { Err(overtaken()) } else { Ok(()) }
    }

    async fn select_letters(&self, request: &ChangeDeadLetters) -> Result<Selected, Error> {
        let Some(filter) = &request.filter else {
            let given = request.ids.as_deref().unwrap_or_default();
            let ids: Vec<i64> = given.iter().filter_map(|id| id.parse().ok()).collect();
            let letters = self.store.history().dead_letters(&ids).await?;
            let is_found = |id: &&String| letters.iter().any(|letter| id.parse::<i64>() == Ok(letter.id));
            let missing = given.iter().filter(|id| !is_found(id)).cloned().collect();
            return Ok(Selected { letters, missing, next_cursor: None });
        };
        let _slot = if filter.is_search() { Some(self.heavy.search(None).await?) } else { None };
        let open = DeadLetterFilter { state: Some(DeadLetterState::Open), ..filter.clone() };
        let page = PageQuery { limit: PAGE_MAX, cursor: request.cursor.clone() };
        let page = self.store.history().list_dead_letters(&open, &page.request(LIST)?).await?;
        let next_cursor = page.next_cursor.map(|place| cursor_of(LIST, &place));
        Ok(Selected { letters: page.items, missing: Vec::new(), next_cursor })
    }

    /// Requeues or discards the letters that are still open, and returns the numbers of the changed letters.
    async fn apply_to_letters(&self, caller: Caller, action: DeadLetterAction, ids: &[i64]) -> Result<Vec<i64>, Error> {
        let store = self.edits_of(caller)?;
        if action == DeadLetterAction::Discard {
            return Ok(store.discard_dead_letters(ids).await?);
        }
        let entries = store.requeue_dead_letters(ids).await?;
        let changed = entries.iter().map(|(_, id)| *id).collect();
        self.publish_letters(entries).await;
        Ok(changed)
    }

    /// Publishes requeued letters. Waits at most [`CONFIRM_TIMEOUT`]; after that, publishing continues in the background.
    async fn publish_letters(&self, entries: Vec<(OutboxId, i64)>) {
        let (relay, store) = (self.relay.clone(), self.store.clone());
        // The publishing runs in a task, so that it continues if the client disconnects.
        let publishing = tokio::spawn(async move {
            for (outbox, id) in entries {
                let published = match store.pending_letter(outbox, id).await {
                    Ok(Some(pending)) => relay.publish_letter(pending).await.map_err(|error| error.to_string()),
                    Ok(None) => Ok(()),
                    Err(error) => Err(error.to_string()),
                };
                if let Err(error) = published {
                    tracing::warn!(
                        dead_letter.id = id,
                        error,
                        "cannot publish a requeued dead letter; the outbox relay publishes it and the following ones"
                    );
                    return;
                }
            }
        });
        if tokio::time::timeout(CONFIRM_TIMEOUT, publishing).await.is_err() {
            tracing::warn!(
                "requeued dead letters are committed, but not all are confirmed in time; publishing continues"
            );
        }
    }
}
