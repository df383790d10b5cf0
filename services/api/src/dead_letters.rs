//! `GET /v1/dead-letters`: messages that Postrider could not process, for the operator.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use postrider_runtime::problem::Problem;
use postrider_store::log::DeadLetterRow;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Api;
use crate::auth::Caller;
use crate::errors::store_problem;
use crate::page::{List, page_request};
use crate::request::Params;
use crate::time::shown;

/// Bytes of a message that a list shows.
const EXCERPT_BYTES: usize = 4 * 1024;

/// A message that could not be processed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadLetter {
    id: String,
    #[schema(format = DateTime)]
    received_at: String,
    /// The queue or service that it came from.
    source: String,
    /// Why it could not be processed.
    reason: String,
    headers: BTreeMap<String, String>,
    body_bytes: usize,
    /// The first 4 KiB of the message, as text.
    body_excerpt: String,
}

impl From<DeadLetterRow> for DeadLetter {
    fn from(row: DeadLetterRow) -> Self {
        let excerpt = &row.body[..row.body.len().min(EXCERPT_BYTES)];
        Self {
            id: row.id.to_string(),
            received_at: shown(row.received_at),
            source: row.source,
            reason: row.reason,
            headers: row.headers.into_iter().collect(),
            body_bytes: row.body.len(),
            body_excerpt: String::from_utf8_lossy(excerpt).into_owned(),
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
    let page = api.store.list_dead_letters(&page_request(&params)?).await.map_err(store_problem)?;
    Ok(Json(List::of(page, DeadLetter::from)))
}
