//! `GET /v1/dead-letters` and `POST /v1/dead-letters/{id}/requeue`: messages that Postrider could not process, for the
//! operator.
//!
//! Sending one back is committed first, with an entry in the outbox, and published then. Should the broker not confirm in
//! time, or this process die in between, the recorder's outbox relay publishes it: the answer is 202 either way.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use postrider_broker::{ProducerMessage, Queue};
use postrider_http::problem::Problem;
use postrider_store::history::DeadLetterRow;
use postrider_store::outbox::PendingLetter;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Api;
use crate::auth::Caller;
use crate::errors::{no_such, store_problem};
use crate::page::{List, page_request};
use crate::request::Params;
use crate::time::shown;

/// A message that could not be processed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadLetter {
    #[schema(example = "4711")]
    pub(crate) id: String,
    #[schema(format = DateTime)]
    pub(crate) received_at: String,
    /// The queue that it came from; `unknown` where neither its routing key nor its publisher's verified user tells.
    #[schema(example = "postrider.intake")]
    pub(crate) source: String,
    /// Why it could not be processed. A reason that Postrider's own user did not write is marked as `unverified`.
    pub(crate) reason: String,
    /// As they came: a producer writes its own, `x-source` and `x-reason` included.
    pub(crate) headers: BTreeMap<String, String>,
    /// What it was published with.
    pub(crate) routing_key: String,
    /// The AMQP property.
    pub(crate) message_id: Option<String>,
    /// Bytes of the message. Of one with more than 256 KiB from a producer the first 64 KiB are kept.
    pub(crate) body_bytes: u64,
    /// The first 4 KiB of the message, as text.
    pub(crate) body_excerpt: String,
    /// When it was sent back to where it came from. Should it fail again, that is another dead letter.
    #[schema(format = DateTime)]
    pub(crate) requeued_at: Option<String>,
}

/// A dead letter that goes back.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadLetterRequeued {
    #[schema(example = "4711")]
    id: String,
}

impl From<DeadLetterRow> for DeadLetter {
    fn from(row: DeadLetterRow) -> Self {
        Self {
            id: row.id.to_string(),
            received_at: shown(row.received_at),
            source: row.source,
            reason: row.reason,
            headers: row.headers.into_iter().collect(),
            routing_key: row.routing_key,
            message_id: row.message_id,
            requeued_at: row.requeued_at.map(shown),
            body_bytes: row.bytes,
            body_excerpt: String::from_utf8_lossy(&row.excerpt).into_owned(),
        }
    }
}

/// List dead letters
///
/// Newest first. Takes an operator key.
#[utoipa::path(get, operation_id = "list_dead_letters", path = "/v1/dead-letters", tag = "operations",
    params(("limit" = Option<u32>, Query, minimum = 1, maximum = 200), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = List<DeadLetter>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
) -> Result<Json<List<DeadLetter>>, Problem> {
    caller.operator()?;
    let params = params.only(&["limit", "cursor"], None)?;
    let page =
        api.store.history().list_dead_letters(&page_request("dead_letters", &params)?).await.map_err(store_problem)?;
    Ok(Json(List::of("dead_letters", page, DeadLetter::from)))
}

/// Requeue a dead letter
///
/// Publishes it again as it came, to where it came from: after its cause was mended. Once each; should it fail again, that
/// is another dead letter. A producer's message only ever returns to `postrider.intake`. Takes an operator key.
#[utoipa::path(post, operation_id = "requeue_dead_letter", path = "/v1/dead-letters/{id}/requeue", tag = "operations", params(("id" = String, Path)),
    responses((status = 202, body = DeadLetterRequeued), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn requeue(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<DeadLetterRequeued>), Problem> {
    caller.operator()?;
    params.only(&[], None)?;
    let id: i64 = id.parse().map_err(|_| no_such("dead letter"))?;
    let letter = api.store.history().get_dead_letter(id).await.map_err(store_problem)?;
    let queue = Queue::requeue_target(&letter.source, &letter.routing_key)
        .ok_or_else(|| Problem::conflict(format!("cannot requeue: {} is not a requeueable queue", letter.source)))?;
    // Letters that an earlier release cut have the header alone.
    if letter.is_cut || letter.headers.iter().any(|(name, _)| name == "x-body-cut") {
        return Err(Problem::conflict(format!(
            "cannot requeue: only the first part of {} bytes was kept",
            letter.bytes
        )));
    }
    let pending = api.edits_of(caller)?.requeue_dead_letter(id).await.map_err(store_problem)?;
    // In a task: a client that hangs up must not leave the publish half done.
    let confirm_timeout = api.config.confirm_timeout;
    let publishing = tokio::spawn(async move { publish(&api, queue, pending).await });
    if tokio::time::timeout(confirm_timeout, publishing).await.is_err() {
        tracing::warn!(dead_letter.id = id, "sending a dead letter back was committed, its confirm is late");
    }
    Ok((StatusCode::ACCEPTED, Json(DeadLetterRequeued { id: id.to_string() })))
}

/// Publishes what was committed, and strikes it off. Whatever fails here is left to the outbox relay.
async fn publish(api: &Api, queue: Queue, pending: PendingLetter) {
    let PendingLetter { outbox, letter, body } = pending;
    let message = ProducerMessage {
        routing_key: letter.routing_key,
        content_type: letter.content_type,
        message_id: letter.message_id,
        headers: letter.headers,
        body,
    };
    if let Err(error) = api.lanes.requeue(queue, &message).await {
        tracing::warn!(dead_letter.id = letter.id, %error, "a dead letter is left to the outbox relay");
        return;
    }
    if let Err(error) = api.store.outbox_done(&[outbox]).await {
        tracing::warn!(dead_letter.id = letter.id, %error, "a dead letter was published and not struck off");
    }
}
