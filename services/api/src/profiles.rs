//! `GET /v1/profiles`: what a tenant's deliveries can look like.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use postrider_http::problem::Problem;
use postrider_model::endpoint::UrlRule;
use postrider_model::subscription::MatchKind;
use postrider_profiles::Profile as LoadedProfile;
use postrider_store::config::Scope;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::Api;
use crate::auth::Caller;
use crate::page::List;
use crate::request::Params;

/// A profile: everything that makes deliveries look like one product's.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Profile {
    pub(crate) name: String,
    pub(crate) description: String,
    /// The event types that the product documents.
    pub(crate) event_types: Vec<EventTypeInfo>,
    /// Whether other types are the product's, too.
    pub(crate) open_catalog: bool,
    /// Attribute -> how a filter on it matches: `exact`, `domain` or `ip`.
    pub(crate) attributes: BTreeMap<String, &'static str>,
    /// Whether endpoints may have `http` URLs.
    pub(crate) http_allowed: bool,
    pub(crate) retry_schedule_seconds: Vec<u32>,
    pub(crate) timeout_seconds: f64,
    /// Longest `Retry-After` that is honoured.
    pub(crate) retry_after_seconds_max: f64,
    /// Attempts a second to one endpoint unless it says otherwise; absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate_per_second: Option<f64>,
    /// The product's own signature header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signature_header: Option<String>,
    /// Whether `webhook-id`, `webhook-timestamp` and `webhook-signature` are sent.
    pub(crate) standard_headers: bool,
    /// `web`, `pushover`.
    pub(crate) channels: Vec<&'static str>,
}

/// An event type of a catalog.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventTypeInfo {
    pub(crate) name: String,
    /// The name on the wire, where it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wire_name: Option<String>,
    pub(crate) description: String,
    /// An example of `data`.
    #[schema(value_type = serde_json::Value, example = json!({"email": "recipient@example.com"}))]
    pub(crate) sample: Box<RawValue>,
}

impl From<&LoadedProfile> for Profile {
    fn from(profile: &LoadedProfile) -> Self {
        let event_types = profile.catalog.iter().map(|info| EventTypeInfo {
            name: info.name.to_string(),
            wire_name: info.wire_name.clone(),
            description: info.description.clone(),
            sample: info.sample.clone(),
        });
        let kind = |kind: &MatchKind| match kind {
            MatchKind::Exact => "exact",
            MatchKind::Domain => "domain",
            MatchKind::Ip => "ip",
        };
        Self {
            name: profile.name.clone(),
            description: profile.description.clone(),
            event_types: event_types.collect(),
            open_catalog: profile.open_catalog,
            attributes: profile.attributes.iter().map(|(name, how)| (name.clone(), kind(how))).collect(),
            http_allowed: profile.url_rule == UrlRule::HttpAllowed,
            retry_schedule_seconds: profile.retry_schedule.seconds().to_vec(),
            timeout_seconds: profile.timeout.as_secs_f64(),
            retry_after_seconds_max: profile.retry_after_max.as_secs_f64(),
            rate_per_second: profile.default_rate,
            signature_header: profile.signature.as_ref().map(|scheme| scheme.header.clone()),
            standard_headers: profile.standard_headers,
            channels: profile.channels.iter().map(|channel| channel.as_str()).collect(),
        }
    }
}

/// List profiles
///
/// A tenant sees its own.
#[utoipa::path(get, operation_id = "list_profiles", path = "/v1/profiles", tag = "profiles",
    responses((status = 200, body = List<Profile>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
) -> Result<Json<List<Profile>>, Problem> {
    params.only(&[], None)?;
    let data = match caller.visible(Scope::Read)? {
        None => api.profiles.iter().map(|profile| Profile::from(profile.as_ref())).collect(),
        Some(tenant) => vec![Profile::from(api.profile(&api.tenant(tenant).await?.draft.profile)?.as_ref())],
    };
    Ok(Json(List::whole(data)))
}
