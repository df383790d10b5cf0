//! Measuring one workload: warm up, publish, wait until all is received and on record, compare the ledgers.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{sleep, timeout};

use crate::engine::{Engine, Tenant};
use crate::generate::Generated;
use crate::host::{Taken, Watch};
use crate::http::{self, Connection};
use crate::ledger::{self, Accepted, Balance};
use crate::processes::{MachineTime, Usage, Watched};
use crate::report::{ProcessRow, Row};
use crate::sink::SinkPorts;

/// How long deliveries may take to arrive, and the recorder to finish, after the last publish.
pub(crate) const SETTLE_WITHIN: Duration = Duration::from_secs(120);

/// How long the sink may receive nothing before missing deliveries are taken for lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// The sink's process.
pub(crate) struct Sink {
    child: Child,
    /// The process ends when this closes.
    _lifeline: ChildStdin,
    /// Its ports.
    pub(crate) ports: SinkPorts,
}

impl Sink {
    /// Starts it.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let mut child = own_command()?.arg("sink").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let lifeline = child.stdin.take().context("the sink's input")?;
        let output = child.stdout.take().context("the sink's output")?;
        let line = BufReader::new(output).lines().next_line().await?.context("the sink ended at once")?;
        Ok(Self { child, _lifeline: lifeline, ports: serde_json::from_str(&line)? })
    }

    /// `host:port` where deliveries are answered.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.port)
    }

    /// The URL of the endpoint `number`.
    pub(crate) fn url(&self, number: u16) -> String {
        format!("http://{}/e/{number}", self.address())
    }

    /// The URL of the endpoint `number` that takes 50 ms to answer.
    pub(crate) fn slow_url(&self, number: u16) -> String {
        format!("http://{}/slow/{number}", self.address())
    }

    /// The URL of the endpoint `number` that answers 404 to whatever it sees for the first time.
    pub(crate) fn later_url(&self, number: u16) -> String {
        format!("http://{}/later/{number}", self.address())
    }

    /// The URL of the endpoint `number` that asks to be left alone until the second `until` of the epoch.
    pub(crate) fn until_url(&self, number: u16, until: u64) -> String {
        format!("http://{}/until/{number}/{until}", self.address())
    }

    /// The URL of the endpoint that never answers.
    pub(crate) fn black_hole_url(&self) -> String {
        format!("http://127.0.0.1:{}/e/0", self.ports.black_hole_port)
    }

    /// The URL of the endpoint that answers a byte a second.
    pub(crate) fn dribbling_url(&self) -> String {
        format!("http://127.0.0.1:{}/e/0", self.ports.dribbling_port)
    }

    /// A URL that nobody listens at.
    pub(crate) fn refusing_url(&self) -> String {
        format!("http://127.0.0.1:{}/e/0", self.ports.refusing_port)
    }

    /// Its process, for the figures.
    pub(crate) fn watched(&self) -> Option<Watched> {
        Some(Watched::process("sink", self.child.id()?))
    }

    async fn ask(&self, method: &str, target: &str) -> anyhow::Result<Vec<u8>> {
        let address = self.address();
        let mut connection = Connection::open(&address).await?;
        Ok(connection.send(&http::request(method, target, &address, "", b"")).await?.body.to_vec())
    }

    /// Deliveries received so far.
    pub(crate) async fn received(&self) -> anyhow::Result<u64> {
        self.count("received").await
    }

    async fn count(&self, what: &str) -> anyhow::Result<u64> {
        let counts: Value = serde_json::from_slice(&self.ask("GET", "/count").await?)?;
        counts[what].as_u64().context("a count")
    }

    /// Forgets what was received.
    pub(crate) async fn reset(&self) -> anyhow::Result<()> {
        self.ask("POST", "/reset").await.map(drop)
    }

    /// What was received, a line each.
    pub(crate) async fn ledger(&self) -> anyhow::Result<String> {
        Ok(String::from_utf8(self.ask("GET", "/ledger").await?)?)
    }

    /// Waits until `expected` deliveries came, or none came for `patience`.
    pub(crate) async fn wait_for(&self, expected: u64, patience: Duration) -> anyhow::Result<()> {
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let count = self.count("received").await?;
            if count >= expected || since.elapsed() > patience {
                return Ok(());
            }
            if count > last {
                (last, since) = (count, Instant::now());
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What publishes.
#[derive(Debug, Clone)]
pub(crate) enum Load {
    /// As fast as 64 connections go.
    Closed {
        /// For how long.
        seconds: f64,
        /// Instead of a time, a number of events.
        events: Option<u64>,
        /// Events a request; 1 posts singly.
        batch: usize,
    },
    /// At a fixed rate.
    Open {
        /// Events a second.
        per_second: f64,
        /// For how long.
        seconds: f64,
    },
}

impl Load {
    fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        match self {
            Self::Closed { seconds, events, batch } => {
                add("--seconds", seconds.to_string());
                if *batch > 1 {
                    add("--batch", batch.to_string());
                }
                if let Some(events) = events {
                    add("--events", events.to_string());
                }
            }
            Self::Open { per_second, seconds } => {
                add("--seconds", seconds.to_string());
                add("--rate", per_second.to_string());
            }
        }
        arguments
    }

    /// The same for another length of time.
    pub(crate) fn lasting(&self, seconds: f64) -> Self {
        match self {
            Self::Closed { batch, .. } => Self::Closed { seconds, events: None, batch: *batch },
            Self::Open { per_second, .. } => Self::Open { per_second: *per_second, seconds },
        }
    }
}

/// A workload's parts.
pub(crate) struct Plan<'a> {
    /// The row's name.
    pub(crate) name: &'a str,
    /// Who publishes.
    pub(crate) tenant: &'a Tenant,
    /// What the generator does.
    pub(crate) load: Load,
    /// How long the same goes on before, unmeasured.
    pub(crate) warm_up_seconds: f64,
    /// Event types in turn, each with the endpoints (numbers at the sink) that must get it. None: not looked at.
    pub(crate) kinds: Vec<(&'a str, Vec<u16>)>,
    /// Whether the workload is done only when every queue is empty.
    pub(crate) settles: bool,
    /// What goes on beside it and is not looked at.
    pub(crate) beside: Option<Background<'a>>,
}

/// What a workload's own generator and the one beside it keep of accepted events.
const LEDGER: &str = "generator.ledger";
const LEDGER_BESIDE: &str = "beside.ledger";

/// What is published beside a workload.
pub(crate) struct Background<'a> {
    /// By whom.
    pub(crate) tenant: &'a Tenant,
    /// Of which type.
    pub(crate) event_type: &'a str,
    /// How much.
    pub(crate) load: Load,
}

/// The parts that every workload shares.
pub(crate) struct Bench {
    /// The receiver.
    pub(crate) sink: Sink,
    /// Broker and database, where they were found.
    pub(crate) engines: Vec<Watched>,
    /// Where ledgers go.
    pub(crate) folder: PathBuf,
    /// An event's length in bytes.
    pub(crate) event_bytes: usize,
}

impl Bench {
    /// Measures the bare path.
    pub(crate) async fn bare(
        &self,
        name: &str,
        amqp_url: &str,
        load: &Load,
        warm_up_seconds: f64,
    ) -> anyhow::Result<Row> {
        self.run_bare(amqp_url, &load.lasting(warm_up_seconds)).await?;
        self.sink.reset().await?;
        let watched: Vec<Watched> = self.engines.iter().cloned().chain(self.sink.watched()).collect();
        let (before, machine_before) = (readings(&watched), MachineTime::now());
        let host = Watch::start();
        let (done, ledger) = self.run_bare(amqp_url, load).await?;
        let machine = Some(MachineTime::now().since(machine_before));
        let balance = self.balance(&ledger, &[vec![0]], Some(&host.stop())).await?;
        let processes = rows(&watched, &before, balance.deliveries, &[("bare", &done)]);
        let connections = self.sink.count("connections").await?;
        let workload = name.to_owned();
        Ok(Row { workload, balance, processes, machine, connections, ..Row::default() })
    }

    async fn run_bare(&self, amqp_url: &str, load: &Load) -> anyhow::Result<(Generated, PathBuf)> {
        let ledger = self.folder.join("bare.ledger");
        let mut command = own_command()?;
        command.arg("bare").env("POSTRIDER_AMQP_URL", amqp_url).args(["--sink", &self.sink.address()]);
        command.args(["--bytes", &self.event_bytes.to_string()]).args(load.arguments());
        Ok((part(command.arg("--ledger").arg(&ledger)).await?, ledger))
    }

    /// Measures one workload of the engine.
    pub(crate) async fn measure(&self, engine: &mut Engine, plan: &Plan<'_>) -> anyhow::Result<Row> {
        if plan.warm_up_seconds > 0.0 {
            self.sink.reset().await?;
            let (_, ledger) = self.generate(engine, plan, &plan.load.lasting(plan.warm_up_seconds)).await?;
            // What is held on the delay ladder is in none of the queues below: what the sink got tells.
            self.sink.wait_for(expected(&ledger::read(&ledger)?, &plan.routes()), PATIENCE).await?;
            engine.settle(SETTLE_WITHIN).await.context("after the warm-up")?;
        }
        self.sink.reset().await?;
        let recorded_before = engine.recorded(plan.tenant).await;
        let watched: Vec<Watched> =
            engine.watched().into_iter().chain(self.engines.iter().cloned()).chain(self.sink.watched()).collect();
        let before = readings(&watched);

        let (machine_before, host) = (MachineTime::now(), Watch::start());
        let over = Cell::new(false);
        let publishing = async {
            let (result, beside) =
                futures::join!(self.generate(engine, plan, &plan.load), self.background(engine, plan));
            over.set(true);
            beside.and(result)
        };
        let (published, deepest) = futures::join!(publishing, engine.deepest(&over));
        let (done, ledger) = published?;
        let machine = Some(MachineTime::now().since(machine_before));
        let routes = plan.routes();
        self.sink.wait_for(expected(&ledger::read(&ledger)?, &routes), PATIENCE).await?;
        let received = Instant::now();
        let mut row = Row { workload: plan.name.to_owned(), machine, deepest: deepest?, ..Row::default() };
        if plan.settles {
            let empty = engine.settle(SETTLE_WITHIN).await.with_context(|| plan.name.to_owned())?;
            row.recorded_after_seconds = Some(empty.saturating_duration_since(received).as_secs_f64());
        }
        engine.check_alive()?;
        row.connections = self.sink.count("connections").await?;
        row.balance = self.balance(&ledger, &routes, Some(&host.stop())).await?;
        row.processes = rows(&watched, &before, row.balance.deliveries, &[("generator", &done)]);
        if let (Some(before), Some(after), true) = (recorded_before, engine.recorded(plan.tenant).await, plan.settles) {
            row.recorded = Some(after.saturating_sub(before));
            if row.recorded != Some(row.balance.deliveries) {
                row.notes.push("what is on record differs from what was delivered".to_owned());
            }
        }
        (row.refused, row.first_refusal) = (done.refused, done.first_refusal);
        if let Some(answer) = &row.first_refusal {
            row.notes.push(format!("the first refusal: {answer}"));
        }
        Ok(row)
    }

    /// Publishes events to a sink of their own, unmeasured, and waits until all are received.
    pub(crate) async fn fill(&self, engine: &Engine, plan: &Plan<'_>, sink: &Sink) -> anyhow::Result<u64> {
        let (_, ledger) = self.generate(engine, plan, &plan.load).await?;
        let events = expected(&ledger::read(&ledger)?, &plan.routes());
        sink.wait_for(events, PATIENCE).await?;
        engine.settle(SETTLE_WITHIN).await?;
        Ok(events)
    }

    /// Publishes events, unmeasured, and waits for nothing.
    pub(crate) async fn publish(&self, engine: &Engine, plan: &Plan<'_>) -> anyhow::Result<()> {
        self.generate(engine, plan, &plan.load).await.map(drop)
    }

    pub(crate) async fn generate(
        &self,
        engine: &Engine,
        plan: &Plan<'_>,
        load: &Load,
    ) -> anyhow::Result<(Generated, PathBuf)> {
        let types: Vec<&str> = plan.kinds.iter().map(|(event_type, _)| *event_type).collect();
        self.generator(engine, plan.tenant, &types, load, LEDGER).await
    }

    async fn background(&self, engine: &Engine, plan: &Plan<'_>) -> anyhow::Result<()> {
        let Some(Background { tenant, event_type, load }) = &plan.beside else { return Ok(()) };
        self.generator(engine, tenant, &[*event_type], load, LEDGER_BESIDE).await.map(drop)
    }

    async fn generator(
        &self,
        engine: &Engine,
        tenant: &Tenant,
        types: &[&str],
        load: &Load,
        ledger: &str,
    ) -> anyhow::Result<(Generated, PathBuf)> {
        let ledger = self.folder.join(ledger);
        let mut command = own_command()?;
        command.arg("generate").env("POSTRIDER_BENCH_KEY", &tenant.key).args(["--address", engine.ingest()]);
        for event_type in types {
            command.args(["--type", event_type]);
        }
        command.args(["--bytes", &self.event_bytes.to_string()]).args(load.arguments());
        Ok((part(command.arg("--ledger").arg(&ledger)).await?, ledger))
    }

    /// Events a second of the last [`Background`] that were accepted until the workload's own last was, and all that were in the end.
    pub(crate) fn accepted_beside(&self) -> anyhow::Result<(f64, usize)> {
        let own = ledger::read(&self.folder.join(LEDGER))?;
        let beside = ledger::read(&self.folder.join(LEDGER_BESIDE))?;
        let first = own.iter().map(|event| event.sent_ns).min().context("nothing was accepted")?;
        let last = own.iter().map(|event| event.answered_ns).max().context("nothing was accepted")?;
        let meanwhile = beside.iter().filter(|event| event.answered_ns <= last).count();
        Ok((meanwhile as f64 / Duration::from_nanos(last.saturating_sub(first)).as_secs_f64(), beside.len()))
    }

    pub(crate) async fn balance(
        &self,
        ledger: &Path,
        routes: &[Vec<u16>],
        taken: Option<&Taken>,
    ) -> anyhow::Result<Balance> {
        let accepted = ledger::read(ledger)?;
        let text = self.sink.ledger().await?;
        Ok(ledger::balance(&accepted, &ledger::parse_received(&text)?, routes, taken))
    }
}

impl Plan<'_> {
    /// For each kind of event the endpoints that must get it.
    pub(crate) fn routes(&self) -> Vec<Vec<u16>> {
        self.kinds.iter().map(|(_, endpoints)| endpoints.clone()).collect()
    }
}

/// How many deliveries the accepted events must make.
fn expected(accepted: &[Accepted], routes: &[Vec<u16>]) -> u64 {
    accepted.iter().map(|event| routes.get(usize::from(event.kind)).map_or(0, Vec::len) as u64).sum()
}

/// An endpoint's request body for [`Engine::endpoint`].
pub(crate) fn endpoint(name: &str, url: &str, event_type: &str) -> Value {
    json!({ "name": name, "url": url, "event_types": [event_type] })
}

pub(crate) fn readings(watched: &[Watched]) -> Vec<Usage> {
    watched
        .iter()
        .map(|process| {
            process.forget_peak();
            process.usage()
        })
        .collect()
}

pub(crate) fn rows(
    watched: &[Watched],
    before: &[Usage],
    deliveries: u64,
    ended: &[(&str, &Generated)],
) -> Vec<ProcessRow> {
    let running = watched
        .iter()
        .zip(before)
        .map(|(process, before)| ProcessRow::between(&process.name, *before, process.usage(), deliveries));
    let ended = ended.iter().map(|(name, done)| {
        let usage = Usage { cpu_seconds: done.cpu_seconds, peak_bytes: done.peak_bytes };
        ProcessRow::between(name, Usage::default(), usage, deliveries)
    });
    running.chain(ended).collect()
}

/// This program, for a part of it that is a process of its own.
pub(crate) fn own_command() -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("the path of this program")?);
    command.kill_on_drop(true);
    Ok(command)
}

/// Runs a part of this program to its end and reads what it printed.
pub(crate) async fn part<T: DeserializeOwned>(command: &mut Command) -> anyhow::Result<T> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let output = timeout(Duration::from_secs(600), command.output()).await.context("a part did not end")??;
    if !output.status.success() {
        bail!("a part of the benchmark failed: {}", output.status);
    }
    serde_json::from_slice(&output.stdout).context("what a part printed")
}
