//! Ordered endpoints: how fast the deliveries of one key follow each other, and what ordering costs with many keys.
//!
//! **One key.** The endpoint answers after 5 ms. All events have the same key and are published before most of them are delivered,
//! so the row shows the rate of a line.
//!
//! **10,000 keys.** The events have one key after the other. The rate is compared with the rate of one unordered endpoint in the
//! same run.

use serde_json::json;

use crate::engine::{Engine, no_limits};
use crate::isolation::capacity;
use crate::load::{Load, Plan, Traffic};
use crate::report::Report;
use crate::sink::Behaviour;
use crate::workload::{Bench, endpoint, in_force};

/// One key.
pub(crate) const ONE_KEY: &str = "ordered, one key, answers after 5 ms";
/// Ten thousand keys.
pub(crate) const KEYS: &str = "ordered, 10,000 keys";
/// Number of events with one key for each second of a workload at full speed.
const EVENTS_PER_SECOND: f64 = 100.0;

/// Measures the selected workloads.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let wanted: Vec<_> = [ONE_KEY, KEYS].into_iter().filter(|name| bench.wants("ordered", name)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let mut engine = Box::pin(Engine::start(&bench.options)).await?;
    let measuring = async {
        for name in wanted {
            measure(name, bench, &mut engine, report).await?;
        }
        anyhow::Ok(())
    };
    let result = Box::pin(measuring).await;
    engine.stop().await;
    result
}

async fn measure(name: &str, bench: &Bench, engine: &mut Engine, report: &mut Report) -> anyhow::Result<()> {
    let full_speed = Load::full_speed(bench.times.full_speed);
    let (url, ordering, load, warm_up) = match name {
        KEYS => {
            Box::pin(capacity(bench, engine, report)).await?;
            (bench.sink.url(0), json!({"key": "data.key"}), full_speed, bench.times.warm_up)
        }
        _ => {
            let events = (bench.times.full_speed * EVENTS_PER_SECOND) as u64;
            let load = Load { events: Some(events), ..full_speed };
            // A warm-up at full speed would be delivered for minutes.
            (bench.sink.url_of(Behaviour::AnswersLate), json!({}), load, 0.0)
        }
    };
    let tenant = engine.tenant(name, no_limits()).await?;
    let mut ordered = endpoint("ordered", &url, "bench.event");
    ordered["ordering"] = ordering;
    engine.endpoint(&tenant, ordered).await?;
    in_force().await;
    let row =
        Box::pin(bench.measure(engine, &Plan::of(name, Traffic::of(&tenant, "bench.event", load), warm_up))).await?;
    report.add(row);
    Ok(())
}
