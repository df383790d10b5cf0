//! The API keys of a tenant.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use postrider_model::scope::Scope;
use postrider_operations::Error;
use postrider_operations::keys::{CreateKey, Key};

use super::tenant::Entered;
use super::{TENANTS, tenant};
use crate::components::Column::Text;
use crate::components::{Confirmation, Form, NewSecret, empty, head, tags, time, time_if};
use crate::failure::Answer;
use crate::fields::{Fields, Sent};
use crate::page::{OperatorPage, redirect_with};
use crate::texts::Notice;

const SCOPES: [(Scope, &str); 3] = [
    (Scope::Publish, "publish events"),
    (Scope::Read, "read the configuration and the history"),
    (Scope::Manage, "edit, test, retry and replay"),
];

fn scope_tags(key: &Key) -> Markup {
    tags(key.scopes.iter().map(|scope| scope.as_str()))
}

/// The section of the tenant's page with the keys and a form for a new key. `entered` has the fields of a form that is shown again;
/// it is empty for a new form.
pub(super) fn section(page: &OperatorPage, tenant: &str, keys: &[Key], entered: &Fields) -> Markup {
    let scopes = entered.all("scopes");
    let is_new = entered.without(&[]).is_empty();
    html! { section.panel aria-labelledby="keys" {
        h2 #keys { "Keys" }
        @if keys.is_empty() {
            (empty("No keys yet", html! { p { "Programs need a key to publish events, and people need one to sign in here." } }))
        } @else { (table(tenant, keys)) }
        form.stack method="post" action={ (TENANTS) "/" (tenant) "/keys" } {
            (page.visitor.tokens)
            div.field {
                label for="key-name" { "Name of a new key" }
                input.wide #key-name type="text" name="name" value=(entered.get("name")) required autocomplete="off";
            }
            div role="group" aria-label="Scopes" { @for (scope, description) in SCOPES {
                label.check {
                    input type="checkbox" name="scopes" value=(scope.as_str())
                        checked[is_new || scopes.iter().any(|entered| entered == scope.as_str())];
                    " " (scope.as_str()) " " span.faint { (description) }
                }
            } }
            button type="submit" { "Create key" }
        }
    } }
}

fn table(tenant: &str, keys: &[Key]) -> Markup {
    html! { table.rows {
        caption.unseen { "Keys of the tenant" }
        (head(&["Name", "Scopes", "Created", "Last used", "Actions"].map(Text)))
        tbody { @for key in keys { tr {
            th.long scope="row" data-label="Name" { (key.name) }
            td data-label="Scopes" { div { (scope_tags(key)) } }
            td data-label="Created" { (time(key.created_at)) }
            td data-label="Last used" { (time_if(key.last_used_at)) }
            td.actions data-label="Actions" { div {
                a.danger href={ (TENANTS) "/" (tenant) "/keys/" (key.id) "/delete" } { "Delete" span.unseen { " key " (key.name) } }
            } }
        } } }
    } }
}

/// `POST /dashboard/operator/tenants/{id}/keys`
pub(super) async fn create(page: OperatorPage, Path(id): Path<String>, Sent(fields): Sent) -> Answer<Response> {
    let scopes = fields.all("scopes").iter().filter_map(|scope| scope.parse().ok()).collect();
    let request = CreateKey { name: fields.get("name").to_owned(), scopes };
    match page.operations.create_key(page.visitor.caller, &id, request).await {
        Ok(created) => {
            let instruction = "Store it now, and share it securely.".into();
            let secret = NewSecret { id: "key", title: "New key".into(), instruction, value: &created.key };
            Ok((StatusCode::CREATED, tenant::show_with(&page, &id, Entered::default(), secret.show()).await?)
                .into_response())
        }
        Err(error) => {
            let form = Form::refused(fields, error)?;
            let entered = Entered { key: form.fields.clone(), ..Entered::default() };
            let shown = tenant::show_with(&page, &id, entered, form.summary()).await?;
            Ok((form.status(), shown).into_response())
        }
    }
}

/// `GET /dashboard/operator/tenants/{id}/keys/{key}/delete`
pub(super) async fn ask_delete(page: OperatorPage, Path((id, key)): Path<(String, String)>) -> Answer {
    let caller = page.visitor.caller;
    let tenant = page.operations.read_tenant(caller, &id).await?;
    let keys = page.operations.list_keys(caller, &id).await?;
    let key = keys.data.iter().find(|known| known.id.to_string() == key).ok_or(Error::NotFound("key"))?;
    let confirmation = Confirmation {
        title: &format!("Delete the key {}?", key.name),
        consequences: html! {
            p { "A key of " (tenant.name) ", created " (time(key.created_at)) ", with the scopes " (scope_tags(key)) "." }
            p {
                @if let Some(at) = key.last_used_at { "It was last used at " (time(at)) "." }
                @else { "It has not been used." }
            }
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
    Ok(page.show(confirmation.title, content))
}

/// `POST /dashboard/operator/tenants/{id}/keys/{key}/delete`
pub(super) async fn delete(page: OperatorPage, Path((id, key)): Path<(String, String)>) -> Answer<Redirect> {
    page.operations.delete_key(page.visitor.caller, &id, &key).await?;
    Ok(redirect_with(&format!("{TENANTS}/{id}"), Notice::KeyDeleted))
}
