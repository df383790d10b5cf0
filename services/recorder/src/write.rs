//! Writes a batch. Retries while the database is unavailable. If the database refuses the data, halves the batch repeatedly to
//! find the refused rows.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_backoff::Backoff;
use postrider_broker::Queue;
use postrider_broker::topology::RECORD_EXCHANGE;
use postrider_model::time::UnixMillis;
use postrider_store::Store;
use postrider_store::attributes::AttributeTally;
use postrider_store::record::{DeadLetter, RecordBatch, Written};
use postrider_telemetry::spans;
use postrider_wire::bundle::{self, Member};
use postrider_wire::messages::AcceptedEvent;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::attributes::Attributes;
use crate::decode::unreadable;
use crate::gather::Batch;
use crate::watermark::{Reached, Watermark};
use crate::{disable, metrics};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The error of a write that `stop` ended before the batch was committed.
pub(crate) struct Stopped;

/// Writes a batch and acks its messages. If `stop` comes while the database is unavailable, the messages return to their
/// queues.
pub(crate) async fn write_and_ack(
    store: Store,
    attributes: Arc<Attributes>,
    watermark: Arc<Watermark>,
    batch: Batch,
    stop: CancellationToken,
) {
    let span = span(&batch);
    write_and_ack_in_span(store, &attributes, &watermark, batch, stop).instrument(span).await;
}

/// Creates the span for writing a batch. The span is linked to the trace of every event and attempt in the batch.
fn span(batch: &Batch) -> Span {
    let Batch { rows, messages, .. } = batch;
    let events = rows.events.iter().map(|(event, _)| event.traceparent.as_deref());
    let outcomes = rows.outcomes.iter().map(|(outcome, _)| outcome.traceparent.as_deref());
    spans::process_batch(RECORD_EXCHANGE, messages.len(), events.chain(outcomes))
}

async fn write_and_ack_in_span(
    store: Store,
    attributes: &Attributes,
    watermark: &Watermark,
    batch: Batch,
    stop: CancellationToken,
) {
    let Batch { rows, messages, oldest } = batch;
    metrics::batch(&rows);
    let seen = AttributeTally::of(&rows.events);
    let gone = disable::endpoints_gone(&rows);
    let reached = Reached::of(&rows);
    if write(&store, rows, &stop).await.is_err() {
        return;
    }
    attributes.add(seen);
    watermark.add(reached);
    // This is done before the acks. If a crash prevents it, the outcomes are redelivered.
    if disable::apply(&store, &gone, &stop).await.is_err() {
        return;
    }
    tracing::debug!(messages = messages.len(), "wrote a batch");
    for message in messages {
        message.ack();
    }
    metrics::lag(oldest.map(|at| at.until(UnixMillis::now())));
}

/// Writes all rows that the database accepts. A row that the database refuses becomes a dead letter.
pub(crate) async fn write(store: &Store, rows: RecordBatch, stop: &CancellationToken) -> Result<(), Stopped> {
    let mut todo = vec![rows];
    while let Some(rows) = todo.pop() {
        if rows.is_empty() {
            continue;
        }
        match write_whole(store, &rows, stop).await? {
            Ok(written) => {
                metrics::written(&written);
                let dead_letters = of_other_events(&rows, &written.other_events);
                todo.push(RecordBatch { dead_letters, ..RecordBatch::default() });
            }
            Err(reason) if rows.len() > 1 => {
                tracing::debug!(reason, rows = rows.len(), "the database refused a batch; writing it in halves");
                let (first, second) = rows.halve();
                todo.extend([second, first]);
            }
            Err(reason) => {
                metrics::refused();
                match refused(rows, &reason) {
                    Some(letter) => todo.push(RecordBatch { dead_letters: vec![letter], ..RecordBatch::default() }),
                    None => tracing::error!(reason, "the database refused a dead letter; it is dropped"),
                }
            }
        }
    }
    Ok(())
}

/// Retries until the batch is written or the database refuses the data. The inner error is the refusal.
async fn write_whole(
    store: &Store,
    rows: &RecordBatch,
    stop: &CancellationToken,
) -> Result<Result<Written, String>, Stopped> {
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        let began = Instant::now();
        let error = match store.record().write(rows).await {
            Ok(written) => {
                metrics::write_took(began.elapsed());
                return Ok(Ok(written));
            }
            Err(error) if error.is_data_error() => return Ok(Err(error.to_string())),
            Err(error) => error,
        };
        metrics::retried();
        let pause = backoff.next_delay();
        // These errors include errors that an operator must fix (a missing table, a wrong password). The messages wait until
        // then.
        tracing::warn!(%error, rows = rows.len(), retry_in_ms = pause.as_millis(), "cannot write a batch; retrying");
        tokio::select! {
            () = stop.cancelled() => return Err(Stopped),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Creates dead letters for events whose id belongs to another event. The dead letters are written before the batch is acked,
/// so a crash loses none of them.
fn of_other_events(rows: &RecordBatch, indexes: &[usize]) -> Vec<DeadLetter> {
    let letter = |(event, data): &(AcceptedEvent, Bytes)| {
        let reason = format!(
            "the id {} of {} belongs to an event that was accepted before with other content; this one may have been delivered under it",
            event.id, event.tenant
        );
        let body = Member::new(event, data.clone()).map(|member| bundle::encode(&[member]).into()).unwrap_or_default();
        unreadable(Queue::EventLog, body, &reason)
    };
    indexes.iter().filter_map(|index| rows.events.get(*index)).map(letter).collect()
}

/// Returns the dead letter for the single row in `rows`, or `None` if this row is itself a dead letter.
fn refused(mut rows: RecordBatch, reason: &str) -> Option<DeadLetter> {
    let reason = format!("refused by the database: {reason}");
    let encode = |queue, member: Result<Member, serde_json::Error>| {
        let body: Bytes = member.map(|member| bundle::encode(&[member]).into()).unwrap_or_default();
        Some(unreadable(queue, body, &reason))
    };
    if let Some((event, data)) = rows.events.pop() {
        return encode(Queue::EventLog, Member::new(&event, data));
    }
    if let Some(decision) = rows.decisions.pop() {
        return encode(Queue::Decisions, Member::new(&decision, Bytes::new()));
    }
    if let Some(report) = rows.numbers.pop() {
        return encode(Queue::EventLog, Member::new(&report, Bytes::new()));
    }
    let (outcome, excerpt) = rows.outcomes.pop()?;
    encode(Queue::Outcomes, Member::new(&outcome, excerpt))
}
