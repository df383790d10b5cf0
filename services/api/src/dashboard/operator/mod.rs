//! The operator's pages: tenants with their limits and keys, dead letters, profiles, the system.

mod dead_letters;
mod profiles;
mod system;
mod tenants;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::routing::get;
use maud::Markup;

use super::Dashboard;
use super::failure::Failure;
use super::form::Fields;
use super::layout::{self, Section};
use super::once::{Noticed, Restored};
use super::page::notice;
use super::session::Visitor;

pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/dashboard/operator/tenants", get(tenants::list).post(tenants::create))
        .route("/dashboard/operator/tenants/{id}", get(tenants::show).post(tenants::save))
        .route("/dashboard/operator/tenants/{id}/keys", get(tenants::show).post(tenants::make_key))
        .route(
            "/dashboard/operator/tenants/{id}/keys/{key}/delete",
            get(tenants::ask_delete_key).post(tenants::delete_key),
        )
        .route("/dashboard/operator/dead-letters", get(dead_letters::list))
        .route("/dashboard/operator/dead-letters/{id}/requeue", get(dead_letters::list).post(dead_letters::requeue))
        .route("/dashboard/operator/profiles", get(profiles::list))
        .route("/dashboard/operator/system", get(system::show))
}

/// What every page of the operator begins with: nobody else gets past it.
pub(super) struct Office {
    pub(super) visitor: Visitor,
    pub(super) query: Fields,
    /// What was typed into the page's form before the session ended.
    restored: Option<Fields>,
    /// Whether the notice that the address names is of a form that this visitor sent.
    noticed: bool,
}

impl FromRequestParts<Arc<Dashboard>> for Office {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, dashboard: &Arc<Dashboard>) -> Result<Self, Failure> {
        let visitor = Visitor::from_request_parts(parts, dashboard).await?;
        visitor.caller.operator()?;
        let restored = parts.extensions.get::<Restored>().map(|restored| restored.0.clone());
        Ok(Self {
            visitor,
            query: Fields::of(&parts.uri),
            restored,
            noticed: parts.extensions.get::<Noticed>().is_some(),
        })
    }
}

impl Office {
    pub(super) fn show(&self, section: Section, title: &str, content: Markup) -> Markup {
        let notice = notice(&self.query, self.restored.is_some(), self.noticed);
        layout::full(&self.visitor, None, section, title, notice, content)
    }

    fn csrf(&self) -> Markup {
        layout::csrf(&self.visitor)
    }

    /// On to older rows of a list.
    pub(super) fn pager(&self, path: &str, next_cursor: Option<&String>) -> Markup {
        maud::html! { @if let Some(cursor) = next_cursor {
            nav.pager aria-label="Pages" { a.button rel="next" href={ (path) "?" (self.query.query_with("cursor", Some(cursor))) } { "Older" } }
        } }
    }
}
