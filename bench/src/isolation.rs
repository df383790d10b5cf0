//! Isolation: a healthy endpoint's p99 alone, and the same beside each kind of bad neighbour; and a rate that is kept.
//!
//! All of it at half of the capacity measured in the same run, for three of the neighbour's timeouts. While that lasts more
//! attempts come due for a neighbour that does not answer than a dispatcher takes from its lane ahead of time, so that they
//! would fill it if anything waited for them.
//!
//! Each is measured in pairs, alone and beside in turn, with new tenants and endpoints (so with closed breakers) in each pair.
//! What counts is the median of the pairs' ratios of p99, of the events about whose time the machine's own host took nothing from
//! it ([`crate::host`]); a pair with too few of them tells nothing, and another is measured instead.

use anyhow::Context as _;
use serde_json::json;
use tokio::time::{Duration, sleep};

use crate::engine::{Engine, no_limits};
use crate::report::{Pairs, Report, Row};
use crate::run::{Times, add, in_force};
use crate::workload::{Background, Bench, Load, Plan, Sink, endpoint};

/// Messages that a dispatcher takes ahead from its live lane.
const PREFETCH: f64 = 1_000.0;
/// Dead endpoints of the workload of that name.
const DEAD: u32 = 1_000;
/// The rate of the endpoint that many deliveries wait for.
const RATE: f64 = 10.0;
/// How often each is measured, alone and beside.
const PAIRS: usize = 5;
/// Pairs that are measured at most until so many counted.
const PAIRS_MAX: usize = 8;
/// The least share of deliveries that the host may have left undisturbed in a row that counts.
const UNDISTURBED_MIN: f64 = 0.2;
/// How often capacity is measured at most, until the host took no more than [`TAKEN_MAX`] meanwhile.
const CAPACITIES_MAX: usize = 5;
/// Of all processors' time, in percent.
const TAKEN_MAX: f64 = 1.0;
/// A healthy endpoint's p99 beside a bad neighbour, as a multiple of its p99 alone, at most.
const BOUND: f64 = 1.5;
/// The same for a tenant that keeps to its share beside one that does not.
const FLOOD_BOUND: f64 = 2.0;

/// A bad neighbour: endpoints of the same tenant.
struct Neighbour {
    name: &'static str,
    urls: Vec<String>,
    /// Events a second for all of its endpoints.
    per_second: f64,
}

/// The same workload twice, in this order.
struct Pair {
    alone: Row,
    beside: Row,
}

/// The p99 of what was undisturbed, if that is enough.
fn undisturbed_p99_ms(row: &Row) -> Option<f64> {
    let undisturbed = row.balance.undisturbed.as_ref()?;
    let enough = undisturbed.deliveries as f64 >= row.balance.deliveries as f64 * UNDISTURBED_MIN;
    (enough && undisturbed.latency.p99_ms > 0.0).then_some(undisturbed.latency.p99_ms)
}

impl Pairs {
    /// Whether there are enough, or enough was tried.
    fn done(&self) -> bool {
        self.ratios.len() >= self.needed || self.ratios.len() + self.disturbed >= PAIRS_MAX
    }

    /// Prints both rows and keeps what they say.
    fn add(&mut self, report: &mut Report, Pair { alone, mut beside }: Pair) {
        if let (Some(alone_ms), Some(beside_ms)) = (undisturbed_p99_ms(&alone), undisturbed_p99_ms(&beside)) {
            self.p99_alone_ms.push(alone_ms);
            self.p99_beside_ms.push(beside_ms);
            self.ratios.push(beside_ms / alone_ms);
            self.ratios_of_all.push(beside.balance.latency.p99_ms / alone.balance.latency.p99_ms);
            beside.p99_ratio = Some(beside_ms / alone_ms);
        } else {
            self.disturbed += 1;
            beside.notes.push("too few deliveries of the pair were undisturbed: it does not count".to_owned());
        }
        add(report, alone);
        add(report, beside);
    }
}

/// Every workload that is asked for.
pub(crate) async fn run(
    wants: impl Fn(&str) -> bool,
    bench: &Bench,
    engine: &mut Engine,
    times: &Times,
    report: &mut Report,
) -> anyhow::Result<()> {
    let seconds = f64::from(times.timeout) * 3.0;
    let more_than_prefetched = 1.2 * PREFETCH / seconds;
    let sink = &bench.sink;
    let one = |name, url, per_second| Neighbour { name, urls: vec![url], per_second };
    let dead = (0..DEAD).map(|number| if number % 2 == 0 { sink.black_hole_url() } else { sink.refusing_url() });
    let neighbours = [
        one("black hole", sink.black_hole_url(), more_than_prefetched),
        one("one byte a second", sink.dribbling_url(), more_than_prefetched),
        one("refusing port", sink.refusing_url(), more_than_prefetched),
        one("no such name", "http://nobody.invalid/".to_owned(), more_than_prefetched),
        // An event makes a delivery for each of them.
        Neighbour { name: "1,000 dead endpoints", urls: dead.collect(), per_second: 0.5 },
    ];
    let floods = [("tenant flood", false), ("flood within a limit", true)];
    let waiting = "waiting at 10/s";
    let names = neighbours.iter().map(|neighbour| neighbour.name).chain(floods.map(|(name, _)| name));
    let half =
        if names.into_iter().any(&wants) { Box::pin(capacity(bench, engine, times, report)).await? / 2.0 } else { 0.0 };
    for neighbour in neighbours.iter().filter(|neighbour| wants(neighbour.name)) {
        let mut pairs = Pairs::new(neighbour.name, BOUND, PAIRS);
        while !pairs.done() {
            pairs.add(report, Box::pin(beside(bench, engine, times, half, neighbour)).await?);
        }
        report.isolation.push(pairs);
    }
    for (name, limited) in floods.into_iter().filter(|(name, _)| wants(name)) {
        let mut pairs = Pairs::new(name, FLOOD_BOUND, PAIRS);
        while !pairs.done() {
            pairs.add(report, Box::pin(tenant_flood(bench, engine, times, half, name, limited)).await?);
        }
        report.isolation.push(pairs);
    }
    if wants(waiting) {
        Box::pin(rate(bench, engine, times, report)).await?;
    }
    Ok(())
}

/// Whether the machine's host took so much that it was another machine.
fn disturbed(row: &Row) -> bool {
    row.machine.is_some_and(|machine| machine.stolen_percent > TAKEN_MAX)
}

/// Deliveries a second that one endpoint gets as fast as it goes: as measured in this run, or now.
async fn capacity(bench: &Bench, engine: &mut Engine, times: &Times, report: &mut Report) -> anyhow::Result<f64> {
    if let Some(row) = report.rows.iter().find(|row| row.workload == "one endpoint" && !disturbed(row)) {
        return Ok(row.balance.deliveries_per_second);
    }
    let tenant = engine.tenant("capacity").await?;
    engine.endpoint(&tenant, endpoint("capacity", &bench.sink.url(0), "bench.event")).await?;
    in_force().await;
    let plan = Plan {
        name: "capacity",
        tenant: &tenant,
        load: Load::Closed { seconds: times.closed, events: None, batch: 1 },
        warm_up_seconds: times.warm_up,
        kinds: vec![("bench.event", vec![0])],
        settles: true,
        beside: None,
    };
    let mut highest: f64 = 0.0;
    for _ in 0..CAPACITIES_MAX {
        let row = Box::pin(bench.measure(engine, &plan)).await?;
        highest = highest.max(row.balance.deliveries_per_second);
        let enough = !disturbed(&row);
        add(report, row);
        if enough {
            break;
        }
    }
    Ok(highest)
}

/// A healthy endpoint at half of capacity, alone and beside the neighbour.
async fn beside(
    bench: &Bench,
    engine: &mut Engine,
    times: &Times,
    half: f64,
    neighbour: &Neighbour,
) -> anyhow::Result<Pair> {
    let seconds = f64::from(times.timeout) * 3.0;
    let tenant = engine.tenant_with(neighbour.name, json!({ "endpoints": DEAD + 10 })).await?;
    engine.endpoint(&tenant, endpoint("healthy", &bench.sink.url(0), "bench.healthy")).await?;
    in_force().await;
    let plan = Plan {
        name: &format!("healthy, before {}", neighbour.name),
        tenant: &tenant,
        load: Load::Open { per_second: half, seconds },
        warm_up_seconds: times.warm_up,
        kinds: vec![("bench.healthy", vec![0])],
        settles: true,
        beside: None,
    };
    let alone = Box::pin(bench.measure(engine, &plan)).await?;

    for (number, url) in neighbour.urls.iter().enumerate() {
        let mut asked = endpoint(&format!("{} {number}", neighbour.name), url, "bench.unheard");
        asked["timeout_seconds"] = json!(times.timeout);
        asked["retry_schedule_seconds"] = json!([]);
        engine.endpoint(&tenant, asked).await?;
    }
    in_force().await;
    let load = Load::Open { per_second: neighbour.per_second, seconds };
    let plan = Plan {
        name: &format!("beside {}", neighbour.name),
        warm_up_seconds: 0.0,
        settles: false,
        beside: Some(Background { tenant: &tenant, event_type: "bench.unheard", load }),
        ..plan
    };
    let mut row = Box::pin(bench.measure(engine, &plan)).await?;
    let due = neighbour.per_second * seconds * neighbour.urls.len() as f64;
    row.notes.push(format!("{due:.0} attempts came due for the neighbour; their CPU is in the figures, they are not"));
    engine.delete_tenant(&tenant).await?;
    Ok(Pair { alone, beside: row })
}

/// A tenant that keeps to its share, alone and while another sends ten times as much; which, where it is `limited`, may send its
/// own share only (`events_per_second`) and is refused the rest.
async fn tenant_flood(
    bench: &Bench,
    engine: &mut Engine,
    times: &Times,
    half: f64,
    name: &str,
    limited: bool,
) -> anyhow::Result<Pair> {
    let seconds = f64::from(times.timeout) * 3.0;
    let share = half / 10.0;
    let limits = if limited { json!({ "events_per_second": share.round() as u32 }) } else { no_limits() };
    let (quiet, flooding) = (engine.tenant("quiet").await?, engine.tenant_with("flooding", limits).await?);
    let elsewhere = Sink::start().await?;
    engine.endpoint(&quiet, endpoint("quiet", &bench.sink.url(0), "bench.quiet")).await?;
    engine.endpoint(&flooding, endpoint("flooding", &elsewhere.url(0), "bench.flood")).await?;
    in_force().await;
    let plan = Plan {
        name: &format!("a tenant, before {name}"),
        tenant: &quiet,
        load: Load::Open { per_second: share, seconds },
        warm_up_seconds: times.warm_up,
        kinds: vec![("bench.quiet", vec![0])],
        settles: true,
        beside: None,
    };
    let alone = Box::pin(bench.measure(engine, &plan)).await?;
    let load = Load::Open { per_second: half, seconds };
    let plan = Plan {
        name: &format!("beside {name}"),
        warm_up_seconds: 0.0,
        settles: false,
        beside: Some(Background { tenant: &flooding, event_type: "bench.flood", load }),
        ..plan
    };
    let mut row = Box::pin(bench.measure(engine, &plan)).await?;
    let (a_second, in_all) = bench.accepted_beside()?;
    let limit = if limited { format!(", may send {share:.0} a second") } else { String::new() };
    row.notes.push(format!(
        "the other tenant wanted to send {:.0} events, {half:.0} a second{limit}; {a_second:.0} a second were accepted meanwhile, {in_all} in all",
        half * seconds
    ));
    engine.delete_tenant(&quiet).await?;
    engine.delete_tenant(&flooding).await?;
    Ok(Pair { alone, beside: row })
}

/// Many deliveries that wait for an endpoint with a rate leave at that rate.
async fn rate(bench: &Bench, engine: &mut Engine, times: &Times, report: &mut Report) -> anyhow::Result<()> {
    let tenant = engine.tenant("rate").await?;
    let mut limited = endpoint("limited", &bench.sink.url(0), "bench.waiting");
    limited["rate_per_second"] = json!(RATE);
    let id = engine.endpoint(&tenant, limited).await?;
    in_force().await;
    bench.sink.reset().await?;
    let waiting = times.waiting;
    let plan = Plan {
        name: "waiting",
        tenant: &tenant,
        load: Load::Closed { seconds: 300.0, events: Some(waiting), batch: 100 },
        warm_up_seconds: 0.0,
        kinds: vec![("bench.waiting", vec![])],
        settles: false,
        beside: None,
    };
    bench.publish(engine, &plan).await?;
    bench.sink.reset().await?;
    sleep(Duration::from_secs_f64(times.open * 2.0)).await;
    let text = bench.sink.ledger().await?;
    let arrivals = crate::ledger::arrivals(&crate::ledger::parse_received(&text)?);
    engine.delete_endpoint(&tenant, &id).await?;
    let mut row = Row { workload: format!("{waiting} waiting at {RATE:.0}/s"), ..Row::default() };
    let left = arrivals.per_second.context("fewer than two deliveries left")?;
    row.balance.deliveries = arrivals.count;
    row.balance.deliveries_per_second = left;
    row.worst_second = Some(arrivals.worst_second);
    row.notes.push(format!("of {waiting} that wait; the rest is discarded with its endpoint"));
    add(report, row);
    // Until nothing arrives any more, which would count in what follows.
    bench.sink.wait_for(u64::MAX, Duration::from_secs(3)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Balance, Latency, Undisturbed};

    fn row(deliveries: u64, undisturbed: u64, p99_ms: f64) -> Row {
        let undisturbed = Undisturbed { deliveries: undisturbed, latency: Latency { p99_ms, ..Latency::default() } };
        Row { balance: Balance { deliveries, undisturbed: Some(undisturbed), ..Balance::default() }, ..Row::default() }
    }

    #[test]
    fn a_row_counts_when_a_fifth_of_it_was_undisturbed_and_never_when_nothing_was_delivered() {
        assert_eq!(undisturbed_p99_ms(&row(100, 20, 7.0)), Some(7.0));
        assert_eq!(undisturbed_p99_ms(&row(100, 19, 7.0)), None);
        assert_eq!(undisturbed_p99_ms(&row(0, 0, 0.0)), None);
        assert_eq!(undisturbed_p99_ms(&Row::default()), None);
    }

    #[test]
    fn pairs_that_do_not_count_are_measured_again_and_not_for_ever() {
        let (mut pairs, mut report) = (Pairs::new("a neighbour", BOUND, PAIRS), Report::default());
        let mut add = |pairs: &mut Pairs, undisturbed| {
            pairs.add(&mut report, Pair { alone: row(100, 100, 10.0), beside: row(100, undisturbed, 12.0) });
        };
        for _ in 0..4 {
            add(&mut pairs, 100);
            add(&mut pairs, 1);
        }
        assert_eq!((pairs.ratios.len(), pairs.disturbed, pairs.done()), (4, 4, true));
        let mut pairs = Pairs::new("a neighbour", BOUND, PAIRS);
        for _ in 0..PAIRS {
            assert!(!pairs.done());
            add(&mut pairs, 100);
        }
        assert!(pairs.done() && pairs.ratios == [1.2; PAIRS]);
    }
}
