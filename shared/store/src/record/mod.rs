//! Writes the history: one transaction for each batch, one statement for each table, rows sorted by key.
//!
//! Messages arrive in any order and more than once. Reports about deliveries are merged in memory first (`merge`), so that a
//! delivery decided and attempted within a batch is written once. All statements are sent together, between `BEGIN` and `COMMIT`,
//! so a batch takes one round trip.

mod array_params;
mod attempts;
mod batch;
mod conflict_mode;
mod dead_letters;
mod deliveries;
mod error;
mod events;
mod health;
mod identity;
mod merge;
mod minutes;
mod numbers;

use std::collections::BTreeSet;

pub use batch::{DeadLetter, RecordBatch, Written};
pub(crate) use conflict_mode::ConflictCooldown;
use conflict_mode::InsertMode;
use deadpool_postgres::{GenericClient, Object};
pub use error::WriteError;
pub use health::LongFailing;
pub(crate) use merge::{Report, merged};
pub(crate) use minutes::{COUNTS, WHOLE};
use postrider_model::time::Day;

use self::array_params::{ArrayParams, prepare};
use self::attempts::Attempts;
use self::dead_letters::Letters;
use self::deliveries::Deliveries;
use self::events::{Decisions, Events};
use self::identity::{Suspects, Unclaimed, is_unclaimed};
use self::numbers::{Excused, Repeats, Reports};
use crate::error::StoreError;
use crate::sql::{read_all, read_optional};
use crate::store::RecordStore;

impl RecordStore {
    /// Writes a batch and commits it. Writing the batch or parts of it again, in any order, changes nothing.
    ///
    /// # Errors
    /// Nothing was written; if the connection broke during the commit, it is unknown whether the batch was written. If
    /// [`WriteError::is_retryable`], write the batch again; if [`WriteError::is_data_error`], halve it.
    pub async fn write(&self, batch: &RecordBatch) -> Result<Written, WriteError> {
        if batch.is_empty() {
            return Ok(Written::default());
        }
        let client = self.0.client().await?;
        match self.write_present(&client, batch, self.0.conflict_cooldown().next()).await {
            Err(error) if error.is_repeat() => self.0.conflict_cooldown().start(),
            // A cached partition was dropped: read the partitions again and skip the rows of that partition.
            Err(error) if error.is_missing_partition() => self.0.known_partitions().forget(),
            result => return result,
        }
        match self.write_present(&client, batch, InsertMode::KeepExisting).await {
            // The batch had both existing rows and rows of a dropped partition.
            Err(error) if error.is_missing_partition() => {
                self.0.known_partitions().forget();
                self.write_present(&client, batch, InsertMode::KeepExisting).await
            }
            result => result,
        }
    }

    /// Writes the rows whose day has a partition.
    async fn write_present(
        &self,
        client: &Object,
        batch: &RecordBatch,
        mode: InsertMode,
    ) -> Result<Written, WriteError> {
        let present = self.0.known_partitions().present(client, &days(batch)).await?;
        let rows = Rows::of(batch, &present, mode);
        let delivery_rows = Deliveries::of(&rows.deliveries);

        let events = prepare(client, &events::insert(mode), &rows.events).await?;
        let claims = prepare(client, &identity::claim(), &rows.unclaimed).await?;
        let others = prepare(client, &identity::find_others(), &rows.suspects).await?;
        let decisions = prepare(client, &events::insert_decisions(mode), &rows.decisions).await?;
        let deliveries = prepare(client, deliveries::upsert(), &delivery_rows).await?;
        let attempts = prepare(client, attempts::insert(mode), &rows.attempts).await?;
        let letters = prepare(client, &dead_letters::insert(), &rows.letters).await?;
        let repeats = prepare(client, &numbers::excuse_repeats(), &rows.repeats).await?;
        let excused = prepare(client, &numbers::excuse(), &rows.excused).await?;
        let reports = prepare(client, &numbers::report(), &rows.reports).await?;

        // `join!` polls in this order, and the first poll of each future sends its statement, so the server gets all statements
        // in this order. If one fails, the server refuses the later ones and rolls back at COMMIT.
        let (
            started,
            events,
            claims,
            others,
            decisions,
            deliveries,
            attempts,
            letters,
            repeats,
            excused,
            reports,
            committed,
        ) = futures::join!(
            client.batch_execute("BEGIN"),
            events.execute(client),
            claims.execute(client),
            others.query(client),
            decisions.execute(client),
            deliveries.execute(client),
            attempts.query(client),
            letters.query(client),
            repeats.execute(client),
            excused.execute(client),
            reports.execute(client),
            client.batch_execute("COMMIT"),
        );
        // Checked in the order of the statements, because only the first error contains the cause.
        started?;
        let events = events?;
        claims?;
        let others: Vec<(i32,)> = read_all(others?)?;
        let (decisions, deliveries) = (decisions?, deliveries?);
        let attempts: Option<(u64,)> = read_optional(attempts?.pop())?;
        let letters: Option<(u64, u64)> = read_optional(letters?.pop())?;
        for excused in [repeats, excused, reports] {
            excused?;
        }
        committed?;
        let (dead_letters, dead_letters_not_kept) = letters.unwrap_or_default();
        Ok(Written {
            events,
            other_events: others.into_iter().map(|(index,)| usize::try_from(index).unwrap_or(usize::MAX)).collect(),
            decisions,
            deliveries,
            attempts: attempts.unwrap_or_default().0,
            dead_letters,
            dead_letters_not_kept,
            skipped: rows.skipped,
        })
    }
}

/// The rows of a batch whose day has a partition, by statement.
struct Rows<'a> {
    events: Events<'a>,
    unclaimed: Unclaimed<'a>,
    suspects: Suspects<'a>,
    decisions: Decisions<'a>,
    deliveries: Vec<Report<'a>>,
    attempts: Attempts<'a>,
    letters: Letters<'a>,
    repeats: Repeats<'a>,
    excused: Excused,
    reports: Reports,
    /// The number of messages whose day has no partition.
    skipped: u64,
}

impl<'a> Rows<'a> {
    fn of(batch: &'a RecordBatch, present: &BTreeSet<Day>, mode: InsertMode) -> Self {
        let has = |day: Day| present.contains(&day);
        let indexed = || batch.events.iter().enumerate().filter(|(_, (event, _))| has(event.event_day));
        let events: Vec<_> = indexed().map(|(_, event)| event).collect();
        let decisions: Vec<_> = batch.decisions.iter().filter(|decision| has(decision.event_day)).collect();
        let outcomes: Vec<_> = batch.outcomes.iter().filter(|(report, _)| has(report.delivery.delivery_day)).collect();
        let kept = events.len() + decisions.len() + outcomes.len() + batch.dead_letters.len() + batch.numbers.len();
        // If a plain insert succeeds, repeats can only be within the batch.
        let distinct = Events::of(&events);
        let repeats = match mode {
            InsertMode::Plain if distinct.len() == events.len() => Repeats::default(),
            _ => Repeats::of(events.iter().map(|(event, _)| event)),
        };
        Self {
            events: distinct,
            unclaimed: Unclaimed::of(events.iter().map(|(event, _)| event)),
            // If any event may already be on record, every event is a suspect.
            suspects: Suspects::of(
                indexed()
                    .map(|(index, (event, _))| (index, event))
                    .filter(|(_, event)| !repeats.is_empty() || is_unclaimed(event)),
            ),
            decisions: Decisions::of(&decisions),
            deliveries: merged(
                (decisions.iter().flat_map(|decision| Report::decided(decision)))
                    .chain(outcomes.iter().map(|(report, _)| Report::reported(report))),
            ),
            attempts: Attempts::of(&outcomes),
            letters: Letters::of(&batch.dead_letters),
            repeats,
            excused: Excused::of(&batch.numbers),
            reports: Reports::of(&batch.numbers),
            skipped: (batch.len() - kept) as u64,
        }
    }
}

/// The days of the rows in a batch.
fn days(batch: &RecordBatch) -> BTreeSet<Day> {
    let events = batch.events.iter().map(|(event, _)| event.event_day);
    let decisions = batch.decisions.iter().map(|decision| decision.event_day);
    events.chain(decisions).chain(batch.outcomes.iter().map(|(report, _)| report.delivery.delivery_day)).collect()
}

/// Upserts deliveries as part of an edit.
pub(crate) async fn upsert_deliveries(client: &impl GenericClient, reports: &[Report<'_>]) -> Result<(), StoreError> {
    client.execute(deliveries::upsert(), &Deliveries::of(reports).params()).await?;
    Ok(())
}
