//! `run`: starts the parts, runs the workloads in order, prints the figures.

use std::path::PathBuf;

use anyhow::Context as _;
use postrider_testkit::engines::Scope;
use url::Url;

use crate::console::say;
use crate::engine::{Engine, EngineOptions, no_limits};
use crate::payload::EVENT_BYTES;
use crate::processes::Watched;
use crate::report::Report;
use crate::workload::{Bench, Load, Plan, Sink, Times, endpoint, in_force};
use crate::{isolation, matching};

/// Numbers of subscriptions that an event is matched against; `--quick` leaves the last out.
const SUBSCRIPTIONS: [u32; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// Options of `run`. The engines are those of the tests: `POSTRIDER_TEST_AMQP_URL`, `POSTRIDER_TEST_AMQP_API` and
/// `POSTRIDER_TEST_DATABASE_URL`.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The `postrider` binary, built with optimisation. Without it only the bare path is measured.
    #[arg(long, env = "POSTRIDER_BIN")]
    bin: Option<PathBuf>,
    /// About a third of the time for each workload.
    #[arg(long)]
    quick: bool,
    /// Seconds of each workload at full speed.
    #[arg(long)]
    seconds: Option<f64>,
    /// Events of each workload at full speed, instead of a time.
    #[arg(long)]
    events: Option<u64>,
    /// An event's length in bytes.
    #[arg(long, default_value_t = EVENT_BYTES)]
    bytes: usize,
    /// Dispatcher processes.
    #[arg(long, default_value_t = 1)]
    dispatchers: usize,
    /// Only the workloads whose name contains one of these; the bare path always runs.
    #[arg(long = "only")]
    only: Vec<String>,
    /// Write the figures as JSON to this file too.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where logs and ledgers go.
    #[arg(long, default_value = ".postrider/bench")]
    folder: PathBuf,
}

impl RunArgs {
    fn times(&self) -> Times {
        let times = if self.quick {
            Times { closed: 4.0, open: 5.0, warm_up: 2.0, timeout: 2 }
        } else {
            Times { closed: 10.0, open: 15.0, warm_up: 4.0, timeout: 5 }
        };
        Times { closed: self.seconds.unwrap_or(times.closed), ..times }
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }
}

/// Runs everything; ends early, with its processes, on Ctrl-C.
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
        dispatchers: args.dispatchers,
        ..Report::default()
    };
    let bench = Bench {
        sink: Sink::start().await?,
        engines: engines(&scope)?,
        folder: args.folder.clone(),
        event_bytes: args.bytes,
    };
    let mut result = bare_path(args, &bench, &scope.amqp_url, &mut report).await;
    if let Some(binary) = &args.bin
        && result.is_ok()
    {
        let options = EngineOptions {
            binary: binary.clone(),
            amqp_url: scope.amqp_url.clone(),
            database_url: scope.database_url.clone(),
            dispatchers: args.dispatchers,
            folder: args.folder.clone(),
        };
        result = Box::pin(workloads(args, &bench, &options, &mut report)).await;
    }
    // What was measured before a workload failed is printed all the same.
    say(&report.summary());
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?).with_context(|| path.display().to_string())?;
    }
    result
}

/// Broker and database, by the ports in their URLs.
fn engines(scope: &Scope) -> anyhow::Result<Vec<Watched>> {
    let port = |url: &str, default: u16| anyhow::Ok(Url::parse(url)?.port().unwrap_or(default));
    let broker = Watched::listener("broker", port(&scope.amqp_url, 5672)?);
    let database = Watched::listener("database", port(&scope.database_url, 5432)?).map(Watched::with_children);
    for (name, found) in [("broker", &broker), ("database", &database)] {
        if found.is_none() {
            say(&format!("note: the {name}'s process was not found; its CPU and memory are not in the figures"));
        }
    }
    Ok(broker.into_iter().chain(database).collect())
}

async fn bare_path(args: &RunArgs, bench: &Bench, amqp_url: &str, report: &mut Report) -> anyhow::Result<()> {
    let times = args.times();
    let closed = Load::Closed { seconds: times.closed.min(8.0), events: None, batch: 1 };
    report.add(bench.bare("bare path", amqp_url, &closed, times.warm_up / 2.0).await?);
    for per_second in [100.0, 1000.0] {
        let name = format!("bare path at {per_second:.0}/s");
        if args.wants(&name) {
            let open = Load::Open { per_second, seconds: times.open / 2.0 };
            report.add(bench.bare(&name, amqp_url, &open, 1.0).await?);
        }
    }
    Ok(())
}

async fn workloads(args: &RunArgs, bench: &Bench, options: &EngineOptions, report: &mut Report) -> anyhow::Result<()> {
    let mut engine = Box::pin(Engine::start(options)).await?;
    let mut result = Box::pin(throughput_and_latency(args, bench, &mut engine, report)).await;
    if result.is_ok() {
        let wants = |name: &str| args.wants(name);
        result = Box::pin(isolation::run(wants, bench, &mut engine, &args.times(), report)).await;
    }
    engine.stop().await;
    if result.is_ok() && args.wants("matching") {
        let sizes = if args.quick { &SUBSCRIPTIONS[..3] } else { &SUBSCRIPTIONS };
        report.matching = Box::pin(matching::run(options, &bench.sink, sizes)).await?;
    }
    result
}

async fn throughput_and_latency(
    args: &RunArgs,
    bench: &Bench,
    engine: &mut Engine,
    report: &mut Report,
) -> anyhow::Result<()> {
    let times = args.times();
    let closed = |batch| Load::Closed { seconds: times.closed, events: args.events, batch };
    let open = |per_second| Load::Open { per_second, seconds: times.open };
    let bare = report.rows[0].balance.deliveries_per_second;
    let plans = [
        ("one endpoint", 1_u16, closed(1)),
        ("one endpoint, batches of 100", 1, closed(100)),
        ("ten endpoints", 10, closed(1)),
        ("one endpoint at 100/s", 1, open(100.0)),
        ("one endpoint at 1000/s", 1, open(1000.0)),
    ];
    for (name, endpoints, load) in plans {
        if !args.wants(name) {
            continue;
        }
        let tenant = engine.tenant(name, no_limits()).await?;
        for number in 0..endpoints {
            let document = endpoint(&format!("endpoint {number}"), &bench.sink.url(number), "bench.*");
            engine.endpoint(&tenant, document).await?;
        }
        in_force().await;
        let at_full_speed = matches!(load, Load::Closed { .. });
        let plan = Plan {
            warm_up_seconds: times.warm_up,
            endpoints: (0..endpoints).collect(),
            ..Plan::of(name, &tenant, load, "bench.event")
        };
        let mut row = Box::pin(bench.measure(engine, &plan)).await?;
        row.percent_of_bare = at_full_speed.then(|| row.balance.deliveries_per_second / bare * 100.0);
        report.add(row);
    }
    Ok(())
}
