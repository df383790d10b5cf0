//! The extractors that pages begin with.
//!
//! [`Page`] is a tenant's page; extracting it is the wall between tenants. [`WebhookPage`] adds the endpoint that the address
//! names, [`Managed`] refuses keys without the scope `manage`, and [`OperatorPage`] is for operators only.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use maud::Markup;
use postrider_http::problem::Problem;
use postrider_model::ids::EndpointId;
use postrider_profiles::Profile;
use postrider_store::config::{Scope, Tenant};

use crate::Api;
use crate::auth::Caller;
use crate::dashboard::Dashboard;
use crate::dashboard::failure::Failure;
use crate::dashboard::fields::NOTICE;
use crate::dashboard::layout::{self, Section};
use crate::dashboard::session::Visitor;
use crate::dashboard::texts::Notice;
use crate::endpoints::handlers::endpoint_id;
use crate::endpoints::model::Endpoint;
use crate::errors::{no_such, store_problem};
use crate::event_types::model::EventType;

/// A page under `/dashboard/{tenant}/`.
pub(crate) struct Page {
    pub(crate) api: Arc<Api>,
    pub(crate) visitor: Visitor,
    /// The visitor as the API knows it, with this tenant named.
    pub(crate) caller: Caller,
    pub(crate) tenant: Tenant,
    pub(crate) profile: Arc<Profile>,
}

impl FromRequestParts<Arc<Dashboard>> for Page {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, dashboard: &Arc<Dashboard>) -> Result<Self, Failure> {
        let visitor = Visitor::from_request_parts(parts, dashboard).await?;
        let api = Arc::clone(&dashboard.api);
        let named = path_parameter(parts, dashboard, "tenant").await?.ok_or_else(|| no_such("tenant"))?;
        let named = api.find_tenant(&named).await?;
        let caller = match visitor.caller {
            Caller::Operator { acting, .. } => Caller::Operator { tenant: Some(named), acting },
            own => own,
        };
        caller.may(Scope::Read, named)?;
        let tenant = api.tenant(named).await?;
        let profile = Arc::clone(api.profile(&tenant.draft.profile)?);
        Ok(Self { api, visitor, caller, tenant, profile })
    }
}

async fn path_parameter(parts: &mut Parts, dashboard: &Arc<Dashboard>, name: &str) -> Result<Option<String>, Failure> {
    let path = RawPathParams::from_request_parts(parts, dashboard).await.map_err(|_| no_such("page"))?;
    Ok(path.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_owned()))
}

/// The name of an endpoint.
pub(crate) struct EndpointName {
    name: String,
    pub(crate) deleted: bool,
}

impl EndpointName {
    /// The name, and whether the endpoint was deleted.
    pub(crate) fn label(&self) -> String {
        if self.deleted { format!("{} (deleted)", self.name) } else { self.name.clone() }
    }
}

/// Names of endpoints by id.
pub(crate) type EndpointNames = HashMap<String, EndpointName>;

impl Page {
    /// The address of a page of this tenant, such as `/webhooks`.
    pub(crate) fn to(&self, path: impl AsRef<str>) -> String {
        format!("/dashboard/{}{}", self.tenant.id, path.as_ref())
    }

    /// Redirects to a page of this tenant, which shows the notice.
    pub(crate) fn redirect(&self, path: impl AsRef<str>, notice: Notice) -> Redirect {
        Redirect::to(&format!("{}?{NOTICE}={}", self.to(path), notice.name()))
    }

    /// The tenant's event types: the profile's and its own.
    pub(crate) async fn catalog(&self) -> Result<Vec<EventType>, Failure> {
        Ok(self.api.catalog(self.tenant.id, &self.profile).await?)
    }

    /// The names of those of these endpoints that are the tenant's.
    pub(crate) async fn endpoint_names<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a str>,
    ) -> Result<EndpointNames, Failure> {
        let ids: BTreeSet<EndpointId> = ids.into_iter().filter_map(|id| id.parse().ok()).collect();
        let ids: Vec<EndpointId> = ids.into_iter().collect();
        let named = self.api.store.config().names_of_endpoints(self.tenant.id, &ids).await.map_err(store_problem)?;
        Ok(named.into_iter().map(|(id, name, deleted)| (id.to_string(), EndpointName { name, deleted })).collect())
    }

    /// Whether the visitor may change anything.
    pub(crate) fn can_manage(&self) -> bool {
        self.visitor.can_manage()
    }

    /// The whole page.
    pub(crate) fn show(&self, section: Section, title: &str, content: Markup) -> Markup {
        layout::full(&self.visitor, Some(&self.tenant), section, title, content)
    }
}

/// The page of the endpoint that the address names as `{id}`.
pub(crate) struct WebhookPage {
    pub(crate) page: Page,
    pub(crate) endpoint: Endpoint,
}

impl FromRequestParts<Arc<Dashboard>> for WebhookPage {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, dashboard: &Arc<Dashboard>) -> Result<Self, Failure> {
        let page = Page::from_request_parts(parts, dashboard).await?;
        let id = path_parameter(parts, dashboard, "id").await?.unwrap_or_default();
        let endpoint = page.api.endpoint(Some(page.tenant.id), endpoint_id(&id)?).await?;
        let endpoint = page.api.shown(endpoint);
        Ok(Self { page, endpoint })
    }
}

impl WebhookPage {
    /// The address of the webhook's page, or of one below it, such as `/edit`.
    pub(crate) fn at(&self, below: &str) -> String {
        self.page.to(format!("/webhooks/{}{below}", self.endpoint.id))
    }
}

/// A page that takes a key with the scope `manage`.
pub(crate) struct Managed<P>(pub(crate) P);

impl<P> FromRequestParts<Arc<Dashboard>> for Managed<P>
where
    P: FromRequestParts<Arc<Dashboard>, Rejection = Failure> + AsRef<Visitor>,
{
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, dashboard: &Arc<Dashboard>) -> Result<Self, Failure> {
        let page = P::from_request_parts(parts, dashboard).await?;
        if page.as_ref().can_manage() {
            return Ok(Self(page));
        }
        Err(Problem::forbidden("your key can only read: this takes a key with the scope “manage”").into())
    }
}

impl AsRef<Visitor> for Page {
    fn as_ref(&self) -> &Visitor {
        &self.visitor
    }
}

impl AsRef<Visitor> for WebhookPage {
    fn as_ref(&self) -> &Visitor {
        &self.page.visitor
    }
}

/// The last part of an address: what the page is about.
pub(crate) struct Id(pub(crate) String);

impl FromRequestParts<Arc<Dashboard>> for Id {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, dashboard: &Arc<Dashboard>) -> Result<Self, Failure> {
        Ok(Self(path_parameter(parts, dashboard, "id").await?.ok_or_else(|| no_such("page"))?))
    }
}

/// A page for operators.
pub(crate) struct OperatorPage {
    pub(crate) api: Arc<Api>,
    pub(crate) visitor: Visitor,
}

impl FromRequestParts<Arc<Dashboard>> for OperatorPage {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, dashboard: &Arc<Dashboard>) -> Result<Self, Failure> {
        let visitor = Visitor::from_request_parts(parts, dashboard).await?;
        visitor.caller.operator()?;
        Ok(Self { api: Arc::clone(&dashboard.api), visitor })
    }
}

impl OperatorPage {
    /// The whole page.
    pub(crate) fn show(&self, section: Section, title: &str, content: Markup) -> Markup {
        layout::full(&self.visitor, None, section, title, content)
    }
}

/// Redirects an operator to a page, which shows the notice.
pub(crate) fn redirect_with(path: &str, notice: Notice) -> Redirect {
    Redirect::to(&format!("{path}?{NOTICE}={}", notice.name()))
}

/// The problem of a form, to be shown in the form; other problems get a page of their own.
pub(crate) fn form_problem(problem: Problem) -> Result<Problem, Failure> {
    match problem.status {
        400 | 409 | 412 | 422 => Ok(problem),
        _ => Err(problem.into()),
    }
}

/// A form that is shown again, with the status of its problem.
pub(crate) fn refused(problem: &Problem, page: Markup) -> Response {
    (problem.status_code(), page).into_response()
}
