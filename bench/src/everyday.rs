//! The everyday workloads: at full speed, at fixed rates, after the burst of a small tenant, and without traffic.
//!
//! The name of a workload is also the name of its row in the table of targets ([`crate::targets`]).

use serde_json::json;

use crate::engine::{Engine, no_limits};
use crate::load::{Load, Plan, Traffic};
use crate::report::Report;
use crate::workload::{Bench, endpoint, in_force};

/// The bare path at full speed.
pub(crate) const BARE: &str = "bare path";
/// Single events for one endpoint at full speed.
pub(crate) const ONE: &str = "one endpoint";
/// Events in batches for one endpoint at full speed.
pub(crate) const BATCHES: &str = "one endpoint, batches of 100";
/// Single events at full speed, each for ten endpoints.
pub(crate) const TEN: &str = "ten endpoints";
/// The same load as [`BATCHES`] for a batched endpoint, which gets 100 events in a request.
pub(crate) const BATCHED: &str = "one batched endpoint, batches of 100";
/// Single events for one endpoint at a low rate.
pub(crate) const SLOW: &str = "one endpoint at 100/s";
/// Single events for one endpoint at a rate that is normal in a busy deployment.
pub(crate) const BUSY: &str = "one endpoint at 1000/s";
/// The same load as [`BUSY`], immediately after the burst of another tenant.
pub(crate) const AFTER_BURST: &str = "one endpoint at 1000/s after a small tenant";
/// No traffic.
pub(crate) const IDLE: &str = "idle";
/// The bare path at the rate of [`SLOW`].
pub(crate) const BARE_SLOW: &str = "bare path at 100/s";
/// The bare path at the rate of [`BUSY`].
pub(crate) const BARE_BUSY: &str = "bare path at 1000/s";

/// All workloads that need the services, in the order in which they run. Those at a fixed rate come first: after full speed,
/// PostgreSQL vacuums and analyzes hundreds of thousands of new rows in the background, which would count as their CPU.
const ALL: [&str; 8] = [SLOW, BUSY, AFTER_BURST, ONE, BATCHES, BATCHED, TEN, IDLE];
/// The rates of [`SLOW`] and [`BUSY`], in events per second.
const RATES: [f64; 2] = [100.0, 1_000.0];
/// Number of events in the burst of the small tenant.
const BURST: u64 = 500;

/// Measures the bare path and the selected workloads.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let wants = |name: &str| bench.wants("everyday", name);
    report.add(bench.bare(BARE, Load::full_speed(bench.times.full_speed), bench.times.warm_up).await?);
    for (name, row, rate) in [(BARE_SLOW, SLOW, RATES[0]), (BARE_BUSY, BUSY, RATES[1])] {
        if wants(name) || wants(row) {
            report.add(bench.bare(name, Load::at(rate, bench.times.fixed_rate), 1.0).await?);
        }
    }
    // The row after a burst is compared with the row without a burst, so both are measured.
    let wanted: Vec<_> = ALL.into_iter().filter(|name| wants(name) || *name == BUSY && wants(AFTER_BURST)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let mut engine = Box::pin(Engine::start(&bench.options)).await?;
    let measuring = async {
        for name in wanted {
            workload(name, bench, &mut engine, report).await?;
        }
        anyhow::Ok(())
    };
    let result = Box::pin(measuring).await;
    engine.stop().await;
    result
}

async fn workload(name: &str, bench: &Bench, engine: &mut Engine, report: &mut Report) -> anyhow::Result<()> {
    let times = bench.times;
    let full_speed = Load::full_speed(times.full_speed);
    let (load, endpoints) = match name {
        IDLE => {
            report.add(bench.idle(engine, name, times.idle).await?);
            return Ok(());
        }
        BATCHES | BATCHED => (Load { batch: 100, ..full_speed }, 1),
        TEN => (full_speed, 10),
        SLOW => (Load::at(RATES[0], times.fixed_rate), 1),
        BUSY | AFTER_BURST => (Load::at(RATES[1], times.fixed_rate), 1),
        _ => (full_speed, 1),
    };
    let tenant = engine.tenant(name, no_limits()).await?;
    for number in 0..endpoints {
        let mut document = endpoint(&format!("endpoint {number}"), &bench.sink.url(number), "bench.event");
        if name == BATCHED {
            document["batch"] = json!({});
        }
        engine.endpoint(&tenant, document).await?;
    }
    let small = engine.tenant("small", no_limits()).await?;
    engine.endpoint(&small, endpoint("small", &bench.other_sink.url(0), "bench.event")).await?;
    in_force().await;
    let burst = Load { events: Some(BURST), ..full_speed };
    let plan = Plan {
        endpoints,
        before: (name == AFTER_BURST).then(|| Traffic::of(&small, "bench.event", burst)),
        ..Plan::of(name, Traffic::of(&tenant, "bench.event", load), times.warm_up)
    };
    let mut row = Box::pin(bench.measure(engine, &plan)).await?;
    let bare = report.deliveries_per_second(BARE).filter(|_| load.rate.is_none());
    row.percent_of_bare = bare.map(|bare| row.balance.deliveries_per_second * 100.0 / bare);
    report.add(row);
    Ok(())
}
