//! What fan-out counts. Names are documented in `docs/metrics.md`.

use metrics::{counter, describe_counter, describe_gauge, gauge};
use postrider_model::delivery::Lane;

/// Describes every metric of fan-out to the recorder in force.
pub(crate) fn describe() {
    describe_counter!("postrider_fanout_events_total", "events decided");
    describe_counter!("postrider_fanout_deliveries_total", "deliveries made of them, by the lane that they begin in");
    describe_counter!(
        "postrider_fanout_filter_budget_spent_total",
        "events over which payload filters took more steps than they may; the filters after that matched nothing"
    );
    describe_gauge!("postrider_fanout_config_version", "version of the configuration in force here");
    // There from the start, so that the first increase is seen as one.
    decided(0);
    counter!("postrider_fanout_filter_budget_spent_total").increment(0);
    for lane in Lane::ALL {
        delivered(lane, 0);
    }
}

pub(crate) fn decided(events: usize) {
    counter!("postrider_fanout_events_total").increment(events as u64);
}

/// Deliveries that begin in a lane.
pub(crate) fn delivered(lane: Lane, deliveries: usize) {
    counter!("postrider_fanout_deliveries_total", "lane" => lane.as_str()).increment(deliveries as u64);
}

/// An event's payload filters took more steps than they may.
pub(crate) fn filter_budget_spent() {
    counter!("postrider_fanout_filter_budget_spent_total").increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "a version stays far below 2^53")]
pub(crate) fn config_version(version: i64) {
    gauge!("postrider_fanout_config_version").set(version as f64);
}
