//! The dispatcher's metrics. No metric has a label for the endpoint or the tenant.

use ::metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use postrider_model::attempt::Outcome;
use postrider_model::breaker::{BreakerBoard, BreakerState};
use postrider_model::delivery::{DeliveryStatus, DiscardReason, HeldReason};

/// Attempts that ended; label `outcome`.
pub const ATTEMPTS: &str = "postrider_dispatcher_attempts_total";
/// Seconds from the start of an attempt to the end of its response.
pub const ATTEMPT_SECONDS: &str = "postrider_dispatcher_attempt_seconds";
/// Attempts in flight.
pub const IN_FLIGHT: &str = "postrider_dispatcher_attempts_in_flight";
/// Seconds from the planned time of a retry to its start.
pub const LATE_SECONDS: &str = "postrider_dispatcher_retry_late_seconds";
/// Seconds from accepting an event to the end of its first attempt; label `profile`.
pub const PROMISE_SECONDS: &str = "postrider_dispatcher_accepted_to_first_attempt_seconds";
/// Deliveries that ended with an attempt, except tests; labels `profile` and `status` (`delivered`, `failed`).
pub const ENDED: &str = "postrider_dispatcher_deliveries_total";
/// Waits of deliveries on the delay ladder; label `reason` (`rate`, `concurrency`, `breaker`, `configuration`).
pub const HELD: &str = "postrider_dispatcher_held_deliveries_total";
/// Seconds for which deliveries were held before their attempts, in memory or on the ladder.
pub const HELD_SECONDS: &str = "postrider_dispatcher_held_seconds";
/// Deliveries moved to the slow lane before their attempts.
pub const MOVED: &str = "postrider_dispatcher_deliveries_moved_to_slow_lane_total";
/// Retries published.
pub const RETRIES: &str = "postrider_dispatcher_retries_total";
/// Waits of first attempts for the `deliver_at` of their event. A long wait counts several times, once per rung.
pub const SCHEDULED: &str = "postrider_dispatcher_scheduled_waits_total";
/// Deliveries discarded; label `reason`.
pub const DISCARDED: &str = "postrider_dispatcher_discarded_deliveries_total";
/// Copies dropped because of an intervention.
pub const STALE: &str = "postrider_dispatcher_stale_copies_total";
/// Deliveries that were set aside because their endpoint is paused.
pub const SET_ASIDE: &str = "postrider_dispatcher_set_aside_total";
/// Renderings of bodies that waited on the ladder as references; label `result` (`same`, `changed`, `not_now`). `not_now` means
/// that the event is not recorded yet, the database is unavailable, or the memory budget is used up.
pub const BODIES: &str = "postrider_dispatcher_bodies_rendered_total";
/// Batches sent to batched endpoints.
pub const BATCHES: &str = "postrider_dispatcher_batches_total";
/// Deliveries sent in batches. Divided by [`BATCHES`], it is the average number of events in a request.
pub const BATCHED: &str = "postrider_dispatcher_batched_deliveries_total";
/// Batches that their endpoints refused as too large (413). Their deliveries are attempted again in smaller batches.
pub const BATCHES_TOO_LARGE: &str = "postrider_dispatcher_batches_too_large_total";
/// Breakers that are not closed, counted over all dispatchers; label `state` (`open`, `half_open`). Each dispatcher reports
/// this total, so use the maximum of the dispatchers' values, not the sum.
pub const BREAKERS: &str = "postrider_dispatcher_breakers";
/// Transitions of breakers; label `to` (`open`, `half_open`, `closed`).
pub const BREAKER: &str = "postrider_dispatcher_breaker_transitions_total";
/// Endpoints read from the database; label `result` (`ok`, `failed`).
pub const LOADS: &str = "postrider_dispatcher_endpoint_loads_total";
/// Endpoints in the cache.
pub const CACHED: &str = "postrider_dispatcher_endpoints_cached";
/// Dispatchers that share the endpoints' rates, as counted by this dispatcher at the broker.
pub const DISPATCHERS: &str = "postrider_dispatcher_replicas_seen";

/// The configuration version that was applied last.
pub const CONFIG_VERSION: &str = "postrider_dispatcher_config_version";
/// Average scheduler lag of this process in seconds. If it grows, this process is the bottleneck, not the endpoints.
pub const LAG_SECONDS: &str = "postrider_dispatcher_scheduler_lag_seconds";

/// Sets the applied configuration version.
#[expect(clippy::cast_precision_loss, reason = "a version stays far below 2^53")]
pub(crate) fn config_version(version: i64) {
    gauge!(CONFIG_VERSION).set(version as f64);
}

/// Registers the description of every metric with the installed recorder.
pub fn describe() {
    describe_counter!(ATTEMPTS, "attempts that ended");
    describe_histogram!(ATTEMPT_SECONDS, Unit::Seconds, "duration of an attempt");
    describe_gauge!(CONFIG_VERSION, "configuration version that was applied last");
    describe_gauge!(IN_FLIGHT, "attempts in flight");
    describe_histogram!(LATE_SECONDS, Unit::Seconds, "how late retries started");
    describe_histogram!(PROMISE_SECONDS, Unit::Seconds, "from accepting an event to the end of its first attempt");
    describe_counter!(ENDED, "deliveries that ended with an attempt");
    describe_counter!(HELD, "waits of deliveries on the delay ladder");
    describe_histogram!(HELD_SECONDS, Unit::Seconds, "how long deliveries were held before their attempts");
    describe_counter!(MOVED, "deliveries moved to the slow lane before their attempts");
    describe_counter!(RETRIES, "retries published");
    describe_counter!(SCHEDULED, "waits of first attempts for the deliver_at of their event, once per rung");
    describe_counter!(DISCARDED, "deliveries discarded");
    describe_counter!(STALE, "copies dropped because of an intervention");
    describe_counter!(SET_ASIDE, "deliveries set aside because their endpoint is paused");
    describe_counter!(BODIES, "large bodies that waited by reference and were rendered again");
    describe_counter!(BATCHES, "batches sent to batched endpoints");
    describe_counter!(BATCHED, "deliveries sent in batches");
    describe_counter!(BATCHES_TOO_LARGE, "batches that their endpoints refused as too large");
    describe_gauge!(BREAKERS, "breakers that are not closed, over all dispatchers");
    describe_counter!(BREAKER, "transitions of breakers");
    describe_counter!(LOADS, "endpoints read from the database");
    describe_gauge!(CACHED, "endpoints in the cache");
    describe_gauge!(DISPATCHERS, "dispatchers that share the endpoints' rates");
    describe_gauge!(LAG_SECONDS, Unit::Seconds, "average scheduler lag of this process");
}

/// Metrics with a profile label. The handles are looked up once per endpoint.
#[derive(Debug)]
pub(crate) struct ProfileMetrics {
    pub(crate) promise: Histogram,
    pub(crate) delivered: Counter,
    pub(crate) failed: Counter,
}

impl ProfileMetrics {
    pub(crate) fn new(profile: &str) -> Self {
        let profile = profile.to_owned();
        let ended = |status: &'static str| counter!(ENDED, "profile" => profile.clone(), "status" => status);
        let (delivered, failed) = (ended("delivered"), ended("failed"));
        Self { promise: histogram!(PROMISE_SECONDS, "profile" => profile), delivered, failed }
    }

    /// Counts a delivery that has this status after an attempt, if the delivery has ended.
    pub(crate) fn after_attempt(&self, status: DeliveryStatus) {
        match status {
            DeliveryStatus::Delivered => self.delivered.increment(1),
            DeliveryStatus::Failed => self.failed.increment(1),
            DeliveryStatus::Pending | DeliveryStatus::Cancelled | DeliveryStatus::Discarded => {}
        }
    }
}

/// Handles of metrics, looked up once per process instead of once per delivery.
#[derive(Debug)]
pub(crate) struct Metrics {
    attempts: [(Outcome, Counter); 8],
    discarded: [(DiscardReason, Counter); 4],
    held: [(HeldReason, Counter); 3],
    pub(crate) held_for_configuration: Counter,
    pub(crate) attempt_seconds: Histogram,
    pub(crate) in_flight: Gauge,
    pub(crate) late_seconds: Histogram,
    pub(crate) held_seconds: Histogram,
    pub(crate) moved: Counter,
    pub(crate) retries: Counter,
    pub(crate) scheduled: Counter,
    pub(crate) stale: Counter,
    pub(crate) set_aside: Counter,
    pub(crate) batches: Counter,
    pub(crate) batched: Counter,
    pub(crate) batches_too_large: Counter,
    pub(crate) bodies_same: Counter,
    pub(crate) bodies_changed: Counter,
    pub(crate) bodies_not_now: Counter,
    breaker_turns: [(BreakerState, Counter); 3],
    breakers: [(BreakerState, Gauge); 2],
    pub(crate) loads_ok: Counter,
    pub(crate) loads_failed: Counter,
    pub(crate) cached: Gauge,
    pub(crate) dispatchers: Gauge,
    pub(crate) lag: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        use BreakerState::{Closed, HalfOpen, Open};
        use Outcome::{
            AddressBlocked, ConnectFailed, DnsFailed, HttpStatus, ProtocolError, Success, Timeout, TlsFailed,
        };
        let outcomes =
            [Success, HttpStatus, Timeout, ConnectFailed, DnsFailed, TlsFailed, AddressBlocked, ProtocolError];
        let reasons = [
            DiscardReason::Expired,
            DiscardReason::EndpointDeleted,
            DiscardReason::EndpointInactive,
            DiscardReason::Expunged,
        ];
        let held = [HeldReason::Rate, HeldReason::Concurrency, HeldReason::Breaker];
        Self {
            attempts: outcomes.map(|outcome| (outcome, counter!(ATTEMPTS, "outcome" => outcome.as_str()))),
            discarded: reasons.map(|reason| (reason, counter!(DISCARDED, "reason" => reason.as_str()))),
            held: held.map(|reason| (reason, counter!(HELD, "reason" => reason.as_str()))),
            held_for_configuration: counter!(HELD, "reason" => "configuration"),
            attempt_seconds: histogram!(ATTEMPT_SECONDS),
            in_flight: gauge!(IN_FLIGHT),
            late_seconds: histogram!(LATE_SECONDS),
            held_seconds: histogram!(HELD_SECONDS),
            moved: counter!(MOVED),
            retries: counter!(RETRIES),
            scheduled: counter!(SCHEDULED),
            stale: counter!(STALE),
            set_aside: counter!(SET_ASIDE),
            batches: counter!(BATCHES),
            batched: counter!(BATCHED),
            batches_too_large: counter!(BATCHES_TOO_LARGE),
            bodies_same: counter!(BODIES, "result" => "same"),
            bodies_changed: counter!(BODIES, "result" => "changed"),
            bodies_not_now: counter!(BODIES, "result" => "not_now"),
            breaker_turns: [Open, HalfOpen, Closed].map(|to| (to, counter!(BREAKER, "to" => to.as_str()))),
            breakers: [Open, HalfOpen].map(|state| (state, gauge!(BREAKERS, "state" => state.as_str()))),
            loads_ok: counter!(LOADS, "result" => "ok"),
            loads_failed: counter!(LOADS, "result" => "failed"),
            cached: gauge!(CACHED),
            dispatchers: gauge!(DISPATCHERS),
            lag: gauge!(LAG_SECONDS),
        }
    }

    pub(crate) fn attempt(&self, outcome: Outcome) {
        increment(&self.attempts, outcome);
    }

    pub(crate) fn discarded(&self, reason: DiscardReason) {
        increment(&self.discarded, reason);
    }

    pub(crate) fn held(&self, reason: HeldReason) {
        increment(&self.held, reason);
    }

    pub(crate) fn breaker_turned(&self, to: BreakerState) {
        increment(&self.breaker_turns, to);
    }

    pub(crate) fn breakers(&self, board: &BreakerBoard) {
        for (state, gauge) in &self.breakers {
            // There are at most some tens of thousands of breakers, so the conversion is exact.
            gauge.set(board.count(*state) as f64);
        }
    }

    /// Counts an attempt as in flight until the guard is dropped.
    pub(crate) fn flight(&self) -> InFlightGuard<'_> {
        self.in_flight.increment(1.0);
        InFlightGuard(&self.in_flight)
    }
}

fn increment<L: Copy + PartialEq>(counters: &[(L, Counter)], label: L) {
    if let Some((_, counter)) = counters.iter().find(|(other, _)| *other == label) {
        counter.increment(1);
    }
}

/// Counts an attempt as in flight until the guard is dropped.
#[derive(Debug)]
pub(crate) struct InFlightGuard<'a>(&'a Gauge);

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
