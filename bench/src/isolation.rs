//! Isolation: how a bad neighbour affects the p99 latency of a healthy endpoint or of a quiet tenant.
//!
//! **Bad endpoints of the same tenant.** The healthy endpoint receives half of the measured capacity. The measurement lasts
//! three times the timeout of the bad endpoints. In that time, the bad endpoints have more due attempts than a dispatcher
//! prefetches. The p99 of the healthy endpoint with these neighbours is compared with its p99 without them.
//!
//! **Another tenant's flood.** One tenant sends half of the capacity. The p99 of the quiet tenant during this flood is compared
//! with its p99 while [`SPREAD`] tenants send the same load. The load itself increases the latency, so only the difference
//! shows unfairness.
//!
//! Each pair has new tenants and endpoints, so that all breakers are closed. The result is the median of the pairs' ratios.

use serde_json::{Value, json};

use crate::engine::{Engine, Tenant, no_limits};
use crate::everyday::ONE;
use crate::load::{Load, Plan, Traffic};
use crate::receiver::Sink;
use crate::report::{Pairs, Report, Row};
use crate::sink::Behaviour;
use crate::workload::{Bench, endpoint, in_force};

/// Number of messages that a dispatcher prefetches from the live lane.
const PREFETCH: f64 = 1_000.0;
/// Number of dead endpoints.
const DEAD: u32 = 1_000;
/// Number of measured pairs for each neighbour.
const PAIRS: usize = 5;
/// Number of tenants that send the load of the flood in the measurement for comparison.
const SPREAD: u32 = 20;
/// The load of the quiet tenant as a share of the flood's load. It is half of what each of the [`SPREAD`] tenants sends. If the
/// quiet tenant sent more than each of them, it would exceed its fair share, and its p99 would not be a valid reference.
const QUIET_SHARE: f64 = 0.025;
/// The share of the flood's load that the limit accepts.
const LIMIT_SHARE: f64 = 0.1;

/// A bad neighbour.
enum Neighbour {
    /// Bad endpoints of the same tenant, and the number of events per second for all of them together.
    Endpoints { urls: Vec<String>, per_second: f64 },
    /// Another tenant, which sends half of the capacity. With `limited`, its limit `events_per_second` accepts a tenth of this
    /// load.
    Flood { limited: bool },
}

/// The data and services that the measurement of one pair needs.
struct Setting<'a> {
    bench: &'a Bench,
    engine: &'a mut Engine,
    report: &'a mut Report,
    /// Half of the capacity, in deliveries per second.
    half: f64,
}

/// Measures all selected neighbours.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let mut wanted = neighbours(bench);
    wanted.retain(|(name, _)| bench.wants("isolation", name));
    if wanted.is_empty() {
        return Ok(());
    }
    let mut engine = Box::pin(Engine::start(&bench.options)).await?;
    let result = Box::pin(measure(&wanted, bench, &mut engine, report)).await;
    engine.stop().await;
    result
}

async fn measure(
    wanted: &[(&'static str, Neighbour)],
    bench: &Bench,
    engine: &mut Engine,
    report: &mut Report,
) -> anyhow::Result<()> {
    let half = Box::pin(capacity(bench, engine, report)).await? / 2.0;
    let mut setting = Setting { bench, engine, report, half };
    for (name, neighbour) in wanted {
        let reference = match neighbour {
            Neighbour::Endpoints { .. } => "alone",
            Neighbour::Flood { .. } => "beside the same load of 20 tenants",
        };
        let mut pairs = Pairs { neighbour: name, reference, ..Pairs::default() };
        for number in 0..PAIRS {
            match neighbour {
                Neighbour::Endpoints { urls, per_second } => {
                    Box::pin(setting.endpoints(&mut pairs, urls, *per_second)).await?;
                }
                Neighbour::Flood { limited } => {
                    let limit = limited.then_some(half * LIMIT_SHARE);
                    Box::pin(setting.flood(&mut pairs, limit, number)).await?;
                }
            }
        }
        setting.report.isolation.push(pairs);
    }
    Ok(())
}

fn neighbours(bench: &Bench) -> Vec<(&'static str, Neighbour)> {
    // At this rate, more attempts become due within the measured time than a dispatcher prefetches.
    let per_second = (PREFETCH * 1.5 / bench.times.beside_seconds()).ceil();
    let one = |url: String| Neighbour::Endpoints { urls: vec![url], per_second };
    let [black_hole, dribbling, refusing] =
        [Behaviour::Swallows, Behaviour::Dribbles, Behaviour::Refuses].map(|behaviour| bench.sink.url_of(behaviour));
    let dead = (0..DEAD).map(|number| if number % 2 == 0 { black_hole.clone() } else { refusing.clone() }).collect();
    vec![
        ("a black hole", one(black_hole)),
        ("one byte a second", one(dribbling)),
        ("a refusing port", one(refusing)),
        ("no such name", one("http://nobody.invalid/".to_owned())),
        // Each event is delivered to all of these endpoints.
        ("1,000 dead endpoints", Neighbour::Endpoints { urls: dead, per_second: 0.5 }),
        ("a tenant flood", Neighbour::Flood { limited: false }),
        ("a flood within a limit", Neighbour::Flood { limited: true }),
    ]
}

/// The row of one endpoint at full speed, if the workload [`ONE`] does not run.
pub(crate) const CAPACITY: &str = "capacity";

/// Returns the deliveries per second of one endpoint at full speed. Measures the value if this run has not measured it yet.
pub(crate) async fn capacity(bench: &Bench, engine: &mut Engine, report: &mut Report) -> anyhow::Result<f64> {
    if let Some(capacity) = report.deliveries_per_second(ONE).or_else(|| report.deliveries_per_second(CAPACITY)) {
        return Ok(capacity);
    }
    let tenant = engine.tenant(CAPACITY, no_limits()).await?;
    engine.endpoint(&tenant, endpoint(CAPACITY, &bench.sink.url(0), "bench.event")).await?;
    in_force().await;
    let traffic = Traffic::of(&tenant, "bench.event", Load::full_speed(bench.times.full_speed));
    let row = Box::pin(bench.measure(engine, &Plan::of(CAPACITY, traffic, bench.times.warm_up))).await?;
    let capacity = row.balance.deliveries_per_second;
    report.add(row);
    Ok(capacity)
}

impl Setting<'_> {
    /// Measures a workload and returns its p99 in milliseconds.
    async fn p99_ms(&mut self, plan: &Plan<'_>) -> anyhow::Result<f64> {
        let row: Row = Box::pin(self.bench.measure(self.engine, plan)).await?;
        let p99_ms = row.balance.latency.p99_ms;
        self.report.add(row);
        Ok(p99_ms)
    }

    /// Measures a healthy endpoint, first alone and then together with bad endpoints of the same tenant.
    async fn endpoints(&mut self, pairs: &mut Pairs, urls: &[String], per_second: f64) -> anyhow::Result<()> {
        let (bench, seconds, name) = (self.bench, self.bench.times.beside_seconds(), pairs.neighbour);
        let tenant = self.engine.tenant(name, json!({ "endpoints": DEAD + 10 })).await?;
        self.engine.endpoint(&tenant, endpoint("healthy", &bench.sink.url(0), "bench.healthy")).await?;
        in_force().await;
        let traffic = Traffic::of(&tenant, "bench.healthy", Load::at(self.half, seconds));
        let alone = Plan::of(&format!("before {name}"), traffic.clone(), self.bench.times.warm_up);
        pairs.p99_reference_ms.push(self.p99_ms(&alone).await?);

        for (number, url) in urls.iter().enumerate() {
            let mut bad = endpoint(&format!("{name} {number}"), url, "bench.unheard");
            bad["timeout_seconds"] = json!(self.bench.times.timeout);
            bad["retry_schedule_seconds"] = json!([]);
            self.engine.endpoint(&tenant, bad).await?;
        }
        in_force().await;
        // There is no warm-up, because the breakers must be closed at the start.
        let beside = Plan {
            beside: Some(Traffic::of(&tenant, "bench.unheard", Load::at(per_second, seconds))),
            ..Plan::of(&format!("beside {name}"), traffic, 0.0)
        };
        pairs.p99_beside_ms.push(self.p99_ms(&beside).await?);
        self.engine.delete_tenant(&tenant).await
    }

    /// Measures a quiet tenant during a flood of one tenant, and during the same load from many tenants. The order alternates.
    /// `limit` is the number of events per second that the flooding tenants together may send.
    async fn flood(&mut self, pairs: &mut Pairs, limit: Option<f64>, number: usize) -> anyhow::Result<()> {
        let (name, seconds, warm_up) = (pairs.neighbour, self.bench.times.beside_seconds(), self.bench.times.warm_up);
        let quiet = self.tenant("quiet", no_limits(), &self.bench.sink).await?;
        let flooding = self.tenants(1, limit).await?;
        let spread = self.tenants(SPREAD, limit).await?;
        in_force().await;
        let traffic = Traffic::of(&quiet, "bench.event", Load::at(self.half * QUIET_SHARE, seconds));
        if number == 0 {
            let alone = Plan::of(&format!("a quiet tenant, before {name}"), traffic.clone(), warm_up);
            pairs.p99_alone_ms.push(self.p99_ms(&alone).await?);
        }
        let load = Load::at(self.half, seconds);
        let plan = |name: String, tenants| Plan {
            beside: Some(Traffic { tenants, event_type: "bench.event", load }),
            ..Plan::of(&name, traffic.clone(), warm_up)
        };
        let beside = plan(format!("beside {name}"), flooding.iter().collect());
        let reference = plan(format!("beside {SPREAD} tenants, as much as {name}"), spread.iter().collect());
        if number.is_multiple_of(2) {
            pairs.p99_beside_ms.push(self.p99_ms(&beside).await?);
            pairs.p99_reference_ms.push(self.p99_ms(&reference).await?);
        } else {
            pairs.p99_reference_ms.push(self.p99_ms(&reference).await?);
            pairs.p99_beside_ms.push(self.p99_ms(&beside).await?);
        }
        for tenant in [quiet].iter().chain(&flooding).chain(&spread) {
            self.engine.delete_tenant(tenant).await?;
        }
        Ok(())
    }

    /// Creates tenants with endpoints at the other sink. `limit` is the number of events per second that all of them together
    /// may send.
    async fn tenants(&self, count: u32, limit: Option<f64>) -> anyhow::Result<Vec<Tenant>> {
        let limits = limit.map_or_else(
            no_limits,
            |limit| json!({ "events_per_second": (limit / f64::from(count)).round().max(1.0) as u32 }),
        );
        let mut tenants = Vec::new();
        for number in 0..count {
            tenants.push(self.tenant(&format!("flooding {number}"), limits.clone(), &self.bench.other_sink).await?);
        }
        Ok(tenants)
    }

    async fn tenant(&self, name: &str, limits: Value, sink: &Sink) -> anyhow::Result<Tenant> {
        let tenant = self.engine.tenant(name, limits).await?;
        self.engine.endpoint(&tenant, endpoint(name, &sink.url(0), "bench.event")).await?;
        Ok(tenant)
    }
}
