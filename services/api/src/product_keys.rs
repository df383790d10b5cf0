//! `/v1/keys`: keys that publish for several tenants or for all, one for a whole product.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use postrider_http::problem::{FieldError, Problem};
use postrider_model::limits::PRODUCT_KEY_TENANTS_MAX;
use postrider_store::config::{KeyTenants, ProductKey as StoredKey};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Api;
use crate::auth::Caller;
use crate::errors::{no_such, store_problem};
use crate::keys::Scope;
use crate::page::List;
use crate::request::{Params, StrictJson};
use crate::tenants::check_name;
use crate::time::shown;

/// The tenants that a key publishes for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(untagged, expecting = "expected \"all\", or an array of tenants by id or external id")]
#[schema(example = json!(["ten_0197e7a1b2c37d4e8f90a1b2c3d4e5f6", "acme"]))]
pub(crate) enum Tenants {
    /// Every tenant, also those of the future: `all`.
    All(All),
    /// These, by id or external id; read as ids. 1 to 1,000.
    Several(Vec<String>),
}

/// Every tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum All {
    /// The one word.
    All,
}

/// A product key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateProductKey {
    /// 1 to 200 bytes, for people.
    name: String,
    /// `publish`, the only scope that such a key can have.
    #[schema(example = json!(["publish"]))]
    scopes: Vec<Scope>,
    tenants: Tenants,
}

/// A product key, without its text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProductKey {
    #[schema(example = "key_0197e7a1b2c37d4e8f90a1b2c3d4e5f6")]
    id: String,
    name: String,
    #[schema(example = json!(["publish"]))]
    scopes: Vec<Scope>,
    tenants: Tenants,
    #[schema(format = DateTime)]
    created_at: String,
}

/// A product key that was just made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreatedProductKey {
    /// The key's text: shown this once.
    #[schema(example = "prk_0pXk4l1c0tQm7v2yZb8sWn5dRf3hJg6a")]
    key: String,
    #[serde(flatten)]
    shown: ProductKey,
}

impl From<StoredKey> for ProductKey {
    fn from(key: StoredKey) -> Self {
        let several = |ids: &[postrider_model::ids::TenantId]| ids.iter().map(ToString::to_string).collect();
        let tenants = match &key.tenants {
            KeyTenants::All => Tenants::All(All::All),
            KeyTenants::Several(ids) => Tenants::Several(several(ids)),
            KeyTenants::One(id) => Tenants::Several(several(&[*id])),
        };
        let (id, created_at) = (key.id.to_string(), shown(key.created_at));
        Self { id, name: key.name, scopes: vec![Scope::Publish], tenants, created_at }
    }
}

impl Api {
    /// The tenants that a request for a key names.
    async fn tenants_of(&self, request: &CreateProductKey) -> Result<KeyTenants, Problem> {
        let mut errors = Vec::new();
        if let Err(detail) = check_name(&request.name) {
            errors.push(FieldError::new("/name", detail));
        }
        if request.scopes != [Scope::Publish] {
            errors.push(FieldError::new("/scopes", "a key for several tenants has the one scope `publish`"));
        }
        let names = match &request.tenants {
            Tenants::All(All::All) => &[][..],
            Tenants::Several(names) if (1..=PRODUCT_KEY_TENANTS_MAX).contains(&names.len()) => names,
            Tenants::Several(names) => {
                let detail = format!("1 to {PRODUCT_KEY_TENANTS_MAX} tenants or \"all\", got {}", names.len());
                errors.push(FieldError::new("/tenants", detail));
                &[]
            }
        };
        let mut found = Vec::new();
        for (index, name) in names.iter().enumerate() {
            match self.find_tenant(name).await {
                Ok(tenant) => found.push(tenant),
                Err(problem) if problem.status == 404 => {
                    errors.push(FieldError::new(format!("/tenants/{index}"), problem.detail));
                }
                Err(problem) => return Err(problem),
            }
        }
        if !errors.is_empty() {
            return Err(Problem::unprocessable(errors));
        }
        Ok(if names.is_empty() { KeyTenants::All } else { KeyTenants::several(found) })
    }
}

/// Make a key for several tenants
///
/// It publishes for the tenants that it names, or for all, and does nothing else. A publish with it names the tenant by `?tenant=`
/// or in the event. The key is shown this once. Takes an operator key.
#[utoipa::path(post, operation_id = "create_product_key", path = "/v1/keys", tag = "keys", request_body = CreateProductKey,
    responses((status = 201, body = CreatedProductKey), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    StrictJson(request): StrictJson<CreateProductKey>,
) -> Result<(StatusCode, Json<CreatedProductKey>), Problem> {
    caller.operator()?;
    params.only(&[], None)?;
    let tenants = api.tenants_of(&request).await?;
    let made = api.edits_of(caller)?.create_product_key(&request.name, tenants).await.map_err(store_problem)?;
    let key = made.text.expose_secret().to_owned();
    Ok((StatusCode::CREATED, Json(CreatedProductKey { key, shown: made.key.into() })))
}

/// List keys for several tenants
///
/// Takes an operator key.
#[utoipa::path(get, operation_id = "list_product_keys", path = "/v1/keys", tag = "keys",
    responses((status = 200, body = List<ProductKey>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
) -> Result<Json<List<ProductKey>>, Problem> {
    caller.operator()?;
    params.only(&[], None)?;
    let keys = api.store.list_product_keys().await.map_err(store_problem)?;
    Ok(Json(List::whole(keys.into_iter().map(ProductKey::from).collect())))
}

/// Delete a key for several tenants
///
/// When this is answered, the key is refused everywhere. Takes an operator key.
#[utoipa::path(delete, operation_id = "delete_product_key", path = "/v1/keys/{key_id}", tag = "keys",
    params(("key_id" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(key_id): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.operator()?;
    params.only(&[], None)?;
    let key = key_id.parse().map_err(|_| no_such("key"))?;
    api.edits_of(caller)?.delete_product_key(key).await.map_err(store_problem)?;
    Ok(StatusCode::NO_CONTENT)
}
