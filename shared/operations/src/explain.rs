//! Explanations: why each endpoint got an event or did not, and what became of its delivery.

mod standing;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use postrider_model::delivery::{DeliveryStatus, EndpointStatus};
use postrider_model::delivery_phase::DeliveryPhase;
use postrider_model::event::Origin;
use postrider_model::explain::{Condition, Explainer, SubscriptionText};
use postrider_model::ids::{DeliveryId, EndpointId, EventId, Generation, TenantId};
use postrider_model::notice::{ADDRESSEE, Audience};
use postrider_model::payload_filter::Payload;
use postrider_model::time::Day;
use postrider_model::timestamp::Timestamp;
use postrider_profiles::Profile;
use postrider_store::config::EndpointVersion;
use postrider_store::history::{EventRow, EventSummary};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::deliveries::{Delivery, PlaceInLine};
use crate::{Caller, Error, Operations};

/// Whether the endpoint would get the event now, and why.
#[derive(Debug, Serialize, ToSchema)]
pub struct Now {
    /// Whether the endpoint would get the event.
    pub matched: bool,
    /// The conditions of the endpoint as it is now, and whether the event meets them.
    pub reasons: Vec<Condition>,
}

/// Why an endpoint got an event or did not.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explanation {
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// Whether fan-out delivered the event to the endpoint; `null` until fan-out has decided.
    #[schema(required = true)]
    pub matched: Option<bool>,
    /// The conditions of the endpoint at the time of fan-out's decision, and whether the event met them; empty until fan-out has
    /// decided.
    pub reasons: Vec<Condition>,
    /// Whether the endpoint would get the event now, and why.
    pub now: Now,
    /// The delivery that the event itself caused; absent if there is none on record, or if the event has more than 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// What became of the delivery, in a sentence for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "delivered after 1 attempt")]
    pub delivery_standing: Option<String>,
}

/// An explanation for each endpoint of the tenant.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explanations {
    /// The explanations, newest endpoint first, at most 1,000. Endpoints that were deleted before the event was accepted are left
    /// out.
    pub data: Vec<Explanation>,
}

impl Operations {
    /// Explains for each endpoint of the tenant why it got an event or did not: with the configuration of fan-out's decision, and
    /// with the current configuration.
    ///
    /// # Errors
    /// Requires the scope `read`. [`Error::TooMany`] while another event of the tenant is being explained.
    pub async fn explain_event(&self, caller: Caller, id: &str) -> Result<Explanations, Error> {
        let (tenant, id, event) = self.stored_event(caller, id).await?;
        let (day, since) = (event.summary.event_day, event.summary.accepted_at);
        let profile = Arc::clone(self.profile(&self.stored_tenant(tenant).await?.draft.profile)?);
        let decision = self.store.history().get_decision(tenant, &id, day).await?;
        let then = match &decision {
            Some(decision) => self.store.config().endpoints_at(tenant, decision.config_version, since).await?,
            None => Vec::new(),
        };
        let now = self.store.config().endpoints_at(tenant, i64::MAX, since).await?;
        let mut deliveries = self.own_deliveries(tenant, &id, day).await?;
        let places = self.places(deliveries.values()).await?;
        let explain = move || {
            let conditions = Conditions { profile: &profile, event: &event };
            let (mut then, mut reasons_now) = (conditions.reasons(&then), conditions.reasons(&now));
            let expires_at = event.summary.expires_at.map(Timestamp);
            let mut explain = |endpoint: &EndpointVersion| {
                let id = endpoint.endpoint;
                let reasons = reasons_now.remove(&id).unwrap_or_default();
                let delivery = deliveries.remove(&id);
                let mut then = || then.remove(&id).unwrap_or_else(|| vec![status(None)]);
                Explanation {
                    endpoint_id: id,
                    matched: decision.as_ref().map(|decision| decision.matched.contains(&id)),
                    reasons: decision.as_ref().map(|_| then()).unwrap_or_default(),
                    now: Now { matched: reasons.iter().all(|reason| reason.passed), reasons },
                    delivery_standing: delivery.as_ref().map(|delivery| {
                        let batch = endpoint.document.batch.as_ref();
                        standing::standing(delivery, expires_at, places.get(&delivery.id), batch)
                    }),
                    delivery,
                }
            };
            Explanations { data: now.iter().map(&mut explain).collect() }
        };
        self.heavy.explain(tenant, explain).await
    }

    /// Returns the deliveries that an event itself caused, by endpoint.
    async fn own_deliveries(
        &self,
        tenant: TenantId,
        event: &EventId,
        day: Day,
    ) -> Result<BTreeMap<EndpointId, Delivery>, Error> {
        let mut rows = self.store.history().deliveries_of_event(tenant, event, day).await?;
        rows.retain(|row| row.delivery.generation == Generation::First);
        let deliveries = self.show_deliveries(rows).await?;
        Ok(deliveries.into_iter().map(|delivery| (delivery.endpoint_id, delivery)).collect())
    }

    /// Returns the places of those of these deliveries that are in a line.
    async fn places(
        &self,
        deliveries: impl Iterator<Item = &Delivery>,
    ) -> Result<HashMap<DeliveryId, PlaceInLine>, Error> {
        let may_be_in_line = |delivery: &&Delivery| {
            delivery.status == DeliveryStatus::Failed || delivery.phase == Some(DeliveryPhase::InLine)
        };
        let ids: Vec<DeliveryId> = deliveries.filter(may_be_in_line).map(|delivery| delivery.id).collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let places = self.store.lines().places(&ids).await?;
        Ok(places.into_iter().map(|place| (place.delivery, PlaceInLine::from(place))).collect())
    }
}

/// Checks the conditions of endpoints on one event.
struct Conditions<'a> {
    profile: &'a Profile,
    event: &'a EventRow,
}

/// Returns the condition that an endpoint is on: active, or paused, so that its deliveries wait. `None` is an endpoint that did not
/// exist.
fn status(endpoint: Option<&EndpointVersion>) -> Condition {
    let status = match endpoint {
        None => "not made yet",
        Some(endpoint) if endpoint.deleted => "deleted",
        Some(endpoint) => endpoint.status.as_str(),
    };
    let active = EndpointStatus::Active.as_str();
    let passed = endpoint.is_some_and(|endpoint| !endpoint.deleted && endpoint.status.is_on());
    Condition { check: "status".into(), expected: json!(active), actual: json!(status), passed }
}

/// Returns the condition that the endpoint is the addressee of a notice.
fn addressee(notice: &EventSummary, endpoint: EndpointId) -> Condition {
    let passed = Audience::of(&notice.attributes).includes(endpoint);
    let expected = json!(notice.attributes.get(ADDRESSEE));
    Condition { check: "addressee".into(), expected, actual: json!(endpoint), passed }
}

impl Conditions<'_> {
    /// Returns the conditions of each endpoint. Payload filters are evaluated in fan-out's order, by endpoint id, so that the
    /// budget of steps runs out at the same endpoint as in fan-out.
    fn reasons(&self, endpoints: &[EndpointVersion]) -> BTreeMap<EndpointId, Vec<Condition>> {
        let endpoints: BTreeMap<_, _> = endpoints.iter().map(|endpoint| (endpoint.endpoint, endpoint)).collect();
        let summary = &self.event.summary;
        let audience = Audience::of(&summary.attributes);
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
            if audience != Audience::Subscribers {
                reasons.push(addressee(summary, id));
            } else if !endpoint.deleted {
                reasons.push(self.origin());
                reasons.extend(checks.into_iter().map(|check| self.reason(check)));
            }
            (id, reasons)
        });
        reasons.collect()
    }

    fn reason(&self, mut reason: Condition) -> Condition {
        if reason.check == "payload_filter" && self.event.data.is_none() {
            (reason.actual, reason.passed) = (json!("the payload was expunged"), false);
        }
        reason
    }

    /// Returns the condition that the profile delivers events of this origin.
    fn origin(&self) -> Condition {
        let summary = &self.event.summary;
        let fires = |origin: &Origin| self.profile.origin_fires(&summary.event_type, *origin);
        let fire: Vec<&str> =
            [Origin::Api, Origin::Dashboard].iter().filter(|o| fires(o)).map(|o| o.as_str()).collect();
        let (expected, actual) = (json!(fire), json!(summary.origin.as_str()));
        Condition { check: "origin".into(), expected, actual, passed: fires(&summary.origin) }
    }
}
