//! `/v1/attributes/{name}`: the values that events had lately, for picking filters.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use postrider_http::problem::Problem;
use postrider_model::event::is_attribute_name;
use postrider_model::time::UnixMillis;
use postrider_store::attributes::AttributeValue as Seen;
use postrider_store::config::Scope;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Api;
use crate::auth::Caller;
use crate::errors::store_problem;
use crate::page::List;
use crate::request::Params;
use crate::time::shown;

/// A value that events had.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttributeValue {
    #[schema(example = "bridge-7")]
    pub(crate) value: String,
    /// Events that had it in the last 7 days, about.
    pub(crate) events: u64,
    /// When the last of them was accepted.
    #[schema(format = DateTime)]
    pub(crate) last_seen_at: String,
}

impl From<Seen> for AttributeValue {
    fn from(seen: Seen) -> Self {
        Self { value: seen.value, events: seen.events, last_seen_at: shown(seen.seen_at) }
    }
}

/// List the values of an attribute
///
/// Those that the tenant's events had in the last 7 days, most frequent first, on one page: for picking filters. Counts are
/// not exact.
#[utoipa::path(get, operation_id = "list_attribute_values", path = "/v1/attributes/{name}", tag = "events",
    params(("name" = String, Path, description = "such as sending_domain"),
        ("tenant" = Option<String>, Query, description = "with an operator key: whose"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200)),
    responses((status = 200, body = List<AttributeValue>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn values(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(name): Path<String>,
) -> Result<Json<List<AttributeValue>>, Problem> {
    let params = params.only(&["limit"], None)?;
    let tenant = caller.tenant(Scope::Read)?;
    if !is_attribute_name(&name) {
        return Err(Problem::invalid_field("name", "1 to 64 of a-z 0-9 _ -, beginning with a letter"));
    }
    let today = UnixMillis::now().day();
    let values =
        api.store.history().attribute_values(tenant, &name, today, params.limit()?).await.map_err(store_problem)?;
    Ok(Json(List::whole(values.into_iter().map(AttributeValue::from).collect())))
}
