//! Reads the rows of a step. Events are read with [`crate::history::SearchStep`].

use bytes::Bytes;
use postrider_model::ids::{DeliveryId, SendId, TenantId};
use postrider_model::time::{Day, UnixMillis};
use uuid::Uuid;

use super::Erasure;
use crate::error::StoreError;
use crate::history::{Cursor, PageRequest};
use crate::sql::{Ts, from_row, read_all};
use crate::store::Store;

/// Number of deliveries whose attempts a step reads.
const DELIVERIES: i64 = 500;
/// Number of dead letters that a step reads: at most this number of times 256 KiB, if producers sent them.
const LETTERS: i64 = 50;

/// What an endpoint answered to an attempt, and the headers of the request.
#[derive(Debug, Clone)]
pub struct AnswerRow {
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// The delivery's day.
    pub delivery_day: Day,
    /// The number of the POST.
    pub send_id: SendId,
    /// The headers of the request, as JSON.
    pub request_headers: String,
    /// The headers of the answer, as JSON.
    pub response_headers: Option<String>,
    /// The error of the attempt.
    pub error: Option<String>,
    /// The first bytes of the answer's body.
    pub response_excerpt: Bytes,
}

/// The attempts of a step.
#[derive(Debug, Clone)]
pub struct AnswerStep {
    /// The attempts.
    pub answers: Vec<AnswerRow>,
    /// The number of their deliveries, and of deliveries without attempts.
    pub deliveries: u64,
    /// Where the next step begins; `None`: there are no further deliveries.
    pub next: Option<String>,
}

/// A dead letter that names the tenant.
#[derive(Debug, Clone)]
pub struct LetterRow {
    /// Its number.
    pub id: i64,
    /// The stored part of its body.
    pub body: Bytes,
    /// Its headers, as JSON.
    pub headers: String,
    /// Its routing key.
    pub routing_key: String,
    /// Why it could not be processed.
    pub reason: String,
    /// Its property `message_id`.
    pub message_id: Option<String>,
    /// Whether only the first part of its body is stored.
    pub is_cut: bool,
}

/// The dead letters of a step.
#[derive(Debug, Clone)]
pub struct LetterStep {
    /// Those that name the tenant.
    pub letters: Vec<LetterRow>,
    /// Where the next step begins; `None`: there are no further letters.
    pub next: Option<String>,
}

from_row!(AnswerRow { delivery_id, delivery_day, send_id, request_headers, response_headers, error, response_excerpt });
from_row!(LetterRow { id, body, headers, routing_key, reason, message_id, is_cut });

/// The place of a delivery in the order of creation.
struct Place {
    id: DeliveryId,
    created_at: UnixMillis,
}

from_row!(Place { id, created_at });

/// The number of a dead letter.
struct Number {
    id: i64,
}

from_row!(Number { id });

impl Store {
    /// Reads the data of test calls of the tenant, with the deliveries of the calls.
    pub async fn erasure_test_calls(&self, tenant: TenantId) -> Result<Vec<(DeliveryId, String)>, StoreError> {
        let sql = "SELECT delivery_id, data FROM test_data WHERE tenant = $1 AND data IS NOT NULL";
        self.core().fetch_all(sql, &[&tenant.0]).await
    }

    /// Reads the attempts of the next deliveries, oldest first. Leaves out attempts of events that were accepted outside of the
    /// erasure's range of time, and deliveries that were created after its stage began.
    ///
    /// # Errors
    /// [`StoreError::InvalidCursor`], or an error of the database.
    pub async fn erasure_answers(&self, erasure: &Erasure, position: Option<String>) -> Result<AnswerStep, StoreError> {
        let request = PageRequest { cursor: position, ..PageRequest::default() };
        let (at, after) = request.after::<DeliveryId>()?;
        let client = self.core().client().await?;
        let since = erasure.since.map(Ts);
        let places = "SELECT id, created_at FROM deliveries
                      WHERE tenant = $1 AND created_at <= $2 AND ($3::timestamptz IS NULL OR created_at >= $3)
                          AND ($4::timestamptz IS NULL OR (created_at >= $4 AND (created_at, id) > ($4, $5)))
                      ORDER BY created_at, id LIMIT $6";
        let after: Option<Uuid> = after.map(|id: DeliveryId| id.0);
        let params: &crate::sql::Params<'_> =
            &[&erasure.tenant.0, &Ts(erasure.stage_at), &since, &at, &after, &DELIVERIES];
        let places: Vec<Place> = read_all(client.query(places, params).await?)?;
        let ids: Vec<Uuid> = places.iter().map(|place| place.id.0).collect();
        let answers = "SELECT a.delivery_id, a.delivery_day, a.send_id, a.request_headers, a.response_headers, a.error,
                           a.response_excerpt
                       FROM deliveries d JOIN attempts a ON a.delivery_id = d.id AND a.delivery_day = d.delivery_day
                       WHERE d.id = ANY($1) AND d.tenant = $2 AND d.accepted_at < $3
                           AND ($4::timestamptz IS NULL OR d.accepted_at >= $4)";
        let params: &crate::sql::Params<'_> = &[&ids, &erasure.tenant.0, &Ts(erasure.until), &since];
        let answers = if ids.is_empty() { Vec::new() } else { read_all(client.query(answers, params).await?)? };
        let is_last = (places.len() as i64) < DELIVERIES;
        let next = places.last().filter(|_| !is_last).map(|last| Cursor::of(last.created_at, last.id).encode());
        Ok(AnswerStep { answers, deliveries: places.len() as u64, next })
    }

    /// Reads the next dead letters that name the tenant. `position` is the number of the last letter of the previous step.
    pub async fn erasure_letters(&self, erasure: &Erasure, position: Option<String>) -> Result<LetterStep, StoreError> {
        let after: i64 = position.map_or(Ok(0), |text| text.parse()).map_err(|_| StoreError::InvalidCursor)?;
        let client = self.core().client().await?;
        let since = erasure.since.map(Ts);
        // A range of numbers is walked, because no index finds the letters of a tenant.
        let walked = "SELECT id FROM dead_letters WHERE id > $1 AND received_at <= $2
                          AND ($3::timestamptz IS NULL OR received_at >= $3) ORDER BY id LIMIT $4";
        let numbers: Vec<Number> =
            read_all(client.query(walked, &[&after, &Ts(erasure.stage_at), &since, &LETTERS]).await?)?;
        let ids: Vec<i64> = numbers.iter().map(|number| number.id).collect();
        let name = erasure.tenant.to_string();
        let letters = "SELECT id, body, headers, routing_key, reason, message_id,
                           coalesce(whole_bytes > length(body), false) AS is_cut
                       FROM dead_letters
                       WHERE id = ANY($1) AND (strpos(routing_key, $2) > 0 OR position($3::bytea IN body) > 0
                           OR strpos(headers, $2) > 0)
                       ORDER BY id";
        let letters = read_all(client.query(letters, &[&ids, &name, &name.as_bytes()]).await?)?;
        let is_last = (ids.len() as i64) < LETTERS;
        let next = ids.last().filter(|_| !is_last).map(ToString::to_string);
        Ok(LetterStep { letters, next })
    }
}
