//! Decides which endpoints of a tenant match a replayed event.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use postrider_model::delivery::{BodyKind, DeliveryStatus};
use postrider_model::explain::{BoundSubscription, SubscriptionText};
use postrider_model::ids::EndpointId;
use postrider_model::limits::PAYLOAD_FILTER_STEPS_MAX;
use postrider_model::notice::Audience;
use postrider_model::ordering::KeyReader;
use postrider_model::payload_filter::{Budget, FieldIndex, Payload};
use postrider_model::replay::{DecidedWhile, ReplayMode, ReplaySelection};
use postrider_profiles::{Profile, Profiles};
use postrider_store::StoreError;
use postrider_store::config::{EndpointDocument, EndpointVersion};
use postrider_store::history::EventRow;
use postrider_store::replay::{ReplayCandidate, ReplayTargets};
use serde_json::value::RawValue;

/// The endpoints to which a replay may deliver, by the tenant's current configuration.
pub(super) struct Targets {
    pub(super) profile: Arc<Profile>,
    mode: ReplayMode,
    /// The active and paused endpoints. In the modes `rematch` and `recover` they have their subscriptions.
    endpoints: BTreeMap<EndpointId, Target>,
    /// Every version of the endpoint of a recovery, oldest first.
    versions: Vec<EndpointVersion>,
    /// The fields that the endpoints' payload filters read.
    fields: FieldIndex,
}

struct Target {
    body: BodyKind,
    subscription: Option<BoundSubscription>,
    /// The order of its deliveries, and the generation of that order.
    ordering: Option<(KeyReader, u32)>,
}

/// An endpoint that matches an event, whether or not the event has been delivered to it.
pub(super) struct Match {
    pub(super) endpoint: EndpointId,
    /// Whether the endpoint was off when the event was decided. Only for recoveries.
    pub(super) decided_while: DecidedWhile,
}

/// The endpoints that match an event.
pub(super) struct Matches {
    pub(super) endpoints: Vec<Match>,
    /// Number of steps of the endpoints' payload filters.
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
            // A subscription that does not fit the current profile is absent and matches nothing, as in fan-out.
            let subscription = match selection.mode {
                ReplayMode::Redeliver => None,
                ReplayMode::Rematch | ReplayMode::Recover => bind(&document, &profile, &mut fields),
            };
            let ordering = document
                .ordering
                .as_ref()
                .map(|ordering| (KeyReader::compile(ordering).unwrap_or_default(), document.ordering_generation));
            endpoints.insert(endpoint, Target { body: document.body_kind(), subscription, ordering });
        }
        Ok(Self { profile, mode: selection.mode, endpoints, versions: targets.versions, fields })
    }

    /// Whether matching evaluates payload filters. A recovery evaluates them only for events that were decided while its
    /// endpoint was off.
    pub(super) fn need_payloads(&self) -> bool {
        let any_missed = || self.versions.iter().any(|version| !version.status.is_on());
        self.have_payload_filters() && (self.mode != ReplayMode::Recover || any_missed())
    }

    fn have_payload_filters(&self) -> bool {
        let mut subscriptions = self.endpoints.values().filter_map(|target| target.subscription.as_ref());
        subscriptions.any(|subscription| subscription.payload_filter.is_some())
    }

    /// The format of an endpoint's bodies; `None` if the endpoint is not a target.
    pub(super) fn body(&self, endpoint: EndpointId) -> Option<BodyKind> {
        self.endpoints.get(&endpoint).map(|target| target.body)
    }

    /// The ordered endpoints.
    pub(super) fn orderings(&self) -> HashMap<EndpointId, (KeyReader, u32)> {
        let ordered = |(id, target): (&EndpointId, &Target)| Some((*id, target.ordering.clone()?));
        self.endpoints.iter().filter_map(ordered).collect()
    }

    /// The body format of a delivery that was decided at this configuration version. If the endpoint has no version of that
    /// time, returns the current format.
    pub(super) fn body_at(&self, endpoint: EndpointId, config_version: i64) -> Option<BodyKind> {
        let current = self.body(endpoint)?;
        Some(self.version_at(config_version).map_or(current, |version| version.document.body_kind()))
    }

    /// Returns the version of a recovery's endpoint that was in force at this configuration version.
    fn version_at(&self, config_version: i64) -> Option<&EndpointVersion> {
        self.versions.iter().rev().find(|version| version.version <= config_version)
    }

    /// Matches events with endpoints. Payload filters run on a blocking thread.
    pub(super) async fn match_all(
        targets: &Arc<Self>,
        events: Vec<ReplayCandidate>,
    ) -> Result<Vec<(ReplayCandidate, Matches)>, StoreError> {
        let off_thread = targets.need_payloads();
        let targets = Arc::clone(targets);
        let find = move || {
            let matched = |candidate: ReplayCandidate| {
                let matches = targets.matches(&candidate);
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

    fn matches(&self, candidate: &ReplayCandidate) -> Matches {
        let ReplayCandidate { event, decided, earlier, config_version, .. } = candidate;
        let delivered_before = |endpoint: &EndpointId| decided.contains(endpoint) || earlier.contains_key(endpoint);
        match self.mode {
            ReplayMode::Redeliver => self.all(|endpoint| decided.contains(endpoint)),
            ReplayMode::Rematch => self.subscribed(event, |_| true).found(DecidedWhile::EndpointOn),
            ReplayMode::Recover => {
                let version = config_version.and_then(|version| self.version_at(version));
                // An endpoint that was created later has no version at the time of the decision, so it did not miss the event.
                let was_off = version.is_some_and(|version| !version.status.is_on());
                // If an earlier recovery delivered the event but was cancelled, the event is missing again.
                let is_missing = |endpoint: &EndpointId| {
                    let cancelled = |found: &Vec<DeliveryStatus>| found.iter().all(|s| *s == DeliveryStatus::Cancelled);
                    was_off && !decided.contains(endpoint) && earlier.get(endpoint).is_none_or(cancelled)
                };
                let before = self.all(|endpoint| delivered_before(endpoint) && !is_missing(endpoint));
                let missed = self.subscribed(event, is_missing).found(DecidedWhile::EndpointOff);
                Matches {
                    endpoints: before.endpoints.into_iter().chain(missed.endpoints).collect(),
                    steps: missed.steps,
                }
            }
        }
    }

    /// Returns the endpoints for which `matches` is true.
    fn all(&self, matches: impl Fn(&EndpointId) -> bool) -> Matches {
        let endpoints = self.endpoints.keys().copied().filter(matches);
        Matches {
            endpoints: endpoints.map(|endpoint| Match { endpoint, decided_while: DecidedWhile::EndpointOn }).collect(),
            steps: 0,
        }
    }

    /// Returns the endpoints, of those accepted by `among`, whose subscriptions match the event, and the number of steps of
    /// their payload filters.
    fn subscribed(&self, event: &EventRow, among: impl Fn(&EndpointId) -> bool) -> Subscribed {
        let summary = &event.summary;
        // A notice matches its addressee only, whatever that subscribes to.
        let audience = Audience::of(&summary.attributes);
        if audience != Audience::Subscribers {
            let endpoints = self.endpoints.keys().copied();
            let addressee = endpoints.filter(|endpoint| among(endpoint) && audience.includes(*endpoint));
            return Subscribed { endpoints: addressee.collect(), steps: 0 };
        }
        let fires = self.profile.origin_fires(&summary.event_type, summary.origin);
        let by_head =
            |bound: &BoundSubscription| fires && bound.subscription.matches(&summary.event_type, &summary.attributes);
        let among = self.endpoints.iter().filter(|(endpoint, _)| among(endpoint));
        let bound = among.filter_map(|(endpoint, target)| Some((*endpoint, target.subscription.as_ref()?)));
        let mut of: Vec<(EndpointId, &BoundSubscription)> = bound.filter(|(_, bound)| by_head(bound)).collect();
        let filters = || of.iter().filter_map(|(_, bound)| bound.payload_filter.as_ref());
        let mut budget = Budget::default();
        if filters().next().is_some() {
            let payload = Payload {
                data: event.data.as_deref().unwrap_or_default(),
                metadata: event.metadata.as_deref().map(RawValue::get),
                attributes: &summary.attributes,
            };
            let found = self.fields.collect(filters(), &payload);
            of.retain(|(_, bound)| {
                bound.payload_filter.as_ref().is_none_or(|filter| filter.matches(&found, &mut budget))
            });
        }
        let steps = PAYLOAD_FILTER_STEPS_MAX.saturating_sub(budget.left());
        Subscribed { endpoints: of.into_iter().map(|(endpoint, _)| endpoint).collect(), steps }
    }
}

/// Endpoints whose subscriptions match an event.
struct Subscribed {
    endpoints: Vec<EndpointId>,
    steps: u64,
}

impl Subscribed {
    fn found(self, decided_while: DecidedWhile) -> Matches {
        let endpoints = self.endpoints.into_iter().map(|endpoint| Match { endpoint, decided_while });
        Matches { endpoints: endpoints.collect(), steps: self.steps }
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
