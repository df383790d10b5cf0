//! The API keys of a tenant.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use postrider_http::problem::{Problem, read_json};
use serde_json::json;

use super::{TENANTS, tenant};
use crate::dashboard::components::Column::Text;
use crate::dashboard::components::form::FormErrors;
use crate::dashboard::components::secret::NewSecret;
use crate::dashboard::components::{Confirmation, empty, head, tags, time};
use crate::dashboard::failure::Failure;
use crate::dashboard::fields::Form;
use crate::dashboard::layout::Section;
use crate::dashboard::page::{OperatorPage, form_problem, redirect_with, refused};
use crate::dashboard::texts::Notice;
use crate::errors::no_such;
use crate::keys::{self, CreateKey, Key, Scope};
use crate::request::{Params, StrictJson};

const SCOPES: [(Scope, &str); 3] = [
    (Scope::Publish, "publish events"),
    (Scope::Read, "read the configuration and the log"),
    (Scope::Manage, "edit, test, retry and replay"),
];

fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Publish => "publish",
        Scope::Read => "read",
        Scope::Manage => "manage",
    }
}

fn scope_tags(key: &Key) -> Markup {
    tags(key.scopes.iter().map(|scope| scope_name(*scope)))
}

/// The section of the tenant's page: the keys, and a form for a new one.
pub(super) fn section(page: &OperatorPage, tenant: &str, keys: &[Key]) -> Markup {
    html! { section.panel aria-labelledby="keys" {
        h2 #keys { "Keys" }
        @if keys.is_empty() {
            (empty("No keys yet", html! { p { "Programs need a key to publish events, and people need one to sign in here." } }))
        } @else { (table(tenant, keys)) }
        form.stack method="post" action={ (TENANTS) "/" (tenant) "/keys" } {
            (page.visitor.tokens)
            div.field {
                label for="key-name" { "Name of a new key" }
                input.wide #key-name type="text" name="name" required autocomplete="off";
            }
            div role="group" aria-label="Scopes" { @for (scope, description) in SCOPES {
                label.check {
                    input type="checkbox" name="scopes" value=(scope_name(scope)) checked;
                    " " (scope_name(scope)) " " span.faint { (description) }
                }
            } }
            button type="submit" { "Create key" }
        }
    } }
}

fn table(tenant: &str, keys: &[Key]) -> Markup {
    html! { table.rows {
        caption.unseen { "Keys of the tenant" }
        (head(&["Name", "Scopes", "Created", "Actions"].map(Text)))
        tbody { @for key in keys { tr {
            th.long scope="row" data-label="Name" { (key.name) }
            td data-label="Scopes" { div { (scope_tags(key)) } }
            td data-label="Created" { (time(&key.created_at)) }
            td.actions data-label="Actions" { div {
                a.danger href={ (TENANTS) "/" (tenant) "/keys/" (key.id) "/delete" } { "Delete" span.unseen { " key " (key.name) } }
            } }
        } } }
    } }
}

/// `POST /dashboard/operator/tenants/{id}/keys`
pub(super) async fn create(
    page: OperatorPage,
    Path(id): Path<String>,
    Form(fields): Form,
) -> Result<Response, Failure> {
    let body = json!({"name": fields.get("name"), "scopes": fields.all("scopes")});
    let request: Result<CreateKey, Problem> = read_json(body.to_string().as_bytes());
    let (state, path) = (State(Arc::clone(&page.api)), Path(id.clone()));
    let created = match request {
        Ok(request) => keys::create(state, page.visitor.caller, Params::default(), path, StrictJson(request)).await,
        Err(problem) => Err(problem),
    };
    match created {
        Ok((status, created)) => {
            let instruction = "Store it now, and share it securely.";
            let secret = NewSecret { id: "key", title: "New key", instruction, value: &created.0.key };
            Ok((status, tenant::show_with(&page, &id, secret.show()).await?).into_response())
        }
        Err(problem) => {
            let problem = form_problem(problem)?;
            let summary = FormErrors(Some(&problem)).summary();
            Ok(refused(&problem, tenant::show_with(&page, &id, summary).await?))
        }
    }
}

/// `GET /dashboard/operator/tenants/{id}/keys/{key}/delete`
pub(super) async fn ask_delete(page: OperatorPage, Path((id, key)): Path<(String, String)>) -> Result<Markup, Failure> {
    let api = &page.api;
    let tenant = api.tenant(api.find_tenant(&id).await?).await?;
    let (state, path) = (State(Arc::clone(api)), Path(id.clone()));
    let keys = keys::list(state, page.visitor.caller, Params::default(), path).await?.0;
    let key = keys.data.iter().find(|known| known.id == key).ok_or_else(|| no_such("key"))?;
    let confirmation = Confirmation {
        title: &format!("Delete the key {}?", key.name),
        consequences: html! {
            p { "A key of " (tenant.draft.name) ", created " (time(&key.created_at)) ", with the scopes " (scope_tags(key)) "." }
            p {
                "Programs that use it can no longer publish or read, and people who signed in with it are signed out. "
                "This cannot be undone."
            }
        },
        action: &format!("{TENANTS}/{id}/keys/{}/delete", key.id),
        button: "Delete key",
        back: &format!("{TENANTS}/{id}"),
    };
    let content = confirmation.ask(&page.visitor.tokens, &html! {});
    Ok(page.show(Section::Tenants, confirmation.title, content))
}

/// `POST /dashboard/operator/tenants/{id}/keys/{key}/delete`
pub(super) async fn delete(page: OperatorPage, Path((id, key)): Path<(String, String)>) -> Result<Redirect, Failure> {
    let state = State(Arc::clone(&page.api));
    keys::delete(state, page.visitor.caller, Params::default(), Path((id.clone(), key))).await?;
    Ok(redirect_with(&format!("{TENANTS}/{id}"), Notice::KeyDeleted))
}
