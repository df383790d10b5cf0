//! Create, list, read, edit, delete.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use postrider_http::problem::{FieldError, Problem};
use postrider_model::event::EventType;
use postrider_model::ids::{EndpointId, TenantId};
use postrider_profiles::{Profile, is_header_value};
use postrider_signature::{KeyPair, SecretUsage, check_imported, generate_secret};
use postrider_store::config::{
    Channel, Endpoint as StoredEndpoint, EndpointDraft, NewEndpoint, Scope, SignatureKey, Tenant,
};
use secrecy::{ExposeSecret, SecretString};

use super::check::{Rules, kept_for_another_origin, of_touched};
use super::model::{CreateEndpoint, CreatedEndpoint, EditEndpoint, Endpoint, EndpointInList, EndpointPage};
use crate::Api;
use crate::auth::Caller;
use crate::errors::{edit_problem, no_such, store_problem};
use crate::page::{cursor_of, page_request};
use crate::request::{Params, StrictJson, etag, if_match};

/// Reads an endpoint's id from the path; one that is malformed is one that does not exist.
pub(crate) fn endpoint_id(text: &str) -> Result<EndpointId, Problem> {
    text.parse().map_err(|_| no_such("endpoint"))
}

impl Api {
    /// The tenant, which must be there.
    pub(crate) async fn tenant(&self, id: TenantId) -> Result<Tenant, Problem> {
        self.store.config().get_tenant(id).await.map_err(store_problem)?.ok_or_else(|| no_such("tenant"))
    }

    /// An endpoint that the caller may see.
    pub(crate) async fn endpoint(&self, visible: Option<TenantId>, id: EndpointId) -> Result<StoredEndpoint, Problem> {
        self.store.config().get_endpoint(visible, id).await.map_err(store_problem)?.ok_or_else(|| no_such("endpoint"))
    }

    /// The types that a tenant added to its profile's catalog; nobody asks where the profile takes any.
    pub(crate) async fn event_types_beside(
        &self,
        profile: &Profile,
        tenant: TenantId,
    ) -> Result<Vec<EventType>, Problem> {
        if profile.open_catalog {
            return Ok(Vec::new());
        }
        self.store.config().event_type_names(tenant).await.map_err(store_problem)
    }

    /// An endpoint as people see it.
    pub(crate) fn shown(&self, endpoint: StoredEndpoint) -> Endpoint {
        let breaker = self.breakers.get(endpoint.id);
        Endpoint::new(endpoint, breaker)
    }

    /// Makes an endpoint of the caller's tenant.
    pub(crate) async fn make_endpoint(
        &self,
        caller: Caller,
        mut request: CreateEndpoint,
    ) -> Result<CreatedEndpoint, Problem> {
        let tenant = self.tenant(caller.tenant(Scope::Manage)?).await?;
        let profile = self.profile(&tenant.draft.profile)?;
        let event_types = self.event_types_beside(profile, tenant.id).await?;
        let rules = Rules { profile, limits: &tenant.draft.limits, guard: &self.guard, event_types: &event_types };
        let given = request.secret.take();
        let mut draft = request.into_draft();
        let mut errors = rules.check(&draft);
        let pushover = draft.document.channel == Channel::Pushover;
        if pushover && given.is_some() {
            errors.push(FieldError::new("/secret", "nothing is signed for Pushover; leave it out"));
        }
        let key = NewKey::of(draft.document.signature_key, given, profile, &mut errors);
        if !errors.is_empty() {
            return Err(Problem::unprocessable(errors));
        }
        draft.document.public_key.clone_from(&key.public);
        rules.as_sent(&mut draft.document);
        let secret = key.shown().filter(|_| !pushover);
        let new = NewEndpoint { draft, secret: key.secret };
        let made = self.edits_of(caller)?.config().create_endpoint(tenant.id, &new).await.map_err(store_problem)?;
        Ok(CreatedEndpoint { endpoint: Endpoint::new(made, None), secret })
    }

    /// Edits an endpoint, while its version is the one expected, if one is.
    pub(crate) async fn edit_endpoint(
        &self,
        caller: Caller,
        id: &str,
        expected: Option<i64>,
        request: EditEndpoint,
    ) -> Result<Endpoint, Problem> {
        let (visible, id) = (caller.visible(Scope::Manage)?, endpoint_id(id)?);
        let tenant = self.tenant(self.endpoint(visible, id).await?.tenant).await?;
        let profile = self.profile(&tenant.draft.profile)?;
        let event_types = self.event_types_beside(profile, tenant.id).await?;
        let rules = Rules { profile, limits: &tenant.draft.limits, guard: &self.guard, event_types: &event_types };
        let apply = |draft: &mut EndpointDraft| {
            let (kind, channel) = (draft.document.signature_key, draft.document.channel);
            let before = draft.document.url.clone();
            let touched = request.clone().apply(draft);
            let mut errors = of_touched(rules.check(draft), &touched);
            errors.extend(kept_for_another_origin(&request, before.as_deref(), draft));
            if draft.document.signature_key != kind {
                errors.push(FieldError::new("/signature_key", "is chosen when an endpoint is made; make another one"));
            }
            if draft.document.channel != channel {
                errors.retain(|error| error.pointer != "/channel");
                errors.push(FieldError::new("/channel", "is chosen when an endpoint is made; make another one"));
            }
            if !errors.is_empty() {
                return Err(Problem::unprocessable(errors));
            }
            if touched.contains(&"url") {
                rules.as_sent(&mut draft.document);
            }
            Ok(())
        };
        let endpoint =
            self.edits_of(caller)?.config().edit_endpoint(visible, id, expected, apply).await.map_err(edit_problem)?;
        Ok(self.shown(endpoint))
    }
}

/// What an endpoint is to sign with.
pub(crate) struct NewKey {
    pub(crate) secret: SecretString,
    /// What verifies, when it is not the secret itself.
    pub(crate) public: Option<String>,
}

impl NewKey {
    /// The secret that a customer brought, or a new one, or a new key pair.
    pub(crate) fn of(
        kind: SignatureKey,
        given: Option<String>,
        profile: &Profile,
        errors: &mut Vec<FieldError>,
    ) -> Self {
        let mut wrong = |detail: String| errors.push(FieldError::new("/secret", detail));
        match (kind, given) {
            (SignatureKey::Hmac, None) => Self { secret: generate_secret(), public: None },
            (SignatureKey::Hmac, Some(given)) => {
                if let Err(invalid) = check_imported(&given, SecretUsage::of(profile)) {
                    wrong(invalid.to_string());
                } else if profile.sends_token() && !is_header_value(&given) {
                    wrong("the tenant's profile sends it in a header: visible ASCII, no spaces around it".into());
                }
                Self { secret: SecretString::from(given), public: None }
            }
            (SignatureKey::Ed25519, given) => {
                if given.is_some() {
                    wrong("the keys of an ed25519 endpoint are made here; leave it out".into());
                }
                let KeyPair { private, public } = KeyPair::generate();
                Self { secret: private, public: Some(public) }
            }
        }
    }

    /// The secret, for showing it once, unless there is a public key to show instead.
    pub(crate) fn shown(&self) -> Option<String> {
        self.public.is_none().then(|| self.secret.expose_secret().to_owned())
    }
}

fn with_etag<T: serde::Serialize>(status: StatusCode, version: i64, body: T) -> Response {
    (status, [(header::ETAG, etag(version))], Json(body)).into_response()
}

/// Make an endpoint
///
/// The secret is shown this once; an `ed25519` endpoint has a public key, which is always shown. Refused with 409 at the tenant's limit.
#[utoipa::path(post, operation_id = "create_endpoint", path = "/v1/endpoints", tag = "endpoints",
    params(("tenant" = Option<String>, Query, description = "with an operator key: whose")), request_body = CreateEndpoint,
    responses((status = 201, body = CreatedEndpoint, headers(("ETag" = String))), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    StrictJson(request): StrictJson<CreateEndpoint>,
) -> Result<Response, Problem> {
    params.only(&[], None)?;
    let made = api.make_endpoint(caller, request).await?;
    Ok(with_etag(StatusCode::CREATED, made.endpoint.version, made))
}

/// List endpoints
#[utoipa::path(get, operation_id = "list_endpoints", path = "/v1/endpoints", tag = "endpoints",
    params(("tenant" = Option<String>, Query, description = "with an operator key: whose"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = EndpointPage), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
) -> Result<Json<EndpointPage>, Problem> {
    let params = params.only(&["limit", "cursor"], None)?;
    let tenant = caller.tenant(Scope::Read)?;
    let page =
        api.store.config().list_endpoints(tenant, &page_request("endpoints", &params)?).await.map_err(store_problem)?;
    let data = page.items.into_iter().map(|item| EndpointInList {
        endpoint: api.shown(item.endpoint),
        successes: item.successes,
        failures: item.failures,
    });
    let next_cursor = page.next_cursor.map(|cursor| cursor_of("endpoints", &cursor));
    Ok(Json(EndpointPage { data: data.collect(), next_cursor, usage: page.usage, limit: page.limit }))
}

/// Read an endpoint
#[utoipa::path(get, operation_id = "read_endpoint", path = "/v1/endpoints/{id}", tag = "endpoints", params(("id" = String, Path)),
    responses((status = 200, body = Endpoint, headers(("ETag" = String))), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn read(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    params.only(&[], None)?;
    let endpoint = api.endpoint(caller.visible(Scope::Read)?, endpoint_id(&id)?).await?;
    Ok(with_etag(StatusCode::OK, endpoint.version, api.shown(endpoint)))
}

/// Edit an endpoint
///
/// What is absent stays, what is `null` is cleared. In force when this is answered. An edit that changes nothing makes no new
/// version. Header values are not sent to another origin (scheme, host, port) than the one they were given for: with such a `url`
/// they must be given again, 422 otherwise.
#[utoipa::path(patch, operation_id = "edit_endpoint", path = "/v1/endpoints/{id}", tag = "endpoints",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)), request_body = EditEndpoint,
    responses((status = 200, body = Endpoint, headers(("ETag" = String))), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn edit(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(id): Path<String>,
    headers: HeaderMap,
    StrictJson(request): StrictJson<EditEndpoint>,
) -> Result<Response, Problem> {
    params.only(&[], None)?;
    let endpoint = api.edit_endpoint(caller, &id, if_match(&headers)?, request).await?;
    Ok(with_etag(StatusCode::OK, endpoint.version, endpoint))
}

/// Delete an endpoint
///
/// Its pending deliveries are discarded when their next attempt is due.
#[utoipa::path(delete, operation_id = "delete_endpoint", path = "/v1/endpoints/{id}", tag = "endpoints",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    params.only(&[], None)?;
    let (visible, id) = (caller.visible(Scope::Manage)?, endpoint_id(&id)?);
    api.edits_of(caller)?.config().delete_endpoint(visible, id, if_match(&headers)?).await.map_err(store_problem)?;
    Ok(StatusCode::NO_CONTENT)
}
