//! Portal links: one-time links with which a product shows its customer the dashboard, in a frame of its own page or in another
//! tab.
//!
//! The product's backend creates a link for the customer whom it has signed in. Opening the link opens a session of the dashboard
//! that has the link's tenant and scopes, and needs no API key.

mod request;

use postrider_model::ids::{PortalLinkId, TenantId};
use postrider_model::scope::Scope;
use postrider_model::timestamp::Timestamp;
use postrider_store::audit_log::{Acting, Actor, Via};
use postrider_store::portal::PortalLink as StoredLink;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use url::Url;
use utoipa::ToSchema;

use crate::keys::refuse_escalation;
use crate::{Caller, Error, Operations};

pub use self::request::CreatePortalLink;

/// The page of the dashboard that opens links. Its query parameter `link` has the token.
pub const PORTAL_PATH: &str = "/dashboard/portal";

/// How people reach the dashboard from outside.
#[derive(Debug, Clone, Default)]
pub struct DashboardAddress {
    /// The URL of the deployment; without it, no portal links can be created.
    pub public_url: Option<Url>,
    /// Whether other sites may show the dashboard in a frame.
    pub framing: Framing,
}

/// Whether other sites may show the dashboard in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// No other site may show the dashboard in a frame.
    #[default]
    Refused,
    /// The sites that the operator allows may show the dashboard in a frame.
    Allowed,
}

/// Where a visitor opens a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a separate tab.
    Tab,
    /// In a frame of another page.
    Frame,
    /// The browser does not send this information. The link's `embed` decides.
    Unknown,
}

/// A portal link that was just created.
#[derive(Debug, Serialize, ToSchema)]
pub struct PortalLink {
    /// Its id. In the audit log, it is the actor of the changes that are made in the link's session.
    pub id: PortalLinkId,
    /// The URL of the link. It opens the dashboard once, and is only shown in this answer.
    #[schema(example = "https://hooks.example.com/dashboard/portal?link=0pXk4l1c0tQm7v2yZb8sWn5dRf3hJg6aQeTuIoPlKjH")]
    pub url: String,
    /// Until when it can be opened.
    pub expires_at: Timestamp,
    /// The tenant whose pages it opens.
    pub tenant_id: TenantId,
    /// What its session may do.
    pub scopes: Vec<Scope>,
    /// The first page, as a path below the tenant's address.
    #[schema(example = "/webhooks")]
    pub landing: String,
    /// Whether it can be opened in a frame.
    pub embed: bool,
    /// How long its session lasts, in seconds.
    #[schema(example = 28_800)]
    pub session_seconds: u32,
    /// The person for whom the link is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "jane@example.com")]
    pub user: Option<String>,
}

/// A session that a link opened.
#[derive(Debug)]
pub struct PortalSession {
    /// The session's token, for the visitor's cookie.
    pub token: SecretString,
    /// How long the session lasts.
    pub lasts: std::time::Duration,
    /// Where the session begins: in a tab or in a frame.
    pub place: Place,
    /// The address of the first page.
    pub landing: String,
}

/// Returns the address of a link's first page.
pub fn landing(link: &StoredLink) -> String {
    format!("/dashboard/{}{}", link.tenant, link.landing)
}

impl Operations {
    /// Creates a portal link.
    ///
    /// # Errors
    /// Requires the scope `manage`. [`Forbidden::ScopeNotHeld`](crate::Forbidden::ScopeNotHeld) for a scope that the caller's key
    /// does not have; [`Error::Conflict`] if the tenant has the maximum number of unopened links, or if the deployment has no
    /// public URL.
    pub async fn create_portal_link(
        &self,
        caller: Caller,
        tenant: &str,
        request: CreatePortalLink,
    ) -> Result<PortalLink, Error> {
        let tenant = self.tenant_with_keys(caller, tenant, Scope::Manage).await?;
        let (new, scopes) = request.check(&self.address)?;
        refuse_escalation(caller, &scopes)?;
        let Some(public_url) = &self.address.public_url else {
            let detail = "the deployment has no POSTRIDER_PUBLIC_URL, so a link has no address";
            return Err(Error::Conflict(detail.to_owned()));
        };
        let created = self.edits_of(caller)?.sessions().create_portal_link(tenant, &new).await?;
        let mut url = public_url.clone();
        url.set_path(PORTAL_PATH);
        url.query_pairs_mut().clear().append_pair("link", created.token.expose_secret());
        Ok(PortalLink {
            id: created.id,
            url: url.into(),
            expires_at: created.expires_at.into(),
            tenant_id: tenant,
            scopes,
            landing: new.landing,
            embed: new.embedded,
            session_seconds: u32::try_from(new.session.as_secs()).unwrap_or(u32::MAX),
            user: new.user,
        })
    }

    /// Returns the link with this token, while it can be opened or its session lasts.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such link.
    pub async fn portal_link(&self, token: &str) -> Result<StoredLink, Error> {
        self.store.sessions().portal_link(token).await?.ok_or(Error::NotFound("link"))
    }

    /// Opens a link, which cannot be opened again. Begins a session, or continues the visitor's `current` session if that has the
    /// same rights.
    ///
    /// # Errors
    /// [`Error::Conflict`] in a frame if the link was created without `embed`; the link can still be opened in a tab.
    /// [`Error::NotFound`] if the link was already opened or has expired.
    pub async fn open_portal_link(
        &self,
        link: &StoredLink,
        place: Place,
        current: Option<&str>,
    ) -> Result<PortalSession, Error> {
        let place = match (place, link.embedded) {
            (Place::Frame, false) => {
                let detail = "this link cannot be opened in a frame; the product must create it with `embed`";
                return Err(Error::Conflict(detail.to_owned()));
            }
            (Place::Frame | Place::Unknown, true) => Place::Frame,
            (Place::Tab, _) | (Place::Unknown, false) => Place::Tab,
        };
        let acting = Acting { actor: Actor::Portal(link.id), via: Some(Via::Dashboard), claim: None };
        let opened = self.store.acting_as(acting).sessions().open_portal_link(link.id, current).await?;
        let opened = opened.ok_or(Error::NotFound("link"))?;
        Ok(PortalSession { token: opened.token, lasts: opened.lasts, place, landing: landing(link) })
    }

    /// Ends every session that the tenant's portal links opened, and deletes links that were not opened. Requires the scope
    /// `manage`.
    pub async fn end_portal_sessions(&self, caller: Caller, tenant: &str) -> Result<(), Error> {
        let tenant = self.tenant_with_keys(caller, tenant, Scope::Manage).await?;
        self.edits_of(caller)?.sessions().end_portal_sessions(tenant).await?;
        Ok(())
    }
}
