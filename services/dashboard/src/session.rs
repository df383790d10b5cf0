//! The signed-in visitor of a page.
//!
//! The token in the cookie identifies a row in `dashboard_sessions`, which names the hash of an API key, a portal link, or a person
//! whom the identity provider signed in. Each page reads the current rights of the key or link, or checks the person against the
//! rule for operators. If the key or link was deleted, or the person was removed from the operators, the visitor is signed out with
//! the next request.

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
use crate::{Dashboard, cookie, csrf, oidc};

/// The signed-in visitor, and the request for a page.
#[derive(Clone)]
pub(crate) struct Visitor {
    /// The caller, with the current rights of the visitor's key, link or person.
    pub(crate) caller: Caller,
    /// The tenant of the visitor's key or link. [`Page`](crate::page::Page) moves it out. `None` for an operator.
    pub(crate) tenant: Option<Tenant>,
    /// The hidden fields of the forms of this page.
    pub(crate) tokens: csrf::FormTokens,
    /// The path of the page.
    pub(crate) path: String,
    /// The query of the page.
    pub(crate) query: Fields,
    /// Whether the request comes from `live.js`, which refreshes the page. If so, the answer may leave out parts that do not
    /// refresh.
    pub(crate) live: bool,
    submitted: Option<Submitted>,
}

/// The form that led a visitor to a page. [`submit_once`](super::submit_once) adds it to the request.
#[derive(Clone)]
pub(crate) enum Submitted {
    /// The answer to a form of the visitor redirected to this page.
    Redirected,
    /// A form that was sent after the session had ended. It contains the entered fields.
    Restored(Fields),
}

impl Visitor {
    /// Whether the visitor has the scope `manage`.
    pub(crate) fn can_manage(&self) -> bool {
        self.caller.visible(Scope::Manage).is_ok()
    }

    /// The fields of a form that was sent after the session had ended.
    pub(crate) fn restored(&self) -> Option<Fields> {
        match &self.submitted {
            Some(Submitted::Restored(fields)) => Some(fields.clone()),
            _ => None,
        }
    }

    /// The name of the notice to show; empty if there is none. A notice in the address is shown only to a visitor whose form
    /// redirected to this page.
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
        // After sign-in, a visitor who had sent a form continues at the form's path.
        let next = if parts.method == Method::GET { parts.uri.to_string() } else { parts.uri.path().to_owned() };
        let signed_out = || Failure::SignIn { next: next.clone() };
        let token =
            cookie::session_token(&parts.headers, dashboard.transport(&parts.headers)).ok_or_else(signed_out)?;
        let caller = match dashboard.store.sessions().session(&token).await?.ok_or_else(signed_out)? {
            OpenedBy::Key(key) => dashboard.operations.find_caller(key)?.ok_or_else(signed_out)?,
            OpenedBy::Link(link) => dashboard.operations.caller_of_link(&link)?,
            OpenedBy::Person(person) => oidc::caller_of(dashboard, &person).ok_or_else(signed_out)?,
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

/// The same caller, whose changes the audit log records as made in the dashboard.
pub(crate) fn via_dashboard(caller: Caller) -> Caller {
    caller.with(|acting| acting.via = Some(Via::Dashboard))
}
