//! Isolation: a healthy endpoint's p99 latency alone, and beside each kind of bad neighbour.
//!
//! The healthy endpoint gets half of the measured capacity for three of the neighbour's timeouts: long enough for more of the
//! neighbour's attempts to come due than a dispatcher prefetches. Each is measured in pairs, alone and beside in turn, with a new
//! tenant and new endpoints (closed breakers) each. The result is the median of the pairs' ratios of p99.

use serde_json::json;

use crate::engine::{Engine, Limits, no_limits};
use crate::report::{Pairs, Report, Row};
use crate::workload::{Background, Bench, Load, Plan, Sink, Times, endpoint, in_force};

/// Messages that a dispatcher prefetches from its live lane.
const PREFETCH: f64 = 1_000.0;
/// Endpoints of the neighbour that has 1,000 dead ones.
const DEAD: u32 = 1_000;
/// How often each is measured, alone and beside.
const PAIRS: usize = 5;
/// The bound for a healthy endpoint's p99 beside a bad neighbour, as a multiple of its p99 alone.
const BOUND: f64 = 1.5;
/// The same for a tenant beside another tenant's flood.
const FLOOD_BOUND: f64 = 2.0;

/// Who disturbs.
enum Disturbance {
    /// Endpoints of the same tenant, and events a second for all of them.
    Endpoints { urls: Vec<String>, per_second: f64 },
    /// Another tenant that sends ten times as much; with `within_limit` it may send its share only and the rest is refused.
    Flood { within_limit: bool },
}

/// What one pair needs.
struct Setting<'a> {
    bench: &'a Bench,
    engine: &'a mut Engine,
    times: &'a Times,
    /// Half of the capacity, deliveries a second.
    half: f64,
}

/// Measures every neighbour whose name is wanted.
pub(crate) async fn run(
    wants: impl Fn(&str) -> bool,
    bench: &Bench,
    engine: &mut Engine,
    times: &Times,
    report: &mut Report,
) -> anyhow::Result<()> {
    let wanted: Vec<_> = neighbours(&bench.sink, times).into_iter().filter(|(name, _)| wants(name)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let half = Box::pin(capacity(bench, engine, times, report)).await? / 2.0;
    let mut setting = Setting { bench, engine, times, half };
    for (name, disturbance) in &wanted {
        let bound = if matches!(disturbance, Disturbance::Flood { .. }) { FLOOD_BOUND } else { BOUND };
        let mut pairs = Pairs { neighbour: name, bound, p99_alone_ms: Vec::new(), p99_beside_ms: Vec::new() };
        for _ in 0..PAIRS {
            let (alone, beside) = match disturbance {
                Disturbance::Endpoints { urls, per_second } => {
                    Box::pin(setting.endpoints(name, urls, *per_second)).await?
                }
                Disturbance::Flood { within_limit } => Box::pin(setting.flood(name, *within_limit)).await?,
            };
            pairs.p99_alone_ms.push(alone.balance.latency.p99_ms);
            pairs.p99_beside_ms.push(beside.balance.latency.p99_ms);
            report.add(alone);
            report.add(beside);
        }
        report.isolation.push(pairs);
    }
    Ok(())
}

fn neighbours(sink: &Sink, times: &Times) -> [(&'static str, Disturbance); 7] {
    let per_second = 1.2 * PREFETCH / times.beside_seconds();
    let one = |url| Disturbance::Endpoints { urls: vec![url], per_second };
    let dead = (0..DEAD).map(|number| if number % 2 == 0 { sink.black_hole_url() } else { sink.refusing_url() });
    [
        ("black hole", one(sink.black_hole_url())),
        ("one byte a second", one(sink.dribbling_url())),
        ("refusing port", one(sink.refusing_url())),
        ("no such name", one("http://nobody.invalid/".to_owned())),
        // An event makes a delivery for each of them.
        ("1,000 dead endpoints", Disturbance::Endpoints { urls: dead.collect(), per_second: 0.5 }),
        ("tenant flood", Disturbance::Flood { within_limit: false }),
        ("flood within a limit", Disturbance::Flood { within_limit: true }),
    ]
}

/// Deliveries a second of one endpoint at full speed: as measured in this run, or measured now.
async fn capacity(bench: &Bench, engine: &mut Engine, times: &Times, report: &mut Report) -> anyhow::Result<f64> {
    if let Some(row) = report.rows.iter().find(|row| row.workload == "one endpoint") {
        return Ok(row.balance.deliveries_per_second);
    }
    let tenant = engine.tenant("capacity", no_limits()).await?;
    engine.endpoint(&tenant, endpoint("capacity", &bench.sink.url(0), "bench.event")).await?;
    in_force().await;
    let load = Load::Closed { seconds: times.closed, events: None, batch: 1 };
    let plan = Plan { warm_up_seconds: times.warm_up, ..Plan::of("capacity", &tenant, load, "bench.event") };
    let row = Box::pin(bench.measure(engine, &plan)).await?;
    let capacity = row.balance.deliveries_per_second;
    report.add(row);
    Ok(capacity)
}

impl Setting<'_> {
    /// A healthy endpoint, alone and beside bad endpoints of the same tenant.
    async fn endpoints(&mut self, name: &str, urls: &[String], per_second: f64) -> anyhow::Result<(Row, Row)> {
        let (bench, seconds) = (self.bench, self.times.beside_seconds());
        let tenant = self.engine.tenant(name, json!({ "endpoints": DEAD + 10 })).await?;
        self.engine.endpoint(&tenant, endpoint("healthy", &bench.sink.url(0), "bench.healthy")).await?;
        in_force().await;
        let before = format!("healthy, before {name}");
        let load = Load::Open { per_second: self.half, seconds };
        let plan = Plan { warm_up_seconds: self.times.warm_up, ..Plan::of(&before, &tenant, load, "bench.healthy") };
        let alone = Box::pin(bench.measure(self.engine, &plan)).await?;

        for (number, url) in urls.iter().enumerate() {
            let mut bad = endpoint(&format!("{name} {number}"), url, "bench.unheard");
            bad["timeout_seconds"] = json!(self.times.timeout);
            bad["retry_schedule_seconds"] = json!([]);
            self.engine.endpoint(&tenant, bad).await?;
        }
        in_force().await;
        let background =
            Background { tenant: &tenant, event_type: "bench.unheard", load: Load::Open { per_second, seconds } };
        let mut beside = Box::pin(bench.measure_beside(self.engine, &plan, name, background)).await?;
        let due = per_second * seconds * urls.len() as f64;
        beside.notes.push(format!("{due:.0} attempts came due for the neighbour; the figures include only their CPU"));
        self.engine.delete_tenant(&tenant).await?;
        Ok((alone, beside))
    }

    /// A tenant at a tenth of `half`, alone and beside another tenant that sends ten times as much.
    async fn flood(&mut self, name: &str, within_limit: bool) -> anyhow::Result<(Row, Row)> {
        let (bench, seconds, share) = (self.bench, self.times.beside_seconds(), self.half / 10.0);
        let limits: Limits =
            if within_limit { json!({ "events_per_second": share.round() as u32 }) } else { no_limits() };
        let quiet = self.engine.tenant("quiet", no_limits()).await?;
        let flooding = self.engine.tenant("flooding", limits).await?;
        let elsewhere = Sink::start().await?;
        self.engine.endpoint(&quiet, endpoint("quiet", &bench.sink.url(0), "bench.quiet")).await?;
        self.engine.endpoint(&flooding, endpoint("flooding", &elsewhere.url(0), "bench.flood")).await?;
        in_force().await;
        let before = format!("a tenant, before {name}");
        let load = Load::Open { per_second: share, seconds };
        let plan = Plan { warm_up_seconds: self.times.warm_up, ..Plan::of(&before, &quiet, load, "bench.quiet") };
        let alone = Box::pin(bench.measure(self.engine, &plan)).await?;
        let load = Load::Open { per_second: self.half, seconds };
        let background = Background { tenant: &flooding, event_type: "bench.flood", load };
        let mut beside = Box::pin(bench.measure_beside(self.engine, &plan, name, background)).await?;
        let (a_second, in_all) = bench.accepted_beside()?;
        beside.notes.push(format!(
            "the other tenant sent {:.0} events, {:.0} a second; {a_second:.0} a second were accepted meanwhile, {in_all} in all",
            self.half * seconds,
            self.half
        ));
        self.engine.delete_tenant(&quiet).await?;
        self.engine.delete_tenant(&flooding).await?;
        Ok((alone, beside))
    }
}
