//! `/v1/tenants/{id}/keys`: API keys of a tenant.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use postrider_http::problem::{FieldError, Problem};
use postrider_model::ids::TenantId;
use postrider_store::config::{ApiKey, NewKey, Scope as StoredScope, Scopes};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Api;
use crate::auth::Caller;
use crate::errors::{no_such, store_problem};
use crate::page::List;
use crate::request::{Params, StrictJson};
use crate::tenants::check_name;
use crate::time::shown;

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scope {
    /// Publish events.
    Publish,
    /// Read configuration and the log.
    Read,
    /// Edit configuration, test, retry.
    Manage,
}

impl From<Scope> for StoredScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Publish => Self::Publish,
            Scope::Read => Self::Read,
            Scope::Manage => Self::Manage,
        }
    }
}

impl From<StoredScope> for Scope {
    fn from(scope: StoredScope) -> Self {
        match scope {
            StoredScope::Publish => Self::Publish,
            StoredScope::Read => Self::Read,
            StoredScope::Manage => Self::Manage,
        }
    }
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateKey {
    /// 1 to 200 bytes, for people.
    name: String,
    /// One or more.
    scopes: Vec<Scope>,
}

/// A key, without its text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Key {
    #[schema(example = "key_0197e7a1b2c37d4e8f90a1b2c3d4e5f6")]
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) scopes: Vec<Scope>,
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
}

/// A key that was just made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreatedKey {
    /// The key's text: shown this once.
    #[schema(example = "prk_0pXk4l1c0tQm7v2yZb8sWn5dRf3hJg6a")]
    pub(crate) key: String,
    #[serde(flatten)]
    pub(crate) shown: Key,
}

impl From<ApiKey> for Key {
    fn from(key: ApiKey) -> Self {
        let scopes = key.scopes.iter().map(Scope::from).collect();
        Self { id: key.id.to_string(), name: key.name, scopes, created_at: shown(key.created_at) }
    }
}

fn check(request: &CreateKey) -> Result<(), Problem> {
    let mut errors = Vec::new();
    if let Err(detail) = check_name(&request.name) {
        errors.push(FieldError::new("/name", detail));
    }
    if request.scopes.is_empty() {
        errors.push(FieldError::new("/scopes", "one or more of publish, read, manage"));
    }
    if errors.is_empty() { Ok(()) } else { Err(Problem::unprocessable(errors)) }
}

/// A key can pass on what it may do itself, no more.
fn refuse_escalation(caller: Caller, scopes: &[Scope]) -> Result<(), Problem> {
    let Caller::Tenant { scopes: own, .. } = caller else { return Ok(()) };
    match scopes.iter().position(|scope| !own.contains((*scope).into())) {
        None => Ok(()),
        Some(index) => {
            let detail = "your key does not have this scope, so it cannot give it";
            let mut problem = Problem::forbidden(detail);
            problem.errors.push(FieldError::new(format!("/scopes/{index}"), detail));
            Err(problem)
        }
    }
}

async fn managed(api: &Api, caller: Caller, id: &str) -> Result<TenantId, Problem> {
    let id = api.find_tenant(id).await?;
    caller.may(StoredScope::Manage, id)?;
    Ok(id)
}

/// Make a key
///
/// The key is shown this once. Takes an operator key, or one of the tenant with the scope `manage`, which can give no scope that
/// it does not have itself.
#[utoipa::path(post, operation_id = "create_key", path = "/v1/tenants/{id}/keys", tag = "keys", params(("id" = String, Path)), request_body = CreateKey,
    responses((status = 201, body = CreatedKey), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(id): Path<String>,
    StrictJson(request): StrictJson<CreateKey>,
) -> Result<(StatusCode, Json<CreatedKey>), Problem> {
    params.only(&[], None)?;
    let tenant = managed(&api, caller, &id).await?;
    check(&request)?;
    refuse_escalation(caller, &request.scopes)?;
    let scopes: Scopes = request.scopes.into_iter().map(StoredScope::from).collect();
    let new = NewKey { name: request.name, scopes };
    let made = api.edits_of(caller)?.config().create_key(tenant, &new).await.map_err(store_problem)?;
    api.keys.made(made.key.id, &made.text, tenant, scopes);
    let key = made.text.expose_secret().to_owned();
    Ok((StatusCode::CREATED, Json(CreatedKey { key, shown: made.key.into() })))
}

/// List keys
#[utoipa::path(get, operation_id = "list_keys", path = "/v1/tenants/{id}/keys", tag = "keys", params(("id" = String, Path)),
    responses((status = 200, body = List<Key>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(id): Path<String>,
) -> Result<Json<List<Key>>, Problem> {
    params.only(&[], None)?;
    let tenant = api.find_tenant(&id).await?;
    caller.may(StoredScope::Read, tenant)?;
    let keys = api.store.config().list_keys(tenant).await.map_err(store_problem)?;
    Ok(Json(List::whole(keys.into_iter().map(Key::from).collect())))
}

/// Delete a key
///
/// When this is answered, the key is refused everywhere.
#[utoipa::path(delete, operation_id = "delete_key", path = "/v1/tenants/{id}/keys/{key_id}", tag = "keys",
    params(("id" = String, Path), ("key_id" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path((id, key_id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    params.only(&[], None)?;
    let tenant = managed(&api, caller, &id).await?;
    let key = key_id.parse().map_err(|_| no_such("key"))?;
    api.edits_of(caller)?.config().delete_key(tenant, key).await.map_err(store_problem)?;
    api.keys.deleted(key);
    Ok(StatusCode::NO_CONTENT)
}
