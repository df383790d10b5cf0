//! `/v1/tenants`: the operator's customers.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use postrider_http::problem::{FieldError, Problem};
use postrider_model::ids::TenantId;
use postrider_model::limits::{ATTEMPT_TIMEOUT_MAX, NAME_BYTES_MAX};
use postrider_profiles::Profiles;
use postrider_store::config::{Scope, Tenant as StoredTenant, TenantDraft, TenantLimits};
use postrider_store::history::PageRequest;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Api;
use crate::auth::Caller;
use crate::errors::{edit_problem, no_such, store_problem};
use crate::page::{List, page_request};
use crate::request::{Params, StrictJson, clearable, etag, if_match};
use crate::time::shown;

/// Highest rate that a limit can name.
const RATE_MAX: f64 = 1_000_000.0;
/// Most endpoints that a limit can name.
const ENDPOINTS_MAX: u32 = 1_000_000;
/// Most waiting deliveries that a limit can name.
const WAITING_DELIVERIES_LIMIT_MAX: u32 = 100_000_000;
/// Most bytes of a description.
const DESCRIPTION_BYTES_MAX: usize = 2_000;
/// Longest `disable_after_days`.
const DISABLE_DAYS_MAX: u32 = 365;

/// A tenant to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateTenant {
    /// 1 to 200 bytes, for people.
    pub(crate) name: String,
    /// The profile that its deliveries look like, see `GET /v1/profiles`.
    pub(crate) profile: String,
    /// Your own id for it, unique among tenants: it can be used wherever the id can. It must not begin with `ten_`; with a dot
    /// in it, it cannot be a routing key.
    pub(crate) external_id: Option<String>,
    /// What it may use.
    #[serde(default)]
    pub(crate) limits: Option<Limits>,
    /// Refuse events of a type that neither the profile's catalog nor the tenant names, see `GET /v1/event-types`.
    #[serde(default)]
    pub(crate) enforce_catalog: bool,
    /// Refuse events whose data does not fit the JSON Schema that the tenant said for their type.
    #[serde(default)]
    pub(crate) enforce_schemas: bool,
    /// Switch an endpoint off after so many days of nothing but failures; 0: never; absent: as the profile says.
    pub(crate) disable_after_days: Option<u32>,
}

/// What a tenant may use; what is absent takes the profile's or the deployment's value.
#[derive(Debug, Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    /// Endpoints, 100 unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoints: Option<u32>,
    /// Events a second that it may publish, 2,000 unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) events_per_second: Option<f64>,
    /// Longest attempt timeout that its endpoints may ask for, 1 to 60 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_seconds_max: Option<u32>,
    /// Highest rate that its endpoints may ask for, attempts a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate_per_second_max: Option<f64>,
    /// Deliveries that may wait, 1,000,000 unless said otherwise; beyond, publishing is answered with 429.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) waiting_deliveries: Option<u32>,
}

/// An edit of a tenant: what is absent stays, what is `null` is cleared.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EditTenant {
    #[schema(example = "acme")]
    name: Option<String>,
    /// Only while the tenant has no endpoints.
    profile: Option<String>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<String>)]
    external_id: Option<Option<String>>,
    /// Replaces all limits.
    limits: Option<Limits>,
    enforce_catalog: Option<bool>,
    enforce_schemas: Option<bool>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<u32>)]
    disable_after_days: Option<Option<u32>>,
}

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tenant {
    #[schema(example = "ten_0197e7a1b2c37d4e8f90a1b2c3d4e5f6")]
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) profile: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) external_id: Option<String>,
    pub(crate) limits: Limits,
    pub(crate) enforce_catalog: bool,
    pub(crate) enforce_schemas: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disable_after_days: Option<u32>,
    /// Its ETag is `"v<version>"`.
    pub(crate) version: i64,
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
    #[schema(format = DateTime)]
    pub(crate) updated_at: String,
}

impl From<StoredTenant> for Tenant {
    fn from(tenant: StoredTenant) -> Self {
        let StoredTenant { id, draft, version, created_at, updated_at } = tenant;
        let TenantLimits { endpoints, events_per_second, timeout_seconds_max, rate_per_second_max, waiting_deliveries } =
            draft.limits;
        Self {
            id: id.to_string(),
            name: draft.name,
            profile: draft.profile,
            external_id: draft.external_id,
            limits: Limits {
                endpoints,
                events_per_second,
                timeout_seconds_max,
                rate_per_second_max,
                waiting_deliveries,
            },
            enforce_catalog: draft.enforce_catalog,
            enforce_schemas: draft.enforce_schemas,
            disable_after_days: draft.disable_after_days,
            version,
            created_at: shown(created_at),
            updated_at: shown(updated_at),
        }
    }
}

impl From<Limits> for TenantLimits {
    fn from(limits: Limits) -> Self {
        let Limits { endpoints, events_per_second, timeout_seconds_max, rate_per_second_max, waiting_deliveries } =
            limits;
        Self { endpoints, events_per_second, timeout_seconds_max, rate_per_second_max, waiting_deliveries }
    }
}

/// What is wrong with a tenant.
fn check(draft: &TenantDraft, profiles: &Profiles) -> Result<(), Problem> {
    let mut errors = Vec::new();
    let mut wrong = |pointer: &str, detail: String| errors.push(FieldError::new(pointer, detail));
    if let Err(detail) = check_name(&draft.name) {
        wrong("/name", detail);
    }
    if profiles.get(&draft.profile).is_none() {
        let names: Vec<&str> = profiles.names().collect();
        wrong("/profile", format!("no such profile; there are: {}", names.join(", ")));
    }
    if let Some(Err(detail)) = draft.external_id.as_deref().map(check_external_id) {
        wrong("/external_id", detail);
    }
    let limits = &draft.limits;
    if limits.endpoints.is_some_and(|endpoints| endpoints > ENDPOINTS_MAX) {
        wrong("/limits/endpoints", format!("0 to {ENDPOINTS_MAX}"));
    }
    if limits.waiting_deliveries.is_some_and(|deliveries| deliveries == 0 || deliveries > WAITING_DELIVERIES_LIMIT_MAX)
    {
        wrong("/limits/waiting_deliveries", format!("1 to {WAITING_DELIVERIES_LIMIT_MAX}"));
    }
    let rates = [
        ("/limits/events_per_second", limits.events_per_second),
        ("/limits/rate_per_second_max", limits.rate_per_second_max),
    ];
    for (pointer, rate) in rates {
        if rate.is_some_and(|rate| !(rate > 0.0 && rate <= RATE_MAX)) {
            wrong(pointer, format!("more than 0, at most {RATE_MAX}"));
        }
    }
    let longest = ATTEMPT_TIMEOUT_MAX.as_secs();
    if limits.timeout_seconds_max.is_some_and(|seconds| !(1..=longest).contains(&seconds.into())) {
        wrong("/limits/timeout_seconds_max", format!("1 to {longest} s"));
    }
    if draft.disable_after_days.is_some_and(|days| days > DISABLE_DAYS_MAX) {
        wrong("/disable_after_days", format!("0 (never) to {DISABLE_DAYS_MAX}"));
    }
    if errors.is_empty() { Ok(()) } else { Err(Problem::unprocessable(errors)) }
}

/// What is wrong with a name that is given to something.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.trim().is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(format!("1 to {NAME_BYTES_MAX} bytes, not only spaces"));
    }
    if name.chars().any(|c| c.is_control() || is_invisible(c)) {
        return Err("no control, invisible or text-direction characters".into());
    }
    Ok(())
}

/// Whether a character shows nothing itself and can make a text read as another: Unicode's format characters (category Cf)
/// and the line and paragraph separators.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

/// What is wrong with words for people that may be longer than a name.
pub(crate) fn check_description(description: &str) -> Result<(), String> {
    let control = |c: char| c.is_control() && c != '\n' && c != '\t';
    if description.len() > DESCRIPTION_BYTES_MAX || description.chars().any(control) {
        return Err(format!("at most {DESCRIPTION_BYTES_MAX} bytes, no control characters but line ends and tabs"));
    }
    Ok(())
}

/// What is wrong with an operator's own id for a tenant: it can stand wherever the tenant's id can, so it must not look
/// like an id, nor like one of our queues in a routing key.
fn check_external_id(external_id: &str) -> Result<(), String> {
    check_name(external_id)?;
    if external_id.starts_with("ten_") || external_id == "postrider" {
        return Err("must not begin with `ten_`, which ids do, and must not be `postrider`".into());
    }
    Ok(())
}

fn shown_with_etag(status: StatusCode, tenant: StoredTenant) -> Response {
    let tag = etag(tenant.version);
    (status, [(header::ETAG, tag)], Json(Tenant::from(tenant))).into_response()
}

/// Make a tenant
///
/// Takes an operator key.
#[utoipa::path(post, operation_id = "create_tenant", path = "/v1/tenants", tag = "tenants", request_body = CreateTenant,
    responses((status = 201, body = Tenant, headers(("ETag" = String))), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    StrictJson(request): StrictJson<CreateTenant>,
) -> Result<Response, Problem> {
    params.only(&[], None)?;
    Ok(shown_with_etag(StatusCode::CREATED, api.make_tenant(caller, request).await?))
}

impl Api {
    /// The tenant of this id or external id. An id is not looked up: whether there is such a tenant shows where it is used.
    ///
    /// # Errors
    /// 404 for a name that is neither, 503 while the database is away.
    pub(crate) async fn find_tenant(&self, name: &str) -> Result<TenantId, Problem> {
        if let Ok(id) = name.parse() {
            return Ok(id);
        }
        // No external id begins so; and nothing that is stored has a NUL.
        if name.starts_with("ten_") || name.contains('\0') {
            return Err(no_such("tenant"));
        }
        let found = self.store.config().tenant_by_external_id(name).await.map_err(store_problem)?;
        found.ok_or_else(|| no_such("tenant"))
    }

    /// Makes a tenant.
    pub(crate) async fn make_tenant(&self, caller: Caller, request: CreateTenant) -> Result<StoredTenant, Problem> {
        caller.operator()?;
        let draft = TenantDraft {
            name: request.name,
            profile: request.profile,
            external_id: request.external_id,
            limits: request.limits.unwrap_or_default().into(),
            enforce_catalog: request.enforce_catalog,
            enforce_schemas: request.enforce_schemas,
            disable_after_days: request.disable_after_days,
        };
        check(&draft, &self.profiles)?;
        self.edits_of(caller)?.config().create_tenant(&draft).await.map_err(store_problem)
    }

    /// Edits a tenant, while its version is the one expected, if one is.
    pub(crate) async fn edit_tenant(
        &self,
        caller: Caller,
        id: &str,
        expected: Option<i64>,
        request: EditTenant,
    ) -> Result<StoredTenant, Problem> {
        caller.operator()?;
        let id = self.find_tenant(id).await?;
        if let Some(profile) = &request.profile {
            refuse_other_profile(self, id, profile).await?;
        }
        let apply = |draft: &mut TenantDraft| {
            let request = request.clone();
            draft.name = request.name.unwrap_or_else(|| std::mem::take(&mut draft.name));
            draft.profile = request.profile.unwrap_or_else(|| std::mem::take(&mut draft.profile));
            if let Some(external_id) = request.external_id {
                draft.external_id = external_id;
            }
            if let Some(limits) = request.limits {
                draft.limits = limits.into();
            }
            draft.enforce_catalog = request.enforce_catalog.unwrap_or(draft.enforce_catalog);
            draft.enforce_schemas = request.enforce_schemas.unwrap_or(draft.enforce_schemas);
            if let Some(days) = request.disable_after_days {
                draft.disable_after_days = days;
            }
            check(draft, &self.profiles)
        };
        self.edits_of(caller)?.config().edit_tenant(id, expected, apply).await.map_err(edit_problem)
    }
}

/// List tenants
///
/// Takes an operator key.
#[utoipa::path(get, operation_id = "list_tenants", path = "/v1/tenants", tag = "tenants",
    params(("limit" = Option<u32>, Query, minimum = 1, maximum = 200), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = List<Tenant>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
) -> Result<Json<List<Tenant>>, Problem> {
    caller.operator()?;
    let params = params.only(&["limit", "cursor"], None)?;
    let page = api.store.config().list_tenants(&page_request("tenants", &params)?).await.map_err(store_problem)?;
    Ok(Json(List::of("tenants", page, Tenant::from)))
}

/// Read a tenant
///
/// A tenant's own key with the scope `read` will do.
#[utoipa::path(get, operation_id = "read_tenant", path = "/v1/tenants/{id}", tag = "tenants", params(("id" = String, Path)),
    responses((status = 200, body = Tenant, headers(("ETag" = String))), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn read(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    params.only(&[], None)?;
    let id = api.find_tenant(&id).await?;
    caller.may(Scope::Read, id)?;
    let tenant = api.store.config().get_tenant(id).await.map_err(store_problem)?.ok_or_else(|| no_such("tenant"))?;
    Ok(shown_with_etag(StatusCode::OK, tenant))
}

/// Edit a tenant
///
/// Takes an operator key. What is absent stays, what is `null` is cleared.
#[utoipa::path(patch, operation_id = "edit_tenant", path = "/v1/tenants/{id}", tag = "tenants",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)), request_body = EditTenant,
    responses((status = 200, body = Tenant, headers(("ETag" = String))), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn edit(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(id): Path<String>,
    headers: HeaderMap,
    StrictJson(request): StrictJson<EditTenant>,
) -> Result<Response, Problem> {
    params.only(&[], None)?;
    let tenant = api.edit_tenant(caller, &id, if_match(&headers)?, request).await?;
    Ok(shown_with_etag(StatusCode::OK, tenant))
}

/// Endpoints were checked against the rules of their tenant's profile: another one takes a tenant without endpoints.
async fn refuse_other_profile(api: &Api, id: TenantId, profile: &str) -> Result<(), Problem> {
    let tenant = api.store.config().get_tenant(id).await.map_err(store_problem)?.ok_or_else(|| no_such("tenant"))?;
    if tenant.draft.profile == profile {
        return Ok(());
    }
    let first = PageRequest { limit: 1, cursor: None };
    let usage = api.store.config().list_endpoints(id, &first).await.map_err(store_problem)?.usage;
    if usage == 0 { Ok(()) } else { Err(Problem::conflict(format!("the tenant has {usage} endpoints of its profile"))) }
}

/// Delete a tenant
///
/// With its keys and endpoints; pending deliveries are discarded. Takes an operator key.
#[utoipa::path(delete, operation_id = "delete_tenant", path = "/v1/tenants/{id}", tag = "tenants",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    caller.operator()?;
    params.only(&[], None)?;
    let id = api.find_tenant(&id).await?;
    api.edits_of(caller)?.config().delete_tenant(id, if_match(&headers)?).await.map_err(store_problem)?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_nothing_that_cannot_be_seen() {
        for good in ["acme", "Müller & Söhne", "日本", "naïve 🙂"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["\u{202e}evil", "a\u{200b}b", "a\u{feff}", "\u{2066}x", "soft\u{ad}hyphen", "a\nb", " ", ""] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_external_id_cannot_be_taken_for_an_id_or_a_queue() {
        for good in ["acme", "4711", "org/7", "a.b", "tenant_1"] {
            assert_eq!(check_external_id(good), Ok(()), "{good}");
        }
        for bad in ["ten_operator", "ten_1", "postrider", ""] {
            assert!(check_external_id(bad).is_err(), "{bad}");
        }
    }
}
