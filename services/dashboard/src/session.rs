//! The signed-in visitor of a page.
//!
//! The cookie's token opens a row in `dashboard_sessions` that names the key by its hash, or the portal link. Each page looks up
//! what the key or the link may do now: the visitor of a deleted one is signed out with the next click.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::Method;
use axum::http::request::Parts;
use postrider_model::ids::EventId;
use postrider_model::scope::Scope;
use postrider_operations::Caller;
use postrider_store::audit_log::Via;
use postrider_store::config::Tenant;
use postrider_store::sessions::OpenedBy;

use crate::brand::PageBrand;
use crate::document::set_brand;
use crate::failure::{Answer, Failure};
use crate::fields::Fields;
use crate::{Dashboard, cookie, csrf};

/// The signed-in visitor, and the request for a page.
#[derive(Clone)]
pub(crate) struct Visitor {
    /// The caller, with what the visitor's key may do now.
    pub(crate) caller: Caller,
    /// The tenant of the visitor's key or link, until [`Page`](crate::page::Page) takes it; `None` for an operator.
    pub(crate) tenant: Option<Tenant>,
    /// The hidden fields of the forms of this page.
    pub(crate) tokens: csrf::FormTokens,
    /// The path of the page.
    pub(crate) path: String,
    /// The query of the page.
    pub(crate) query: Fields,
    /// Whether `live.js` asks for the parts of the page that refresh.
    pub(crate) live: bool,
    submitted: Option<Submitted>,
}

/// What happened before a visitor came to a page. [`submit_once`](super::submit_once) adds it to the request.
#[derive(Clone)]
pub(crate) enum Submitted {
    /// A form of the visitor that redirected here.
    Redirected,
    /// A form that was sent after the session ended, and what was entered into it.
    Restored(Fields),
}

impl Visitor {
    /// Whether the visitor has the scope `manage`.
    pub(crate) fn can_manage(&self) -> bool {
        self.caller.visible(Scope::Manage).is_ok()
    }

    /// What was entered into the page's form before the session ended.
    pub(crate) fn restored(&self) -> Option<Fields> {
        match &self.submitted {
            Some(Submitted::Restored(fields)) => Some(fields.clone()),
            _ => None,
        }
    }

    /// The name of the notice to show. The address names it; only a visitor whose form redirected here sees it.
    pub(crate) fn notice(&self) -> &str {
        match self.submitted {
            Some(Submitted::Restored(_)) => "restored",
            Some(Submitted::Redirected) => self.query.get("notice"),
            None => "",
        }
    }
}

impl FromRequestParts<Arc<Dashboard>> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, dashboard: &Arc<Dashboard>) -> Answer<Self> {
        // After sign-in, a visitor who sent a form gets the page at the form's path.
        let next = if parts.method == Method::GET { parts.uri.to_string() } else { parts.uri.path().to_owned() };
        let signed_out = || Failure::SignIn { next: next.clone() };
        let token = cookie::session_token(&parts.headers).ok_or_else(signed_out)?;
        let caller = match dashboard.store.sessions().session(&token).await?.ok_or_else(signed_out)? {
            OpenedBy::Key(key) => dashboard.operations.find_caller(key)?.ok_or_else(signed_out)?,
            OpenedBy::Link(link) => dashboard.operations.caller_of_link(&link)?,
        };
        let tenant = match caller {
            Caller::Tenant { tenant, .. } => Some(dashboard.operations.stored_tenant(tenant).await?),
            Caller::Operator { .. } => None,
        };
        set_brand(match &tenant {
            Some(tenant) => PageBrand::of_tenant(&dashboard.operations, tenant)?,
            None => PageBrand::postrider(),
        });
        Ok(Self {
            caller: via_dashboard(caller),
            tenant,
            tokens: csrf::FormTokens { csrf: csrf::token(&token), once: EventId::generate().to_string() },
            path: parts.uri.path().to_owned(),
            query: Fields::of(&parts.uri),
            live: parts.headers.contains_key("x-postrider-live"),
            submitted: parts.extensions.get().cloned(),
        })
    }
}

/// The same caller; the audit log records its changes as made in the dashboard.
pub(crate) fn via_dashboard(caller: Caller) -> Caller {
    caller.with(|acting| acting.via = Some(Via::Dashboard))
}
