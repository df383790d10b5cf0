//! The extractors that the handlers of pages use.
//!
//! [`Page`] is a page of a tenant; its extractor refuses visitors of other tenants. [`WebhookPage`] adds the endpoint that the
//! address names. [`Managed`] refuses visitors without the scope `manage`. [`OperatorPage`] is a page for operators only.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use maud::Markup;
use postrider_model::ids::EndpointId;
use postrider_model::scope::Scope;
use postrider_operations::endpoints::Endpoint;
use postrider_operations::{Caller, Error, Operations};
use postrider_profiles::Profile;
use postrider_store::config::Tenant;

use crate::Dashboard;
use crate::brand::PageBrand;
use crate::document::set_brand;
use crate::failure::{Answer, Failure};
use crate::fields::NOTICE;
use crate::language::t;
use crate::layout;
use crate::session::Visitor;
use crate::texts::Notice;

/// A page under `/dashboard/{tenant}/`.
pub(crate) struct Page {
    pub(crate) operations: Arc<Operations>,
    pub(crate) visitor: Visitor,
    /// The caller with which the page calls operations: the visitor, acting on this tenant.
    pub(crate) caller: Caller,
    pub(crate) tenant: Tenant,
    pub(crate) profile: Arc<Profile>,
}

impl FromRequestParts<Arc<Dashboard>> for Page {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, dashboard: &Arc<Dashboard>) -> Answer<Self> {
        let mut visitor = Visitor::from_request_parts(parts, dashboard).await?;
        let operations = Arc::clone(&dashboard.operations);
        let named = path_parameter(parts, dashboard, "tenant").await?;
        let named = operations.find_tenant(&named).await?;
        let caller = match visitor.caller {
            Caller::Operator { acting, .. } => Caller::Operator { tenant: Some(named), acting },
            own => own,
        };
        caller.may(Scope::Read, named)?;
        let tenant = match visitor.tenant.take() {
            Some(own) => own,
            None => {
                let tenant = operations.stored_tenant(named).await?;
                set_brand(PageBrand::of_tenant(&operations, &tenant)?);
                tenant
            }
        };
        let profile = Arc::clone(operations.profile(&tenant.draft.profile)?);
        Ok(Self { operations, visitor, caller, tenant, profile })
    }
}

async fn path_parameter(parts: &mut Parts, dashboard: &Arc<Dashboard>, name: &str) -> Answer<String> {
    let path = RawPathParams::from_request_parts(parts, dashboard).await.map_err(|_| Error::NotFound("page"))?;
    let value = path.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_owned());
    Ok(value.ok_or(Error::NotFound("page"))?)
}

/// The name of an endpoint, which may be deleted.
pub(crate) struct EndpointName {
    name: String,
    pub(crate) deleted: bool,
}

impl EndpointName {
    /// The name, followed by "(deleted)" if the endpoint was deleted.
    pub(crate) fn label(&self) -> String {
        if self.deleted { t!("{name} (deleted)", name = self.name).into_owned() } else { self.name.clone() }
    }
}

/// Names of endpoints by id.
pub(crate) type EndpointNames = HashMap<EndpointId, EndpointName>;

impl Page {
    /// The address of a page of this tenant. `path` is below the tenant's address, such as `/webhooks`.
    pub(crate) fn to(&self, path: impl AsRef<str>) -> String {
        format!("/dashboard/{}{}", self.tenant.id, path.as_ref())
    }

    /// Redirects to a page of this tenant, which shows the notice.
    pub(crate) fn redirect(&self, path: impl AsRef<str>, notice: Notice) -> Redirect {
        redirect_with(&self.to(path), notice)
    }

    /// The names of the endpoints in `ids` that belong to the tenant.
    pub(crate) async fn endpoint_names(&self, ids: impl IntoIterator<Item = EndpointId>) -> Answer<EndpointNames> {
        let ids: BTreeSet<EndpointId> = ids.into_iter().collect();
        let ids: Vec<EndpointId> = ids.into_iter().collect();
        let named = self.operations.names_of_endpoints(self.caller, &ids).await?;
        Ok(named.into_iter().map(|(id, name, deleted)| (id, EndpointName { name, deleted })).collect())
    }

    /// Whether the visitor may change anything.
    pub(crate) fn can_manage(&self) -> bool {
        self.visitor.can_manage()
    }

    /// The complete HTML page with this content.
    pub(crate) fn show(&self, title: &str, content: Markup) -> Markup {
        layout::full(&self.visitor, Some(&self.tenant), title, content)
    }
}

/// The page of the endpoint that the address names as `{id}`.
pub(crate) struct WebhookPage {
    pub(crate) page: Page,
    pub(crate) endpoint: Endpoint,
    /// The endpoint's id, as a parameter of operations.
    pub(crate) id: String,
}

impl FromRequestParts<Arc<Dashboard>> for WebhookPage {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, dashboard: &Arc<Dashboard>) -> Answer<Self> {
        let page = Page::from_request_parts(parts, dashboard).await?;
        let id = path_parameter(parts, dashboard, "id").await?;
        let endpoint = page.operations.read_endpoint(page.caller, &id).await?;
        Ok(Self { page, endpoint, id })
    }
}

impl WebhookPage {
    /// The address of the webhook's page, or of a page below it, such as `/edit`.
    pub(crate) fn at(&self, below: &str) -> String {
        self.page.to(format!("/webhooks/{}{below}", self.id))
    }
}

/// A page for visitors with the scope `manage`.
pub(crate) struct Managed<P>(pub(crate) P);

impl<P> FromRequestParts<Arc<Dashboard>> for Managed<P>
where
    P: FromRequestParts<Arc<Dashboard>, Rejection = Failure> + AsRef<Visitor>,
{
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, dashboard: &Arc<Dashboard>) -> Answer<Self> {
        let page = P::from_request_parts(parts, dashboard).await?;
        page.as_ref().caller.visible(Scope::Manage)?;
        Ok(Self(page))
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

/// The parameter `{id}` of the address.
pub(crate) struct Id(pub(crate) String);

impl FromRequestParts<Arc<Dashboard>> for Id {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, dashboard: &Arc<Dashboard>) -> Answer<Self> {
        path_parameter(parts, dashboard, "id").await.map(Self)
    }
}

/// A page for operators.
pub(crate) struct OperatorPage {
    pub(crate) operations: Arc<Operations>,
    pub(crate) visitor: Visitor,
}

impl FromRequestParts<Arc<Dashboard>> for OperatorPage {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, dashboard: &Arc<Dashboard>) -> Answer<Self> {
        let visitor = Visitor::from_request_parts(parts, dashboard).await?;
        visitor.caller.operator()?;
        Ok(Self { operations: Arc::clone(&dashboard.operations), visitor })
    }
}

impl OperatorPage {
    /// The complete HTML page with this content.
    pub(crate) fn show(&self, title: &str, content: Markup) -> Markup {
        layout::full(&self.visitor, None, title, content)
    }
}

/// An answer of plain text.
pub(crate) fn plain_text(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// Redirects to a page, which shows the notice. `path` may have a query.
pub(crate) fn redirect_with(path: &str, notice: Notice) -> Redirect {
    let separator = if path.contains('?') { '&' } else { '?' };
    Redirect::to(&format!("{path}{separator}{NOTICE}={}", notice.name()))
}
