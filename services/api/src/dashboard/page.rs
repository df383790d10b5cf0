//! A page of a tenant: whose, seen by whom.

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::Uri;
use axum::http::request::Parts;
use maud::Markup;
use postrider_http::problem::Problem;
use postrider_profiles::Profile;
use postrider_store::config::{Scope, Tenant};

use super::Dashboard;
use super::failure::Failure;
use super::form::Fields;
use super::layout::{self, Section};
use super::once::{Noticed, Restored};
use super::session::Visitor;
use crate::Api;
use crate::auth::Caller;
use crate::errors::no_such;
use crate::event_types::model::EventType;

/// What every page under `/dashboard/{tenant}/` begins with. Extracting it is the wall between tenants.
pub(super) struct Page {
    pub(super) visitor: Visitor,
    /// The visitor as the API knows it, with this tenant named.
    pub(super) caller: Caller,
    pub(super) tenant: Tenant,
    pub(super) profile: Arc<Profile>,
    /// Of the address.
    pub(super) query: Fields,
    /// Whether only the parts that refresh are asked for, by `live.js`.
    pub(super) live: bool,
    /// What was typed into the page's form before the session ended.
    pub(super) restored: Option<Fields>,
    /// Whether the notice that the address names is of a form that this visitor sent.
    noticed: bool,
    uri: Uri,
}

impl FromRequestParts<Arc<Dashboard>> for Page {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, dashboard: &Arc<Dashboard>) -> Result<Self, Failure> {
        let visitor = Visitor::from_request_parts(parts, dashboard).await?;
        let path = RawPathParams::from_request_parts(parts, dashboard).await.map_err(|_| no_such("page"))?;
        let named = path.iter().find(|(name, _)| *name == "tenant").map(|(_, name)| name);
        let named = dashboard.api.find_tenant(named.ok_or_else(|| no_such("tenant"))?).await?;
        let caller = match visitor.caller {
            Caller::Operator { acting, .. } => Caller::Operator { tenant: Some(named), acting },
            own => own,
        };
        caller.may(Scope::Read, named)?;
        let tenant = dashboard.api.tenant(named).await?;
        let profile = Arc::clone(dashboard.api.profile(&tenant.draft.profile)?);
        let restored = parts.extensions.get::<Restored>().map(|restored| restored.0.clone());
        let live = parts.headers.contains_key("x-postrider-live");
        let noticed = parts.extensions.get::<Noticed>().is_some();
        let (query, uri) = (Fields::of(&parts.uri), parts.uri.clone());
        Ok(Self { visitor, caller, tenant, profile, query, live, restored, noticed, uri })
    }
}

impl Page {
    /// The address of something of this tenant, such as `/webhooks`.
    pub(super) fn to(&self, path: impl AsRef<str>) -> String {
        format!("/dashboard/{}{}", self.tenant.id, path.as_ref())
    }

    /// The tenant's event types: the profile's and its own.
    pub(super) async fn catalog(&self, api: &Api) -> Result<Vec<EventType>, Failure> {
        Ok(api.catalog(self.tenant.id, &self.profile).await?)
    }

    /// Whether the visitor may do more than look.
    pub(super) fn can_manage(&self) -> bool {
        self.visitor.can_manage()
    }

    /// This page's path.
    pub(super) fn path(&self) -> &str {
        self.uri.path()
    }

    /// What a form carries to prove that it is from here.
    pub(super) fn csrf(&self) -> Markup {
        layout::csrf(&self.visitor)
    }

    /// The whole page.
    pub(super) fn show(&self, section: Section, title: &str, content: Markup) -> Markup {
        let notice = notice(&self.query, self.restored.is_some(), self.noticed);
        layout::full(&self.visitor, Some(&self.tenant), section, title, notice, content)
    }
}

/// The notice of a page. One that an address names is shown to the visitor whose form it is about, and to nobody else.
pub(super) fn notice(query: &Fields, restored: bool, noticed: bool) -> &str {
    match (restored, noticed) {
        (true, _) => "restored",
        (false, true) => query.get("notice"),
        (false, false) => "",
    }
}

/// The problem of a form, unless it is not about the form's fields at all.
pub(super) fn about_fields(problem: Problem) -> Result<Problem, Failure> {
    match problem.status {
        400 | 409 | 412 | 422 => Ok(problem),
        _ => Err(problem.into()),
    }
}
