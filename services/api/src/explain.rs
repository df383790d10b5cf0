//! `GET /v1/events/{id}/explain`: why each endpoint got an event or did not, then and now.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use postrider_http::problem::Problem;
use postrider_model::delivery::EndpointStatus;
use postrider_model::event::Origin;
use postrider_model::explain::{Condition, Explainer, SubscriptionText};
use postrider_model::ids::{EndpointId, EventId};
use postrider_model::payload_filter::Payload;
use postrider_profiles::Profile;
use postrider_store::config::{EndpointVersion, Scope};
use postrider_store::history::EventRow;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::Api;
use crate::auth::Caller;
use crate::errors::{no_such, store_problem};
use crate::request::Params;

/// One condition of an endpoint, and how the event stands to it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reason {
    /// `status`, `origin`, `event_types`, `filters.<attribute>` or `payload_filter`; `subscription` when it cannot be read.
    #[schema(example = "filters.bridge")]
    pub(crate) check: String,
    /// What is asked for.
    #[schema(value_type = Value)]
    pub(crate) expected: Value,
    /// What there is.
    #[schema(value_type = Value)]
    pub(crate) actual: Value,
    pub(crate) passed: bool,
}

/// As it would be decided now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Now {
    pub(crate) matched: bool,
    pub(crate) reasons: Vec<Reason>,
}

/// Why an endpoint got an event, or did not.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Explanation {
    #[schema(example = "ep_0197e7a1b2c37d4e8f90a1b2c3d4e5f6")]
    pub(crate) endpoint_id: String,
    /// What was decided; `null`: nothing yet.
    #[schema(required = true)]
    pub(crate) matched: Option<bool>,
    /// Its conditions as they were then; empty while nothing is decided.
    pub(crate) reasons: Vec<Reason>,
    pub(crate) now: Now,
}

/// Every endpoint of the tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Explanations {
    /// Newest first, at most 1,000. Endpoints that were deleted before the event are left out.
    pub(crate) data: Vec<Explanation>,
}

impl From<Condition> for Reason {
    fn from(check: Condition) -> Self {
        let Condition { check, expected, actual, passed } = check;
        Self { check, expected, actual, passed }
    }
}

/// Explain an event
///
/// For each endpoint: what was decided, by its conditions of then, and what would be decided now. Conditions are checked
/// again with the profile of today. One event of a tenant is explained at once (429).
#[utoipa::path(get, operation_id = "explain_event", path = "/v1/events/{id}/explain", tag = "events",
    params(("id" = String, Path), ("tenant" = Option<String>, Query, description = "with an operator key: whose")),
    responses((status = 200, body = Explanations), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn explain(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(id): Path<String>,
) -> Result<Json<Explanations>, Problem> {
    params.only(&[], None)?;
    let tenant = caller.tenant(Scope::Read)?;
    let id: EventId = id.parse().map_err(|_| no_such("event"))?;
    let event =
        api.store.history().get_event(tenant, &id).await.map_err(store_problem)?.ok_or_else(|| no_such("event"))?;
    let (day, since) = (event.summary.event_day, event.summary.accepted_at);
    let name = api.tenant(tenant).await?.draft.profile;
    let profile = Arc::clone(api.profile(&name)?);

    let decision = api.store.history().get_decision(tenant, &id, day).await.map_err(store_problem)?;
    let then = match &decision {
        Some(decision) => {
            api.store.config().endpoints_at(tenant, decision.config_version, since).await.map_err(store_problem)?
        }
        None => Vec::new(),
    };
    let now = api.store.config().endpoints_at(tenant, i64::MAX, since).await.map_err(store_problem)?;
    let explain = move || {
        let explainer = Explaining { profile: &profile, event: &event };
        let mut then: BTreeMap<EndpointId, Vec<Reason>> = explainer.reasons(&then);
        let mut reasons_now = explainer.reasons(&now);
        let explain = |now: &EndpointVersion| {
            let reasons = reasons_now.remove(&now.endpoint).unwrap_or_default();
            let mut then = || then.remove(&now.endpoint).unwrap_or_else(|| vec![status(None)]);
            Explanation {
                endpoint_id: now.endpoint.to_string(),
                matched: decision.as_ref().map(|decision| decision.matched.contains(&now.endpoint)),
                reasons: decision.as_ref().map(|_| then()).unwrap_or_default(),
                now: Now { matched: reasons.iter().all(|reason| reason.passed), reasons },
            }
        };
        Explanations { data: now.iter().map(explain).collect() }
    };
    Ok(Json(api.heavy.explain(tenant, explain).await?))
}

/// An event, and what its product's profile says about it.
struct Explaining<'a> {
    profile: &'a Profile,
    event: &'a EventRow,
}

/// Whether an endpoint was active at some version; `None`: it did not exist.
fn status(endpoint: Option<&EndpointVersion>) -> Reason {
    let status = match endpoint {
        None => "not made yet",
        Some(endpoint) if endpoint.deleted => "deleted",
        Some(endpoint) => endpoint.status.as_str(),
    };
    let active = EndpointStatus::Active.as_str();
    Reason { check: "status".into(), expected: json!(active), actual: json!(status), passed: status == active }
}

impl Explaining<'_> {
    /// Every condition of each of these endpoints. Their payload filters are asked in the order of fan-out, which is that of
    /// their ids, so that its budget ends at the same place.
    fn reasons(&self, endpoints: &[EndpointVersion]) -> BTreeMap<EndpointId, Vec<Reason>> {
        let endpoints: BTreeMap<_, _> = endpoints.iter().map(|endpoint| (endpoint.endpoint, endpoint)).collect();
        let summary = &self.event.summary;
        let mut explainer = Explainer::default();
        for endpoint in endpoints.values() {
            let document = &endpoint.document;
            let subscription = SubscriptionText {
                event_types: &document.event_types,
                filters: &document.filters,
                payload_filter: document.payload_filter.as_ref(),
            };
            explainer.add(subscription, |attribute: &str| self.profile.attribute_kind(attribute));
        }
        let payload = Payload {
            data: self.event.data.as_deref().unwrap_or_default(),
            metadata: self.event.metadata.as_deref().map(RawValue::get),
            attributes: &summary.attributes,
        };
        let checks = explainer.explain(&summary.event_type, &payload);
        let reasons = endpoints.into_iter().zip(checks).map(|((id, endpoint), checks)| {
            let mut reasons = vec![status(Some(endpoint))];
            if !endpoint.deleted {
                reasons.push(self.origin());
                reasons.extend(checks.into_iter().map(|check| self.reason(check)));
            }
            (id, reasons)
        });
        reasons.collect()
    }

    fn reason(&self, check: Condition) -> Reason {
        let mut reason = Reason::from(check);
        if reason.check == "payload_filter" && self.event.data.is_none() {
            (reason.actual, reason.passed) = (json!("the payload was expunged"), false);
        }
        reason
    }

    /// Whether the product fires for what was caused there.
    fn origin(&self) -> Reason {
        let summary = &self.event.summary;
        let fires = |origin: &Origin| self.profile.origin_fires(&summary.event_type, *origin);
        let fire: Vec<&str> =
            [Origin::Api, Origin::Dashboard].iter().filter(|o| fires(o)).map(|o| o.as_str()).collect();
        let (expected, actual) = (json!(fire), json!(summary.origin.as_str()));
        Reason { check: "origin".into(), expected, actual, passed: fires(&summary.origin) }
    }
}
