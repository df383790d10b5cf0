//! Webhooks, as customers call their endpoints.

mod fields;
mod form;
mod list;
mod one;
mod rotate;
mod save;
mod test;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use postrider_runtime::problem::Problem;

use super::Dashboard;
use super::failure::Failure;
use super::page::Page;
use crate::Api;
use crate::endpoints::handlers::{self, endpoint_id};
use crate::endpoints::model::{Endpoint, EndpointPage};
use crate::errors::store_problem;
use crate::request::Params;

/// Endpoints whose names are shown instead of their ids.
const NAMES_MAX: u32 = 200;

pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/dashboard/{tenant}/webhooks", get(list::show).post(save::create))
        .route("/dashboard/{tenant}/webhooks/new", get(save::new))
        .route("/dashboard/{tenant}/webhooks/{id}", get(one::show))
        .route("/dashboard/{tenant}/webhooks/{id}/edit", get(save::edit).post(save::save))
        .route("/dashboard/{tenant}/webhooks/{id}/status", post(one::set_status))
        .route("/dashboard/{tenant}/webhooks/{id}/delete", get(one::ask_delete).post(one::delete))
        .route("/dashboard/{tenant}/webhooks/{id}/test", get(test::ask).post(test::run))
        .route("/dashboard/{tenant}/webhooks/{id}/rotate", get(rotate::ask).post(rotate::rotate))
}

/// A page of the tenant's endpoints, with usage and limit.
pub(super) async fn endpoints(api: &Arc<Api>, page: &Page, params: Params) -> Result<EndpointPage, Failure> {
    Ok(handlers::list(State(Arc::clone(api)), page.caller, params).await?.0)
}

/// The names of the tenant's endpoints, by id; of the newest ones.
pub(super) async fn names(api: &Arc<Api>, page: &Page) -> Result<HashMap<String, String>, Failure> {
    let named = api.store.endpoint_names(page.tenant.id, NAMES_MAX).await.map_err(store_problem)?;
    Ok(named.into_iter().map(|(id, name)| (id.to_string(), name)).collect())
}

/// The endpoint that the address names, if it is this tenant's.
async fn endpoint(api: &Api, page: &Page, id: &str) -> Result<Endpoint, Failure> {
    Ok(api.shown(api.endpoint(Some(page.tenant.id), endpoint_id(id)?).await?))
}

/// The path's last parameter.
type Id = Path<(String, String)>;

/// Where an endpoint goes: its URL, or whose phone.
fn target(endpoint: &Endpoint) -> &str {
    endpoint.url.as_deref().unwrap_or("Pushover")
}

fn refuse_readers(page: &Page) -> Result<(), Failure> {
    if page.can_manage() {
        return Ok(());
    }
    Err(Problem::forbidden("your key may only look: this takes one with the scope “manage”").into())
}
