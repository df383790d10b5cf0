//! What happens while much waits: on the delay ladder, in a lane, before a sink that is off; and what more dispatchers bring.

use anyhow::Context as _;
use serde_json::json;
use std::time::{Duration, Instant};

use crate::clock::now_ns;
use crate::engine::{Engine, Tenant};
use crate::ledger::{self, Retried};
use crate::processes::Watched;
use crate::report::{Report, Row};
use crate::run::{Times, add, in_force};
use crate::sink::seconds_until;
use crate::workload::{Bench, Load, PATIENCE, Plan, SETTLE_WITHIN, endpoint, readings, rows};

const TYPE: &str = "bench.waiting";
/// Events a second, in the row whose retries are due one after the other.
const SPREAD_PER_SECOND: f64 = 1_000.0;
/// Deliveries of the rows that compare numbers of dispatchers.
const SHARED: u64 = 20_000;
/// Deliveries before these, after which an endpoint's concurrency has grown.
const SHARED_WARM_UP: u64 = 3_000;

/// The names that `--only` picks from.
const PARKED_SPREAD: &str = "parked, due one after the other";
const PARKED_AT_ONCE: &str = "parked, due at once";
const BACKLOG: &str = "a standstill, drained";
const OFF: &str = "a sink that is off";
const SHARED_BY: &str = "a 50 ms sink, dispatchers:";

/// How much waits.
pub(crate) struct Amounts {
    /// Deliveries that are parked.
    pub(crate) parked: u64,
    /// Seconds that they are parked for.
    pub(crate) parked_seconds: u64,
    /// Events that are published while no dispatcher runs.
    pub(crate) backlog: u64,
    /// Deliveries to a sink that is off.
    pub(crate) off: u64,
}

/// Every workload that is asked for.
pub(crate) async fn run(
    wants: impl Fn(&str) -> bool,
    bench: &Bench,
    engine: &mut Engine,
    times: &Times,
    report: &mut Report,
) -> anyhow::Result<()> {
    let amounts = &times.amounts;
    if wants(PARKED_SPREAD) {
        add(report, Box::pin(parked_spread(bench, engine, amounts)).await?);
    }
    if wants(PARKED_AT_ONCE) {
        add(report, Box::pin(parked_at_once(bench, engine, amounts)).await?);
    }
    if wants(BACKLOG) {
        Box::pin(backlog(bench, engine, times, report)).await?;
    }
    for dispatchers in 1..=3 {
        let name = format!("{SHARED_BY} {dispatchers}");
        if wants(&name) {
            let mut row = Box::pin(shared_by(bench, engine, &name, dispatchers)).await?;
            if dispatchers > 1
                && let Some(one) = report.rows.iter().find(|row| row.workload == format!("{SHARED_BY} 1"))
            {
                let times = row.balance.deliveries_per_second / one.balance.deliveries_per_second;
                row.notes.push(format!("{times:.2} times what one dispatcher makes"));
            }
            add(report, row);
        }
    }
    // Last, because what waits here comes back now and then until its tenant is deleted.
    let name = format!("{OFF}, {} deliveries", amounts.off);
    if wants(&name) {
        add(report, Box::pin(off(bench, engine, &name, amounts.off)).await?);
    }
    Ok(())
}

fn plan<'a>(name: &'a str, tenant: &'a Tenant, load: Load, endpoints: u16) -> Plan<'a> {
    Plan {
        name,
        tenant,
        load,
        warm_up_seconds: 0.0,
        kinds: vec![(TYPE, (0..endpoints).collect())],
        settles: true,
        beside: None,
    }
}

fn watched(bench: &Bench, engine: &Engine) -> Vec<Watched> {
    engine.watched().into_iter().chain(bench.engines.iter().cloned()).chain(bench.sink.watched()).collect()
}

/// Every first attempt is refused, at a steady pace; so the retries come due at the same pace.
async fn parked_spread(bench: &Bench, engine: &mut Engine, amounts: &Amounts) -> anyhow::Result<Row> {
    let tenant = engine.tenant(PARKED_SPREAD).await?;
    let mut asked = endpoint("parked", &bench.sink.later_url(0), TYPE);
    asked["retry_schedule_seconds"] = json!([amounts.parked_seconds]);
    engine.endpoint(&tenant, asked).await?;
    in_force().await;
    let load = Load::Open { per_second: SPREAD_PER_SECOND, seconds: amounts.parked as f64 / SPREAD_PER_SECOND };
    let delay_ns = amounts.parked_seconds * 1_000_000_000;
    parked(bench, engine, &plan(PARKED_SPREAD, &tenant, load, 1), amounts, |first| first + delay_ns, 1.0).await
}

/// Every first attempt is asked to come again at the same moment, but for a third that is answered.
async fn parked_at_once(bench: &Bench, engine: &mut Engine, amounts: &Amounts) -> anyhow::Result<Row> {
    let tenant = engine.tenant(PARKED_AT_ONCE).await?;
    // The parking itself takes some seconds, and what is parked last has to wait long enough to wait with the first.
    let until = now_ns() / 1_000_000_000 + amounts.parked_seconds + amounts.parked / 3_000;
    let mut asked = endpoint("parked", &bench.sink.until_url(0, until), TYPE);
    asked["retry_schedule_seconds"] = json!([1]);
    engine.endpoint(&tenant, asked).await?;
    in_force().await;
    let share = 1.0 - 1.0 / crate::sink::ANSWERED_OF as f64;
    let events = (amounts.parked as f64 / share) as u64;
    let load = Load::Closed { seconds: 300.0, events: Some(events), batch: 100 };
    let due = move |first| first + seconds_until(until, first) * 1_000_000_000;
    parked(bench, engine, &plan(PARKED_AT_ONCE, &tenant, load, 1), amounts, due, share).await
}

/// Publishes, and waits until the `share` of all that was refused has come a second time.
async fn parked(
    bench: &Bench,
    engine: &mut Engine,
    plan: &Plan<'_>,
    amounts: &Amounts,
    due_ns: impl Fn(u64) -> u64,
    share: f64,
) -> anyhow::Result<Row> {
    bench.sink.reset().await?;
    let watched = watched(bench, engine);
    let before = readings(&watched);
    let (done, ledger) = bench.generate(engine, plan, &plan.load).await?;
    let accepted = ledger::read(&ledger)?.len() as u64;
    let expected = accepted + (accepted as f64 * share) as u64;
    let patience = Duration::from_secs(amounts.parked_seconds * 2) + PATIENCE;
    bench.sink.wait_for(expected, patience).await?;
    engine.settle(SETTLE_WITHIN).await.with_context(|| plan.name.to_owned())?;
    engine.check_alive()?;

    let mut row = Row { workload: plan.name.to_owned(), refused: done.refused, ..Row::default() };
    row.balance = bench.balance(&ledger, &plan.routes(), None).await?;
    let text = bench.sink.ledger().await?;
    let Retried { count, early, duplicated, per_second, lateness } =
        ledger::retried(&ledger::parse_received(&text)?, due_ns);
    row.processes = rows(&watched, &before, accepted + count, &[("generator", &done)]);
    // The second arrivals are what this row is about; the ledgers call them duplicates, too.
    row.balance.duplicated = duplicated;
    (row.balance.deliveries, row.balance.deliveries_per_second, row.balance.latency) = (count, per_second, lateness);
    row.notes.push(format!("deliveries are second attempts, latency is how late they came; {early} came early"));
    Ok(row)
}

/// Events gather while no dispatcher runs; then one drains them.
async fn backlog(bench: &Bench, engine: &mut Engine, times: &Times, report: &mut Report) -> anyhow::Result<()> {
    let (events, usual) = (times.amounts.backlog, engine.usual_dispatchers());
    let tenant = engine.tenant(BACKLOG).await?;
    engine.endpoint(&tenant, endpoint("drained", &bench.sink.url(0), TYPE)).await?;
    in_force().await;
    // What the drain is compared with: the same deliveries, as they come.
    let load = Load::Closed { seconds: times.closed, events: None, batch: 100 };
    let name = format!("before {BACKLOG}");
    let usually = Plan { warm_up_seconds: times.warm_up, ..plan(&name, &tenant, load, 1) };
    let usually = Box::pin(bench.measure(engine, &usually)).await?;
    let per_second = usually.balance.deliveries_per_second;
    add(report, usually);

    engine.restart_dispatchers(0).await?;
    bench.sink.reset().await?;
    let name = format!("{BACKLOG}, {events} events");
    let load = Load::Closed { seconds: 900.0, events: Some(events), batch: 100 };
    let plan = plan(&name, &tenant, load, 1);
    let (done, ledger) = bench.generate(engine, &plan, &plan.load).await?;
    engine.restart_dispatchers(usual).await?;
    let watched = watched(bench, engine);
    let before = readings(&watched);
    let accepted = ledger::read(&ledger)?.len() as u64;
    bench.sink.wait_for(accepted, PATIENCE).await?;
    let received = Instant::now();
    let empty = engine.settle(SETTLE_WITHIN).await.with_context(|| name.clone())?;
    engine.check_alive()?;
    let mut row = Row { workload: name.clone(), refused: done.refused, ..Row::default() };
    row.recorded_after_seconds = Some(empty.saturating_duration_since(received).as_secs_f64());
    row.balance = bench.balance(&ledger, &plan.routes(), None).await?;
    row.processes = rows(&watched, &before, row.balance.deliveries, &[]);
    let share = row.balance.deliveries_per_second / per_second * 100.0;
    row.notes.push(format!("drained at {share:.0}% of the rate of the row above; latency counts from the publish"));
    add(report, row);
    Ok(())
}

/// An endpoint that takes 50 ms, shared by so many dispatchers.
async fn shared_by(bench: &Bench, engine: &mut Engine, name: &str, dispatchers: usize) -> anyhow::Result<Row> {
    let usual = engine.usual_dispatchers();
    engine.restart_dispatchers(dispatchers).await?;
    let tenant = engine.tenant(name).await?;
    engine.endpoint(&tenant, endpoint("slow", &bench.sink.slow_url(0), TYPE)).await?;
    in_force().await;
    let load = |events| Load::Closed { seconds: 300.0, events: Some(events), batch: 100 };
    bench.sink.reset().await?;
    bench.fill(engine, &plan(name, &tenant, load(SHARED_WARM_UP), 1), &bench.sink).await?;
    let row = Box::pin(bench.measure(engine, &plan(name, &tenant, load(SHARED), 1))).await?;
    engine.delete_tenant(&tenant).await?;
    engine.restart_dispatchers(usual).await?;
    Ok(row)
}

/// Deliveries to an endpoint that refuses every connection: all of them end up on the ladder.
async fn off(bench: &Bench, engine: &mut Engine, name: &str, count: u64) -> anyhow::Result<Row> {
    let tenant = engine.tenant(name).await?;
    engine.endpoint(&tenant, endpoint("off", &bench.sink.refusing_url(), TYPE)).await?;
    in_force().await;
    let watched = watched(bench, engine);
    let before = readings(&watched);
    let load = Load::Closed { seconds: 900.0, events: Some(count), batch: 100 };
    let plan = plan(name, &tenant, load, 0);
    let begun = Instant::now();
    let (done, ledger) = bench.generate(engine, &plan, &plan.load).await?;
    let published = begun.elapsed();
    engine.drained(Duration::from_secs(60 + count / 1_000)).await.with_context(|| name.to_owned())?;
    let parked = begun.elapsed();
    engine.check_alive()?;
    let mut row = Row { workload: name.to_owned(), refused: done.refused, ..Row::default() };
    row.balance.accepted = ledger::read(&ledger)?.len() as u64;
    row.balance.accepted_per_second = row.balance.accepted as f64 / published.as_secs_f64();
    row.processes = rows(&watched, &before, row.balance.accepted, &[("generator", &done)]);
    row.notes.push(format!(
        "none can be delivered: all were tried or sent to wait {:.0} s after the first was published",
        parked.as_secs_f64()
    ));
    engine.delete_tenant(&tenant).await?;
    Ok(row)
}
