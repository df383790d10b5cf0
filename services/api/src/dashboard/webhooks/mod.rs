//! Webhooks, as customers call their endpoints.

mod fields;
mod form;
mod list;
mod one;
mod rotate;
mod save;
mod test;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use maud::{Markup, html};
use postrider_http::problem::Problem;
use postrider_model::ids::EndpointId;

use super::Dashboard;
use super::failure::Failure;
use super::page::Page;
use crate::Api;
use crate::endpoints::handlers::{self, endpoint_id};
use crate::endpoints::model::{Endpoint, EndpointPage};
use crate::errors::store_problem;
use crate::request::Params;

/// Most webhooks that a filter offers.
const OFFERED_MAX: u32 = 1_000;

pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/dashboard/{tenant}/webhooks", get(list::show))
        .route("/dashboard/{tenant}/webhooks/new", get(save::new).post(save::create))
        .route("/dashboard/{tenant}/webhooks/{id}", get(one::show))
        .route("/dashboard/{tenant}/webhooks/{id}/edit", get(save::edit).post(save::save))
        .route("/dashboard/{tenant}/webhooks/{id}/status", get(one::show).post(one::set_status))
        .route("/dashboard/{tenant}/webhooks/{id}/delete", get(one::ask_delete).post(one::delete))
        .route("/dashboard/{tenant}/webhooks/{id}/test", get(test::ask).post(test::run))
        .route("/dashboard/{tenant}/webhooks/{id}/rotate", get(rotate::ask).post(rotate::rotate))
}

/// A page of the tenant's endpoints, with usage and limit.
pub(super) async fn endpoints(api: &Arc<Api>, page: &Page, params: Params) -> Result<EndpointPage, Failure> {
    Ok(handlers::list(State(Arc::clone(api)), page.caller, params).await?.0)
}

/// An endpoint's name.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) deleted: bool,
}

/// Names of endpoints, by id.
pub(super) type Names = HashMap<String, Named>;

/// The names of these endpoints, as far as they are this tenant's.
pub(super) async fn names<'a>(
    api: &Arc<Api>,
    page: &Page,
    ids: impl IntoIterator<Item = &'a str>,
) -> Result<Names, Failure> {
    let ids: BTreeSet<EndpointId> = ids.into_iter().filter_map(|id| id.parse().ok()).collect();
    let ids: Vec<EndpointId> = ids.into_iter().collect();
    let named = api.store.names_of_endpoints(page.tenant.id, &ids).await.map_err(store_problem)?;
    Ok(named.into_iter().map(|(id, name, deleted)| (id.to_string(), Named { name, deleted })).collect())
}

/// What a filter by webhook offers.
pub(super) struct Offered {
    /// Id and name, by name.
    all: Vec<(String, String)>,
    /// Whether there may be more webhooks than these.
    cut: bool,
}

impl Offered {
    /// The newest webhooks, and the chosen one whatever its age.
    pub(super) async fn load(api: &Arc<Api>, page: &Page, chosen: &str) -> Result<Self, Failure> {
        let newest = api.store.endpoint_names(page.tenant.id, OFFERED_MAX).await.map_err(store_problem)?;
        let cut = newest.len() >= OFFERED_MAX as usize;
        let mut all: Vec<_> = newest.into_iter().map(|(id, name)| (id.to_string(), name)).collect();
        if !chosen.is_empty() && all.iter().all(|(id, _)| id != chosen) {
            let name = names(api, page, [chosen]).await?.remove(chosen).map(|named| named.shown());
            all.push((chosen.to_owned(), name.unwrap_or_else(|| chosen.to_owned())));
        }
        all.sort_by(|a, b| a.1.cmp(&b.1));
        Ok(Self { all, cut })
    }

    /// The options of a `select`; `none`: what no choice is called.
    pub(super) fn options(&self, chosen: &str, none: &str) -> Markup {
        html! {
            option value="" { (none) }
            @for (id, name) in &self.all { option value=(id) selected[id == chosen] { (name) } }
            @if self.cut { option disabled { "the newest " (OFFERED_MAX) " are listed" } }
        }
    }
}

impl Named {
    /// The name, and whether the endpoint was deleted.
    pub(super) fn shown(&self) -> String {
        if self.deleted { format!("{} (deleted)", self.name) } else { self.name.clone() }
    }
}

/// How many endpoints the tenant has, and may have.
async fn usage(api: &Arc<Api>, page: &Page) -> Result<(u64, u64), Failure> {
    let newest = endpoints(api, page, Params::of([("limit".to_owned(), "1".to_owned())])).await?;
    Ok((newest.usage.into(), newest.limit.into()))
}

/// Why no webhook can be added.
fn limit_reached(usage: u64, limit: u64) -> Markup {
    html! { p.warning role="note" {
        (usage) " of " (limit) " webhooks are used, so no more can be added. Delete one, or ask the operator for a higher limit. The webhooks that exist keep working."
    } }
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

pub(super) fn refuse_readers(page: &Page) -> Result<(), Failure> {
    if page.can_manage() {
        return Ok(());
    }
    Err(Problem::forbidden("your key may only look: this takes one with the scope “manage”").into())
}
