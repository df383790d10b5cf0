//! Measures one workload: warms up, publishes, waits until all deliveries are received and recorded, and compares the ledgers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::future::OptionFuture;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::engine::{Engine, EngineOptions};
use crate::generate::Generated;
use crate::ledger::Accepted;
use crate::load::{Load, Plan, Times, Traffic};
use crate::part::{output, own_command};
use crate::processes::{Kind, MachineTime, Usage, Watched};
use crate::receiver::Sink;
use crate::report::{ProcessRow, Row};

/// Maximum time until all deliveries are recorded. It is also the maximum time until the queues are empty.
const QUEUES_EMPTY_WITHIN: Duration = Duration::from_secs(120);
/// Pause after which other tenants are inactive. Fan-out's fair shares count a tenant as active if it published within the last
/// five seconds (`tenant_shares.rs`). A workload starts when only its own tenant is active.
const INACTIVE_AFTER: Duration = Duration::from_secs(6);

/// The state that all workloads share.
pub(crate) struct Bench {
    /// The sink that receives the measured deliveries.
    pub(crate) sink: Sink,
    /// The sink that receives the deliveries of other tenants. Its CPU is not measured.
    pub(crate) other_sink: Sink,
    /// The processes of the broker and the database, if they were found.
    pub(crate) engines: Vec<Watched>,
    /// The options with which the services are started.
    pub(crate) options: EngineOptions,
    /// The durations of the workloads.
    pub(crate) times: Times,
    /// The selected groups and parts of names. If empty, all workloads are selected.
    pub(crate) only: Vec<String>,
    /// Length of an event in bytes.
    pub(crate) event_bytes: usize,
}

/// Readings of CPU time at the start of a measurement.
struct Start {
    processes: Vec<(Watched, Usage)>,
    machine: MachineTime,
}

impl Start {
    /// Reads the CPU time of `processes` and resets their peaks of memory.
    fn of(processes: impl Iterator<Item = Watched>) -> Self {
        let reading = |process: Watched| {
            process.reset_peak();
            let usage = process.usage();
            (process, usage)
        };
        Self { processes: processes.map(reading).collect(), machine: MachineTime::now() }
    }

    /// Returns the resources that each process has used since the start.
    fn used(&self) -> Vec<ProcessRow> {
        let used = |(process, before): &(Watched, Usage)| {
            let after = process.usage();
            let cpu_seconds = (after.cpu_seconds - before.cpu_seconds).max(0.0);
            ProcessRow::of(&process.name, process.kind, Usage { cpu_seconds, ..after })
        };
        self.processes.iter().map(used).collect()
    }

    /// Sets the processes of the row to the resources used until now. The generator (or the bare path) has already ended, so
    /// its resources are read from `done`.
    fn account(&self, row: &mut Row, generator: &str, done: &Generated) {
        row.processes = self.used();
        row.processes.push(ProcessRow::of(generator, Kind::Instrument, done.usage));
        let measured = row.processes.iter().map(|process| process.cpu_seconds).sum();
        row.other_percent = MachineTime::now().other_percent_since(self.machine, measured);
    }
}

impl Bench {
    /// Whether a workload is selected by its name or by its group.
    pub(crate) fn wants(&self, group: &str, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == group || name.contains(only.as_str()))
    }

    /// Measures the bare path.
    pub(crate) async fn bare(&self, name: &str, load: Load, warm_up: f64) -> anyhow::Result<Row> {
        self.run_bare(load.lasting(warm_up)).await?;
        self.sink.reset().await?;
        let start = Start::of(self.instruments());
        let done = self.run_bare(load).await?;
        let mut row = row(name, load, &done, start.machine);
        row.balance = self.sink.balance(&done.accepted, 1).await?;
        start.account(&mut row, "bare", &done);
        row.add_warnings();
        Ok(row)
    }

    async fn run_bare(&self, load: Load) -> anyhow::Result<Generated> {
        let mut command = own_command()?;
        command.arg("bare").env("POSTRIDER_AMQP_URL", &self.options.amqp_url).args(["--sink", &self.sink.address()]);
        command.args(["--bytes", &self.event_bytes.to_string()]).args(load.arguments());
        output(&mut command).await
    }

    /// Measures a workload. If no other traffic is published at the same time, the measurement ends when all deliveries are
    /// recorded.
    pub(crate) async fn measure(&self, engine: &mut Engine, plan: &Plan<'_>) -> anyhow::Result<Row> {
        let Plan { name, traffic, endpoints, .. } = plan;
        if plan.warm_up_seconds > 0.0 {
            self.warm_up(engine, plan).await.with_context(|| format!("warming up {name:?}"))?;
        }
        let tenant = traffic.tenants.first().context("a workload without a tenant")?;
        let before = engine.recorded(tenant).await?;
        self.sink.reset().await?;
        if let Some(burst) = &plan.before {
            self.generate(engine, burst).await?;
        }
        let start = Start::of(engine.watched().into_iter().chain(self.instruments()));
        let mut deepest = BTreeMap::new();
        let beside = OptionFuture::from(plan.beside.as_ref().map(|beside| self.generate(engine, beside)));
        let (done, beside) = tokio::select! {
            published = async { futures::join!(self.generate(engine, traffic), beside) } => {
                (published.0?, published.1.transpose()?)
            }
            Err(error) = engine.watch_depths(&mut deepest) => return Err(error),
        };
        let mut row = row(name, traffic.load, &done, start.machine);
        (row.services, row.deepest) = (engine.services_label(), deepest);
        self.sink.wait_for(done.accepted.len() as u64 * u64::from(*endpoints)).await?;
        let received = Instant::now();
        engine.check_alive()?;
        row.balance = self.sink.balance(&done.accepted, *endpoints).await?;
        match beside {
            Some(beside) => row.notes.push(accepted_beside(&done.accepted, &beside.accepted)?),
            None => {
                let recorded =
                    engine.wait_recorded(tenant, before + row.balance.deliveries, QUEUES_EMPTY_WITHIN).await?;
                row.recorded = Some(recorded.saturating_sub(before));
                row.recorded_after_seconds = Some(received.elapsed().as_secs_f64());
                engine.wait_until_queues_are_empty(QUEUES_EMPTY_WITHIN).await.with_context(|| name.clone())?;
            }
        }
        start.account(&mut row, "generator", &done);
        row.add_warnings();
        Ok(row)
    }

    /// Publishes the traffic of the workload without measuring it. Waits until the deliveries are received and recorded, and
    /// until no other tenant is active.
    async fn warm_up(&self, engine: &Engine, plan: &Plan<'_>) -> anyhow::Result<()> {
        engine.wait_until_queues_are_empty(QUEUES_EMPTY_WITHIN).await?;
        let others_stopped = Instant::now();
        self.sink.reset().await?;
        let traffic = Traffic { load: plan.traffic.load.lasting(plan.warm_up_seconds), ..plan.traffic.clone() };
        let done = self.generate(engine, &traffic).await?;
        self.sink.wait_for(done.accepted.len() as u64 * u64::from(plan.endpoints)).await?;
        engine.wait_until_queues_are_empty(QUEUES_EMPTY_WITHIN).await?;
        sleep(INACTIVE_AFTER.saturating_sub(others_stopped.elapsed())).await;
        Ok(())
    }

    /// Measures the resources that the services, the broker and the database use in `seconds` without traffic.
    pub(crate) async fn idle(&self, engine: &mut Engine, name: &str, seconds: f64) -> anyhow::Result<Row> {
        engine.wait_until_queues_are_empty(QUEUES_EMPTY_WITHIN).await?;
        sleep(INACTIVE_AFTER).await;
        let start = Start::of(engine.watched().into_iter().chain(self.engines.iter().cloned()));
        sleep(Duration::from_secs_f64(seconds)).await;
        let processes = start.used();
        engine.check_alive()?;
        let (workload, services) = (name.to_owned(), engine.services_label());
        Ok(Row { workload, services, idle_seconds: Some(seconds), processes, ..Row::default() })
    }

    async fn generate(&self, engine: &Engine, traffic: &Traffic<'_>) -> anyhow::Result<Generated> {
        let keys: Vec<&str> = traffic.tenants.iter().map(|tenant| tenant.key.as_str()).collect();
        let mut command = own_command()?;
        command.arg("generate").env("POSTRIDER_BENCH_KEYS", keys.join(",")).args(["--address", engine.ingest()]);
        command.args(["--type", traffic.event_type, "--bytes", &self.event_bytes.to_string()]);
        command.args(traffic.load.arguments());
        output(&mut command).await
    }

    /// Returns the processes of the broker, the database and the sink, and this process.
    fn instruments(&self) -> impl Iterator<Item = Watched> {
        let own = Watched::process("bench", Kind::Instrument, std::process::id());
        self.engines.iter().cloned().chain(self.sink.watched()).chain([own])
    }
}

/// Creates a row with the figures that are known when publishing ends.
fn row(name: &str, load: Load, done: &Generated, start: MachineTime) -> Row {
    let refusal = done.first_refusal.iter().map(|answer| format!("the first refusal: {answer}"));
    Row {
        workload: name.to_owned(),
        fixed_rate: load.rate.is_some(),
        refused: done.refused,
        lateness: done.lateness.clone(),
        machine_busy_percent: MachineTime::now().busy_percent_since(start),
        notes: refusal.collect(),
        ..Row::default()
    }
}

/// Returns a note about the other traffic: how many of its events per second were accepted until the last response of the
/// measured traffic, and how many in total.
fn accepted_beside(own: &[Accepted], beside: &[Accepted]) -> anyhow::Result<String> {
    let first = own.iter().map(|event| event.sent_ns).min().context("nothing was accepted")?;
    let last = own.iter().map(|event| event.answered_ns).max().context("nothing was accepted")?;
    let meanwhile = beside.iter().filter(|event| event.answered_ns <= last).count();
    let per_second = meanwhile as f64 / Duration::from_nanos(last.saturating_sub(first)).as_secs_f64();
    Ok(format!("beside it {per_second:.0} events/s were accepted, {} in all", beside.len()))
}

/// Returns the body of a request to create an endpoint, for [`Engine::endpoint`].
pub(crate) fn endpoint(name: &str, url: &str, event_type: &str) -> Value {
    json!({ "name": name, "url": url, "event_types": [event_type] })
}

/// Waits until the configuration is in force in all processes, which takes at most two seconds.
pub(crate) async fn in_force() {
    sleep(Duration::from_millis(2_500)).await;
}
