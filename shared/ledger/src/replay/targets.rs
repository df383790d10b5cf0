//! Decides which endpoints of a tenant match a replayed event.

use std::collections::BTreeMap;
use std::sync::Arc;

use postrider_model::delivery::BodyKind;
use postrider_model::explain::{BoundSubscription, SubscriptionText};
use postrider_model::ids::EndpointId;
use postrider_model::limits::PAYLOAD_FILTER_STEPS_MAX;
use postrider_model::payload_filter::{Budget, FieldIndex, Payload};
use postrider_model::replay::{ReplayMode, ReplaySelection};
use postrider_profiles::{Profile, Profiles};
use postrider_store::StoreError;
use postrider_store::config::EndpointDocument;
use postrider_store::history::EventRow;
use postrider_store::replay::{ReplayCandidate, ReplayTargets};
use serde_json::value::RawValue;

/// The endpoints to which a replay may deliver, by the tenant's current configuration.
pub(super) struct Targets {
    pub(super) profile: Arc<Profile>,
    /// Active endpoints. With mode `rematch` they have their subscriptions.
    endpoints: BTreeMap<EndpointId, Target>,
    /// The fields that the endpoints' payload filters read.
    fields: FieldIndex,
}

struct Target {
    body: BodyKind,
    subscription: Option<BoundSubscription>,
}

/// The endpoints that match an event, whether or not it was delivered to them before.
pub(super) struct Matches {
    pub(super) endpoints: Vec<EndpointId>,
    /// Steps that their payload filters took.
    pub(super) steps: u64,
}

impl Targets {
    /// Prepares the targets of a replay.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`]: the tenant's profile is not loaded.
    pub(super) fn new(
        profiles: &Profiles,
        targets: ReplayTargets,
        selection: &ReplaySelection,
    ) -> Result<Self, StoreError> {
        let name = targets.profile;
        let unreadable = || StoreError::Unreadable { what: "tenants.profile", detail: format!("{name} is not loaded") };
        let profile = Arc::clone(profiles.get(&name).ok_or_else(unreadable)?);
        let (mut endpoints, mut fields) = (BTreeMap::new(), FieldIndex::default());
        for (endpoint, document) in targets.endpoints {
            let subscription = match selection.mode {
                ReplayMode::Redeliver => None,
                ReplayMode::Rematch => match bind(&document, &profile, &mut fields) {
                    Some(subscription) => Some(subscription),
                    // A subscription that no longer fits the profile matches nothing, as in fan-out.
                    None => continue,
                },
            };
            endpoints.insert(endpoint, Target { body: document.body_kind(), subscription });
        }
        Ok(Self { profile, endpoints, fields })
    }

    /// Whether any endpoint has a payload filter.
    pub(super) fn have_payload_filters(&self) -> bool {
        let mut subscriptions = self.endpoints.values().filter_map(|target| target.subscription.as_ref());
        subscriptions.any(|subscription| subscription.payload_filter.is_some())
    }

    /// The format of an endpoint's bodies; `None` if the endpoint is no target.
    pub(super) fn body(&self, endpoint: EndpointId) -> Option<BodyKind> {
        self.endpoints.get(&endpoint).map(|target| target.body)
    }

    /// Matches events with endpoints. Payload filters run on a blocking thread.
    pub(super) async fn match_all(
        targets: &Arc<Self>,
        events: Vec<ReplayCandidate>,
    ) -> Result<Vec<(ReplayCandidate, Matches)>, StoreError> {
        let off_thread = targets.have_payload_filters();
        let targets = Arc::clone(targets);
        let find = move || {
            let matched = |candidate: ReplayCandidate| {
                let matches = targets.matches(&candidate.event, &candidate.decided);
                (candidate, matches)
            };
            events.into_iter().map(matched).collect()
        };
        if !off_thread {
            return Ok(find());
        }
        let failed = |error: tokio::task::JoinError| StoreError::Unreadable {
            what: "endpoints.document",
            detail: format!("evaluating its payload filter failed: {error}"),
        };
        tokio::task::spawn_blocking(find).await.map_err(failed)
    }

    fn matches(&self, event: &EventRow, decided: &[EndpointId]) -> Matches {
        let summary = &event.summary;
        let fires = self.profile.origin_fires(&summary.event_type, summary.origin);
        let by_head = |target: &Target, endpoint| match &target.subscription {
            None => decided.contains(endpoint),
            Some(bound) => fires && bound.subscription.matches(&summary.event_type, &summary.attributes),
        };
        let mut of: Vec<_> = self.endpoints.iter().filter(|(endpoint, target)| by_head(target, endpoint)).collect();
        let filters = || of.iter().filter_map(|(_, target)| target.subscription.as_ref()?.payload_filter.as_ref());
        let mut budget = Budget::default();
        if filters().next().is_some() {
            let payload = Payload {
                data: event.data.as_deref().unwrap_or_default(),
                metadata: event.metadata.as_deref().map(RawValue::get),
                attributes: &summary.attributes,
            };
            let found = self.fields.collect(filters(), &payload);
            of.retain(|(_, target)| {
                let filter = target.subscription.as_ref().and_then(|bound| bound.payload_filter.as_ref());
                filter.is_none_or(|filter| filter.matches(&found, &mut budget))
            });
        }
        let steps = PAYLOAD_FILTER_STEPS_MAX.saturating_sub(budget.left());
        Matches { endpoints: of.into_iter().map(|(endpoint, _)| *endpoint).collect(), steps }
    }
}

fn bind(document: &EndpointDocument, profile: &Profile, fields: &mut FieldIndex) -> Option<BoundSubscription> {
    let subscription = SubscriptionText {
        event_types: &document.event_types,
        filters: &document.filters,
        payload_filter: document.payload_filter.as_ref(),
    };
    subscription.bind(fields, |attribute| profile.attribute_kind(attribute)).ok()
}
