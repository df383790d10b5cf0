//! The metrics of fan-out, which `docs/metrics.md` documents.

use metrics::{counter, describe_counter, describe_gauge, gauge};
use postrider_model::delivery::Lane;

/// Describes every metric to the installed metrics recorder.
pub(crate) fn describe() {
    describe_counter!("postrider_fanout_events_total", "events decided");
    describe_counter!("postrider_fanout_deliveries_total", "deliveries created, by the lane that they start in");
    describe_counter!("postrider_fanout_ordered_deliveries_total", "deliveries of ordered endpoints created");
    describe_counter!(
        "postrider_fanout_filter_budget_spent_total",
        "events whose payload filters exceeded the step budget; the remaining filters matched nothing"
    );
    describe_gauge!("postrider_fanout_config_version", "version of the configuration in force in this process");
    // Registers each counter at 0, so that monitoring sees the first increase.
    decided(0);
    ordered(0);
    counter!("postrider_fanout_filter_budget_spent_total").increment(0);
    for lane in Lane::ALL {
        delivered(lane, 0);
    }
}

pub(crate) fn decided(events: usize) {
    counter!("postrider_fanout_events_total").increment(events as u64);
}

/// Counts deliveries by the lane in which they start.
pub(crate) fn delivered(lane: Lane, deliveries: usize) {
    counter!("postrider_fanout_deliveries_total", "lane" => lane.as_str()).increment(deliveries as u64);
}

/// Counts deliveries of ordered endpoints.
pub(crate) fn ordered(deliveries: usize) {
    counter!("postrider_fanout_ordered_deliveries_total").increment(deliveries as u64);
}

/// Counts an event whose payload filters exceeded the step budget.
pub(crate) fn filter_budget_spent() {
    counter!("postrider_fanout_filter_budget_spent_total").increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "a version stays far below 2^53")]
pub(crate) fn config_version(version: i64) {
    gauge!("postrider_fanout_config_version").set(version as f64);
}
