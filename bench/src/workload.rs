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
use crate::http::{self, Connection};
use crate::ledger::{self, Accepted, Balance};
use crate::processes::{MachineTime, Usage, Watched};
use crate::report::{ProcessRow, Row};
use crate::sink::SinkPorts;

/// How long deliveries may take to arrive, and the recorder to finish, after the last publish.
const SETTLE_WITHIN: Duration = Duration::from_secs(120);
/// How long the sink may receive nothing before missing deliveries count as lost.
const PATIENCE: Duration = Duration::from_secs(15);
/// The ledgers of accepted events: of the workload, and of the background.
const LEDGER: &str = "generator.ledger";
const LEDGER_BESIDE: &str = "beside.ledger";

/// How long workloads take, in seconds.
pub(crate) struct Times {
    /// At full speed.
    pub(crate) closed: f64,
    /// At a fixed rate.
    pub(crate) open: f64,
    /// Unmeasured, before.
    pub(crate) warm_up: f64,
    /// The timeout of endpoints that do not answer.
    pub(crate) timeout: u32,
}

impl Times {
    /// How long a bad neighbour is measured: three of its timeouts.
    pub(crate) fn beside_seconds(&self) -> f64 {
        f64::from(self.timeout) * 3.0
    }
}

/// The sink's process.
pub(crate) struct Sink {
    child: Child,
    /// The process ends when this closes.
    _lifeline: ChildStdin,
    ports: SinkPorts,
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
    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.port)
    }

    /// The URL of the endpoint `number`.
    pub(crate) fn url(&self, number: u16) -> String {
        format!("http://{}/e/{number}", self.address())
    }

    /// The URL of an endpoint that never answers.
    pub(crate) fn black_hole_url(&self) -> String {
        format!("http://127.0.0.1:{}/e/0", self.ports.black_hole_port)
    }

    /// The URL of an endpoint that answers a byte a second.
    pub(crate) fn dribbling_url(&self) -> String {
        format!("http://127.0.0.1:{}/e/0", self.ports.dribbling_port)
    }

    /// A URL whose port refuses connections.
    pub(crate) fn refusing_url(&self) -> String {
        format!("http://127.0.0.1:{}/e/0", self.ports.refusing_port)
    }

    fn watched(&self) -> Option<Watched> {
        Some(Watched::process("sink", self.child.id()?))
    }

    async fn ask(&self, method: &str, target: &str) -> anyhow::Result<Vec<u8>> {
        let address = self.address();
        let mut connection = Connection::open(&address).await?;
        Ok(connection.send(&http::request(method, target, &address, "", b"")).await?.body.to_vec())
    }

    /// Deliveries received so far.
    pub(crate) async fn received(&self) -> anyhow::Result<u64> {
        Ok(serde_json::from_slice(&self.ask("GET", "/count").await?)?)
    }

    /// Forgets what was received.
    async fn reset(&self) -> anyhow::Result<()> {
        self.ask("POST", "/reset").await.map(drop)
    }

    /// Waits until `expected` deliveries came, or none came for [`PATIENCE`].
    async fn wait_for(&self, expected: u64) -> anyhow::Result<()> {
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let count = self.received().await?;
            if count >= expected || since.elapsed() > PATIENCE {
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
    /// At full speed over 64 connections.
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
    fn lasting(&self, seconds: f64) -> Self {
        match self {
            Self::Closed { batch, .. } => Self::Closed { seconds, events: None, batch: *batch },
            Self::Open { per_second, .. } => Self::Open { per_second: *per_second, seconds },
        }
    }
}

/// A workload's parts.
#[derive(Clone)]
pub(crate) struct Plan<'a> {
    /// The row's name.
    pub(crate) name: &'a str,
    /// Who publishes.
    pub(crate) tenant: &'a Tenant,
    /// What the generator does.
    pub(crate) load: Load,
    /// How long the same goes on before, unmeasured.
    pub(crate) warm_up_seconds: f64,
    /// The type of the events.
    pub(crate) event_type: &'a str,
    /// The endpoints (numbers at the sink) that must get each event.
    pub(crate) endpoints: Vec<u16>,
}

impl<'a> Plan<'a> {
    /// Events for endpoint 0, without a warm-up.
    pub(crate) fn of(name: &'a str, tenant: &'a Tenant, load: Load, event_type: &'a str) -> Self {
        Self { name, tenant, load, warm_up_seconds: 0.0, event_type, endpoints: vec![0] }
    }
}

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
        let (before, machine) = (self.readings(Vec::new()), MachineTime::now());
        let (done, ledger) = self.run_bare(amqp_url, load).await?;
        let machine_busy_percent = MachineTime::now().busy_percent_since(machine);
        let balance = self.balance(&ledger, &[0]).await?;
        let processes = process_rows(&before, balance.deliveries, "bare", &done);
        Ok(Row { workload: name.to_owned(), balance, processes, machine_busy_percent, ..Row::default() })
    }

    async fn run_bare(&self, amqp_url: &str, load: &Load) -> anyhow::Result<(Generated, PathBuf)> {
        let ledger = self.folder.join("bare.ledger");
        let mut command = own_command()?;
        command.arg("bare").env("POSTRIDER_AMQP_URL", amqp_url).args(["--sink", &self.sink.address()]);
        command.args(["--bytes", &self.event_bytes.to_string()]).args(load.arguments());
        Ok((part(command.arg("--ledger").arg(&ledger)).await?, ledger))
    }

    /// Measures one workload of the engine, until all of it is on record.
    pub(crate) async fn measure(&self, engine: &mut Engine, plan: &Plan<'_>) -> anyhow::Result<Row> {
        if plan.warm_up_seconds > 0.0 {
            self.sink.reset().await?;
            let load = plan.load.lasting(plan.warm_up_seconds);
            let (_, ledger) = self.generate(engine, plan, &load).await?;
            self.sink.wait_for(expected(&ledger::read(&ledger)?, plan)).await?;
            engine.settle(SETTLE_WITHIN).await.context("after the warm-up")?;
        }
        let recorded_before = engine.recorded(plan.tenant).await;
        let (mut row, received) = self.published(engine, plan, None).await?;
        let empty = engine.settle(SETTLE_WITHIN).await.with_context(|| plan.name.to_owned())?;
        row.recorded_after_seconds = Some(empty.saturating_duration_since(received).as_secs_f64());
        if let (Some(before), Some(after)) = (recorded_before, engine.recorded(plan.tenant).await) {
            row.recorded = Some(after.saturating_sub(before));
            if row.recorded != Some(row.balance.deliveries) {
                row.notes.push("the deliveries on record differ from the received ones".to_owned());
            }
        }
        Ok(row)
    }

    /// Measures the same beside something else, without warming up. Ends when its own deliveries have been received.
    pub(crate) async fn measure_beside(
        &self,
        engine: &mut Engine,
        plan: &Plan<'_>,
        neighbour: &str,
        background: Background<'_>,
    ) -> anyhow::Result<Row> {
        let name = format!("beside {neighbour}");
        let plan = Plan { name: &name, ..plan.clone() };
        Ok(self.published(engine, &plan, Some(background)).await?.0)
    }

    /// Publishes and waits until all is received; also when that was.
    async fn published(
        &self,
        engine: &mut Engine,
        plan: &Plan<'_>,
        beside: Option<Background<'_>>,
    ) -> anyhow::Result<(Row, Instant)> {
        self.sink.reset().await?;
        let (before, machine) = (self.readings(engine.watched()), MachineTime::now());
        let over = Cell::new(false);
        let publishing = async {
            let own = self.generate(engine, plan, &plan.load);
            let (result, beside) = futures::join!(own, self.background(engine, beside));
            over.set(true);
            beside.and(result)
        };
        let (published, deepest) = futures::join!(publishing, engine.deepest(&over));
        let (done, ledger) = published?;
        let machine_busy_percent = MachineTime::now().busy_percent_since(machine);
        self.sink.wait_for(expected(&ledger::read(&ledger)?, plan)).await?;
        let received = Instant::now();
        engine.check_alive()?;
        let balance = self.balance(&ledger, &plan.endpoints).await?;
        let processes = process_rows(&before, balance.deliveries, "generator", &done);
        let notes = done.first_refusal.iter().map(|answer| format!("the first refusal: {answer}")).collect();
        let row = Row {
            workload: plan.name.to_owned(),
            balance,
            processes,
            machine_busy_percent,
            deepest: deepest?,
            refused: done.refused,
            notes,
            ..Row::default()
        };
        Ok((row, received))
    }

    async fn generate(&self, engine: &Engine, plan: &Plan<'_>, load: &Load) -> anyhow::Result<(Generated, PathBuf)> {
        self.generator(engine, plan.tenant, plan.event_type, load, LEDGER).await
    }

    async fn background(&self, engine: &Engine, background: Option<Background<'_>>) -> anyhow::Result<()> {
        let Some(Background { tenant, event_type, load }) = background else { return Ok(()) };
        self.generator(engine, tenant, event_type, &load, LEDGER_BESIDE).await.map(drop)
    }

    async fn generator(
        &self,
        engine: &Engine,
        tenant: &Tenant,
        event_type: &str,
        load: &Load,
        ledger: &str,
    ) -> anyhow::Result<(Generated, PathBuf)> {
        let ledger = self.folder.join(ledger);
        let mut command = own_command()?;
        command.arg("generate").env("POSTRIDER_BENCH_KEY", &tenant.key).args(["--address", engine.ingest()]);
        command.args(["--type", event_type]);
        command.args(["--bytes", &self.event_bytes.to_string()]).args(load.arguments());
        Ok((part(command.arg("--ledger").arg(&ledger)).await?, ledger))
    }

    /// Of the last [`Background`]: events a second accepted until the workload's own last one, and all accepted events.
    pub(crate) fn accepted_beside(&self) -> anyhow::Result<(f64, usize)> {
        let own = ledger::read(&self.folder.join(LEDGER))?;
        let beside = ledger::read(&self.folder.join(LEDGER_BESIDE))?;
        let first = own.iter().map(|event| event.sent_ns).min().context("nothing was accepted")?;
        let last = own.iter().map(|event| event.answered_ns).max().context("nothing was accepted")?;
        let meanwhile = beside.iter().filter(|event| event.answered_ns <= last).count();
        Ok((meanwhile as f64 / Duration::from_nanos(last.saturating_sub(first)).as_secs_f64(), beside.len()))
    }

    async fn balance(&self, ledger: &Path, endpoints: &[u16]) -> anyhow::Result<Balance> {
        let accepted = ledger::read(ledger)?;
        let received = String::from_utf8(self.sink.ask("GET", "/ledger").await?)?;
        Ok(ledger::balance(&accepted, &ledger::parse_received(&received)?, endpoints))
    }

    /// What these processes, the engines and the sink have used so far; their peaks of memory start over.
    fn readings(&self, services: Vec<Watched>) -> Vec<(Watched, Usage)> {
        let all = services.into_iter().chain(self.engines.iter().cloned()).chain(self.sink.watched());
        all.map(|process| {
            process.reset_peak();
            let usage = process.usage();
            (process, usage)
        })
        .collect()
    }
}

/// How many deliveries the accepted events must make.
fn expected(accepted: &[Accepted], plan: &Plan<'_>) -> u64 {
    (accepted.len() * plan.endpoints.len()) as u64
}

/// What each process used since `before`, and the part that published.
fn process_rows(before: &[(Watched, Usage)], deliveries: u64, part: &str, done: &Generated) -> Vec<ProcessRow> {
    let running = before.iter().map(|(process, before)| {
        let after = process.usage();
        let cpu_seconds = (after.cpu_seconds - before.cpu_seconds).max(0.0);
        ProcessRow::of(&process.name, Usage { cpu_seconds, ..after }, deliveries)
    });
    running.chain([ProcessRow::of(part, done.usage, deliveries)]).collect()
}

/// An endpoint's request body for [`Engine::endpoint`].
pub(crate) fn endpoint(name: &str, url: &str, event_type: &str) -> Value {
    json!({ "name": name, "url": url, "event_types": [event_type] })
}

/// Waits until the configuration is in force everywhere, which takes two seconds at most.
pub(crate) async fn in_force() {
    sleep(Duration::from_millis(2_500)).await;
}

/// This program, to run one of its parts.
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
