//! Opens portal links.
//!
//! A link works once, and programs such as mail scanners and chat previews request links before people do. So a GET does not open
//! the link: its page has a form with the link's token. A script submits the form at once; without scripts, the visitor presses a
//! button. A visitor who is signed in without a link must always press the button, because another person may have sent the link, and
//! what the visitor then enters goes to the link's tenant.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Extensions, HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use bytes::Bytes;
use maud::html;
use postrider_http::problem::Problem;
use postrider_http::server::Peer;
use postrider_model::limits::SIGN_IN_BODY_BYTES_MAX;
use postrider_operations::portal::{PORTAL_PATH, Place, landing};
use postrider_operations::{Error, Interface};
use postrider_store::portal::PortalLink;
use postrider_store::sessions::OpenedBy;
use secrecy::ExposeSecret;

use crate::brand::PageBrand;
use crate::document::in_frame;
use crate::failure::Answer;
use crate::fields::Fields;
use crate::language::t;
use crate::{Dashboard, cookie, csrf, document};

/// The query parameter and the form field with a link's token.
const LINK: &str = "link";

pub(crate) fn routes() -> Router<Arc<Dashboard>> {
    Router::new().route(PORTAL_PATH, get(show).post(open).layer(DefaultBodyLimit::max(SIGN_IN_BODY_BYTES_MAX)))
}

/// `GET /dashboard/portal`
async fn show(State(dashboard): State<Arc<Dashboard>>, headers: HeaderMap, uri: Uri) -> Answer {
    let query = Fields::of(&uri);
    match dashboard.operations.portal_link(query.get(LINK)).await {
        Ok(link) => show_brand_of(&dashboard, &link).await?,
        Err(Error::NotFound(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let session = match cookie::session_token(&headers, dashboard.transport(&headers)) {
        Some(token) => dashboard.store.sessions().session(&token).await?,
        None => None,
    };
    let signed_in = match session {
        Some(OpenedBy::Key(_)) => {
            Some(t!("You are signed in with an API key. “Continue” signs you out and opens the account of this link."))
        }
        Some(OpenedBy::Person(_)) => {
            Some(t!("You are signed in as an operator. “Continue” signs you out and opens the account of this link."))
        }
        Some(OpenedBy::Link(_)) | None => None,
    };
    let content = html! {
        h1 { (t!("{Webhooks}")) }
        @if let Some(how) = &signed_in {
            p.warning role="note" {
                (how) " "
                (t!("What you enter there goes to that account. Continue only if you expected this link."))
            }
        }
        form.stack method="post" action=(PORTAL_PATH) data-submit=[signed_in.is_none().then_some("0")] {
            input type="hidden" name=(LINK) value=(query.get(LINK));
            button.primary type="submit" { (t!("Continue")) }
        }
    };
    Ok(document::bare(&t!("{Webhooks}"), content))
}

/// Gives the page the brand of the link's tenant.
async fn show_brand_of(dashboard: &Dashboard, link: &PortalLink) -> Answer<()> {
    let tenant = dashboard.operations.stored_tenant(link.tenant).await?;
    document::set_brand(PageBrand::of_tenant(&dashboard.operations, &tenant)?);
    Ok(())
}

/// `POST /dashboard/portal`
async fn open(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Bytes,
) -> Answer<Response> {
    if !csrf::is_same_origin(&headers) {
        return Err(Problem::forbidden("this form does not come from a page of this server").into());
    }
    let fields = Fields::read(&body);
    let link = match dashboard.operations.portal_link(fields.get(LINK)).await {
        Err(Error::NotFound(_)) => {
            let peer = extensions.get::<Peer>().map(|peer| peer.0);
            dashboard.operations.count_unknown_key(Interface::SignIn, peer)?;
            return Ok(used_up());
        }
        found => found?,
    };
    show_brand_of(&dashboard, &link).await?;
    let current = cookie::session(&headers, dashboard.transport(&headers));
    let current_token = current.as_ref().map(|(token, _)| token.as_str());
    if link.opened_at.is_some() {
        // The visitor reloaded the page, or returned to it through the browser's history.
        return Ok(match current_token {
            Some(token) if is_of_tenant(&dashboard, token, &link).await? => {
                Redirect::to(&landing(&link)).into_response()
            }
            _ => used_up(),
        });
    }
    let place = cookie::place(&headers);
    let session = match dashboard.operations.open_portal_link(&link, place, current_token).await {
        Err(Error::NotFound(_)) => return Ok(used_up()),
        opened => opened?,
    };
    let token = session.token.expose_secret();
    // The new cookie replaces the cookie of the same place (tab or frame), so the session of the replaced cookie is unreachable.
    if let Some((replaced, _)) = current.filter(|(current, at)| current != token && *at == session.place)
        && let Err(error) = dashboard.store.sessions().close_session(&replaced).await
    {
        tracing::warn!(%error, "cannot close the session that a portal link replaced; it stays until it expires");
    }
    let cookie = if session.place == Place::Frame {
        cookie::frame_cookie(token, session.lasts)
    } else {
        cookie::session_cookie(token, session.lasts, dashboard.transport(&headers))
    };
    Ok((cookie, Redirect::to(&session.landing)).into_response())
}

/// Whether the visitor has a session that a link of the same tenant opened: this link or another one.
async fn is_of_tenant(dashboard: &Dashboard, token: &str, link: &PortalLink) -> Answer<bool> {
    let opened_by = dashboard.store.sessions().session(token).await?;
    Ok(matches!(opened_by, Some(OpenedBy::Link(own)) if own.tenant == link.tenant))
}

/// The page for a link that was already opened, has expired or does not exist.
fn used_up() -> Response {
    let content = html! {
        h1 { (t!("This link no longer works")) }
        p { (t!("A link opens once, and only for a short time.")) }
        @if in_frame() {
            p { (t!("Reload the page to continue.")) }
        } @else {
            p { (t!("Ask for a new link, or open the page in the product again.")) }
        }
    };
    (StatusCode::GONE, document::bare(&t!("This link no longer works"), content)).into_response()
}
