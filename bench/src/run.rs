//! `run`: starts the parts, runs the workloads in order, and prints the figures.

use std::path::PathBuf;

use anyhow::Context as _;
use postrider_testkit::engines::Scope;
use url::Url;

use crate::console::say;
use crate::engine::{EngineOptions, Processes};
use crate::load::Times;
use crate::payload::EVENT_BYTES;
use crate::processes::{Kind, Watched};
use crate::receiver::Sink;
use crate::report::Report;
use crate::workload::Bench;
use crate::{everyday, isolation, log, matching, ordered, targets};

/// Numbers of subscriptions for the measurement of matching. `--quick` omits the last number.
const SUBSCRIPTIONS: [u32; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// Number of attempts on record for the measurement of the dashboard's pages. `--quick` uses a tenth.
const ATTEMPTS: u64 = 10_000_000;

/// Options of `run`. The broker and the database are those of the tests: `POSTRIDER_TEST_AMQP_URL`, `POSTRIDER_TEST_AMQP_API`
/// and `POSTRIDER_TEST_DATABASE_URL`.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Path of the `postrider` binary, built with optimization.
    #[arg(long, env = "POSTRIDER_BIN")]
    bin: PathBuf,
    /// Run all services in one process (`postrider all`) instead of one process per service.
    #[arg(long, conflicts_with = "dispatchers")]
    all: bool,
    /// Number of dispatcher processes.
    #[arg(long, default_value_t = 1)]
    dispatchers: usize,
    /// Run only these workloads: a group (everyday, ordered, isolation, matching, log) or a part of a workload's name. The bare path
    /// always runs.
    #[arg(long = "only", value_name = "GROUP|NAME")]
    only: Vec<String>,
    /// Number of measurements of the everyday workloads. The table of targets shows every value and the median.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    repeat: u16,
    /// Use about a third of the time for each workload. Only for trying the benchmark: the figures are not reliable.
    #[arg(long)]
    quick: bool,
    /// Duration of each workload at full speed, in seconds.
    #[arg(long)]
    seconds: Option<f64>,
    /// Length of an event in bytes.
    #[arg(long, default_value_t = EVENT_BYTES)]
    bytes: usize,
    /// Also write the figures to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Folder for the logs of the services.
    #[arg(long, default_value = ".postrider/bench")]
    folder: PathBuf,
}

impl RunArgs {
    fn times(&self) -> Times {
        let times = if self.quick {
            Times { full_speed: 4.0, fixed_rate: 5.0, warm_up: 2.0, idle: 10.0, timeout: 2 }
        } else {
            Times { full_speed: 10.0, fixed_rate: 20.0, warm_up: 4.0, idle: 30.0, timeout: 5 }
        };
        Times { full_speed: self.seconds.unwrap_or(times.full_speed), ..times }
    }
}

/// Runs the benchmark. On Ctrl-C, the run and its processes end early.
pub(crate) async fn run(args: RunArgs) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.folder).with_context(|| format!("create {}", args.folder.display()))?;
    tokio::select! {
        result = Box::pin(measure(&args)) => result,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    }
}

async fn measure(args: &RunArgs) -> anyhow::Result<()> {
    let scope = Scope::new("bench").await;
    let mut report = Report {
        event_bytes: args.bytes,
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        runs: usize::from(args.repeat),
        ..Report::default()
    };
    let bench = Bench {
        sink: Sink::start().await?,
        other_sink: Sink::start().await?,
        engines: engines(&scope)?,
        options: EngineOptions {
            binary: args.bin.clone(),
            amqp_url: scope.amqp_url.clone(),
            database_url: scope.database_url.clone(),
            processes: if args.all { Processes::One } else { Processes::Separate { dispatchers: args.dispatchers } },
            folder: args.folder.clone(),
        },
        times: args.times(),
        only: args.only.clone(),
        event_bytes: args.bytes,
    };
    let result = Box::pin(workloads(args.quick, &bench, &mut report)).await;
    // If a workload failed, the figures that were measured until then are still printed.
    report.targets = targets::verdicts(&report);
    say(&report.summary());
    say(&targets::text(&report.targets));
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?).with_context(|| path.display().to_string())?;
    }
    result
}

/// Returns the processes of the broker and the database, found by the ports in their URLs.
fn engines(scope: &Scope) -> anyhow::Result<Vec<Watched>> {
    let broker = ("broker", Kind::Broker, &scope.amqp_url, 5672);
    let mut found = Vec::new();
    for (name, kind, url, port) in [broker, ("PostgreSQL", Kind::Database, &scope.database_url, 5432)] {
        match Watched::listener(name, kind, Url::parse(url)?.port().unwrap_or(port)) {
            Some(process) => found.push(process),
            None => say(&format!("note: the process of {name} was not found; its CPU is missing in the figures")),
        }
    }
    Ok(found)
}

async fn workloads(quick: bool, bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    for run in 1..=report.runs {
        report.run = run;
        Box::pin(everyday::run(bench, report)).await?;
    }
    Box::pin(ordered::run(bench, report)).await?;
    Box::pin(isolation::run(bench, report)).await?;
    if bench.wants("matching", "matching") {
        let sizes = if quick { &SUBSCRIPTIONS[..3] } else { &SUBSCRIPTIONS };
        report.matching = Box::pin(matching::run(&bench.options, &bench.sink, sizes)).await?;
    }
    if bench.wants("log", "log") {
        let attempts = if quick { ATTEMPTS / 10 } else { ATTEMPTS };
        report.pages = Box::pin(log::run(&bench.options, &bench.sink, attempts)).await?;
    }
    Ok(())
}
