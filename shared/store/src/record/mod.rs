//! Writing the log: one transaction a batch, one statement a table, rows sorted by key.
//!
//! Messages arrive in any order and more than once. Deliveries are merged in memory first (`merge`), so that a delivery decided
//! and attempted within a batch is written once. All statements are sent together, between `BEGIN` and `COMMIT`: a batch takes
//! one round trip.

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
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Statement};

use crate::error::StoreError;
use crate::store::RecordStore;

impl RecordStore {
    /// Writes a batch and commits it. Repeating it or parts of it, in any order, changes nothing.
    ///
    /// # Errors
    /// Nothing was written, or (connection lost during the commit) it is unknown. Repeat the batch if
    /// [`WriteError::is_retryable`], halve it when [`WriteError::is_data_error`].
    pub async fn write(&self, batch: &RecordBatch) -> Result<Written, WriteError> {
        if batch.is_empty() {
            return Ok(Written::default());
        }
        let client = self.0.client().await?;
        match self.write_present(&client, batch, self.0.conflict_cooldown().next()).await {
            Err(error) if error.is_repeat() => self.0.conflict_cooldown().start(),
            // A known partition was dropped: read the partitions again, and skip its rows.
            Err(error) if error.is_missing_partition() => self.0.known_partitions().forget(),
            result => return result,
        }
        match self.write_present(&client, batch, InsertMode::KeepExisting).await {
            // The batch had existing rows and a dropped partition.
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
        let Rows { events, decisions, deliveries, attempts, letters, numbers, repeats, unclaimed, suspects, skipped } =
            Rows::of(batch, &present, mode);

        // Each preparation takes a round trip, once per connection.
        let statement = async |wanted: bool, sql: &str| match wanted {
            true => client.prepare_cached(sql).await.map(Some),
            false => Ok(None),
        };
        let write_events = statement(!events.is_empty(), &events::insert(mode)).await?;
        let write_decisions = statement(!decisions.is_empty(), &events::insert_decisions(mode)).await?;
        let write_deliveries = statement(!deliveries.is_empty(), deliveries::UPSERT).await?;
        let write_attempts = statement(!attempts.is_empty(), attempts::insert(mode)).await?;
        let write_letters = statement(!letters.is_empty(), dead_letters::INSERT).await?;
        let claim = statement(!unclaimed.is_empty(), identity::CLAIM).await?;
        let find_others = statement(!suspects.is_empty(), identity::FIND_OTHERS).await?;
        let excuse_repeats = statement(!repeats.is_empty(), numbers::EXCUSE_REPEATS).await?;
        let excuse = statement(numbers.has_excused(), numbers::EXCUSE).await?;
        let report_numbers = statement(numbers.has_reports(), numbers::REPORT).await?;

        // `join!` polls in this order, and the first poll sends, so the server gets all statements in this order at once. When
        // one fails, the server refuses the rest and answers COMMIT with a rollback.
        let (event_params, decision_params) = (events.params(), decisions.params());
        let (delivery_params, attempt_params, letter_params) =
            (deliveries.params(), attempts.params(), letters.params());
        let (repeat_params, excused_params, report_params) = (repeats.params(), numbers.excused(), numbers.reports());
        let (claim_params, suspect_params) = (unclaimed.params(), suspects.params());
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
            execute(client, write_events.as_ref(), &event_params),
            execute(client, claim.as_ref(), &claim_params),
            places(client, find_others.as_ref(), &suspect_params),
            execute(client, write_decisions.as_ref(), &decision_params),
            execute(client, write_deliveries.as_ref(), &delivery_params),
            count(client, write_attempts.as_ref(), &attempt_params),
            dead_letters::insert(client, write_letters.as_ref(), &letter_params),
            execute(client, excuse_repeats.as_ref(), &repeat_params),
            execute(client, excuse.as_ref(), &excused_params),
            execute(client, report_numbers.as_ref(), &report_params),
            client.batch_execute("COMMIT"),
        );
        started?;
        // In the order of the statements: only the first error has the cause.
        let (events, other_events) = (events?, claims.and(others)?);
        let (decisions, deliveries, attempts) = (decisions?, deliveries?, attempts?);
        let (dead_letters, dead_letters_not_kept) = letters?;
        let written = Written {
            events,
            other_events,
            decisions,
            deliveries,
            attempts,
            dead_letters,
            dead_letters_not_kept,
            skipped,
        };
        for told in [repeats, excused, reports] {
            told?;
        }
        committed?;
        Ok(written)
    }
}

/// The rows of a batch that have a partition, by table.
struct Rows<'a> {
    events: events::Columns<'a>,
    decisions: events::DecisionColumns<'a>,
    deliveries: deliveries::Columns<'a>,
    attempts: attempts::Columns<'a>,
    letters: dead_letters::Columns<'a>,
    numbers: numbers::Columns,
    repeats: numbers::Repeats<'a>,
    unclaimed: identity::Unclaimed<'a>,
    suspects: identity::Suspects<'a>,
    /// Messages of the batch without a partition.
    skipped: u64,
}

impl<'a> Rows<'a> {
    fn of(batch: &'a RecordBatch, present: &BTreeSet<Day>, mode: InsertMode) -> Self {
        let has = |day: Day| present.contains(&day);
        let placed = || batch.events.iter().enumerate().filter(|(_, (event, _))| has(event.event_day));
        let events: Vec<_> = placed().map(|(_, event)| event).collect();
        let decisions: Vec<_> = batch.decisions.iter().filter(|decision| has(decision.event_day)).collect();
        let outcomes: Vec<_> = batch.outcomes.iter().filter(|(report, _)| has(report.delivery.delivery_day)).collect();
        let kept = events.len() + decisions.len() + outcomes.len() + batch.dead_letters.len() + batch.numbers.len();
        let reports = merged(
            (decisions.iter().flat_map(|decision| Report::decided(decision)))
                .chain(outcomes.iter().map(|(report, _)| Report::reported(report))),
        );
        // A plain insert cannot have repeats, except within the batch.
        let columns = events::Columns::of(&events);
        let repeats = match mode {
            InsertMode::Plain if columns.len() == events.len() => numbers::Repeats::default(),
            _ => numbers::Repeats::of(events.iter().map(|(event, _)| event)),
        };
        Self {
            decisions: events::DecisionColumns::of(&decisions),
            deliveries: deliveries::Columns::of(&reports),
            attempts: attempts::Columns::of(&outcomes),
            letters: dead_letters::Columns::of(&batch.dead_letters),
            numbers: numbers::Columns::of(&batch.numbers),
            unclaimed: identity::Unclaimed::of(events.iter().map(|(event, _)| event)),
            suspects: identity::Suspects::of(placed().map(|(place, (event, _))| (place, event)), !repeats.is_empty()),
            events: columns,
            repeats,
            skipped: (batch.len() - kept) as u64,
        }
    }
}

/// The days of a batch's rows.
fn days(batch: &RecordBatch) -> BTreeSet<Day> {
    let events = batch.events.iter().map(|(event, _)| event.event_day);
    let decisions = batch.decisions.iter().map(|decision| decision.event_day);
    events.chain(decisions).chain(batch.outcomes.iter().map(|(report, _)| report.delivery.delivery_day)).collect()
}

type Params<'a> = [&'a (dyn ToSql + Sync)];

async fn execute(client: &Object, statement: Option<&Statement>, params: &Params<'_>) -> Result<u64, Error> {
    match statement {
        Some(statement) => client.execute(statement, params).await,
        None => Ok(0),
    }
}

/// Runs a statement that returns indexes.
async fn places(client: &Object, statement: Option<&Statement>, params: &Params<'_>) -> Result<Vec<usize>, Error> {
    let Some(statement) = statement else { return Ok(Vec::new()) };
    let rows = client.query(statement, params).await?;
    let place =
        |row: &tokio_postgres::Row| row.try_get::<_, i32>(0).map(|place| usize::try_from(place).unwrap_or(usize::MAX));
    rows.iter().map(place).collect()
}

/// Runs a statement that returns one number.
async fn count(client: &Object, statement: Option<&Statement>, params: &Params<'_>) -> Result<u64, Error> {
    match statement {
        Some(statement) => Ok(client.query_one(statement, params).await?.try_get::<_, i64>(0)?.cast_unsigned()),
        None => Ok(0),
    }
}

/// Upserts deliveries as part of an edit.
pub(crate) async fn upsert_deliveries(client: &impl GenericClient, reports: &[Report<'_>]) -> Result<(), StoreError> {
    let columns = deliveries::Columns::of(reports);
    client.execute(deliveries::UPSERT, &columns.params()).await?;
    Ok(())
}
