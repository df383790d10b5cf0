//! The orchestrator: starts the parts, runs the workloads in order, prints the figures.

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::json;
use url::Url;

use crate::backlog::{self, Amounts};
use crate::broker::VirtualHost;
use crate::database::Database;
use crate::engine::{Engine, EngineOptions};
use crate::isolation;
use crate::log;
use crate::matching;
use crate::payload::EVENT_BYTES;
use crate::processes::Watched;
use crate::report::{self, Report, Row};
use crate::workload::{Bench, Load, PATIENCE, Plan, Sink, endpoint};

/// Active endpoints that an event is matched against; `--quick` leaves the last out.
const SUBSCRIPTIONS: [u32; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// Options of `run`.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// RabbitMQ.
    #[arg(long, env = "POSTRIDER_AMQP_URL", hide_env_values = true)]
    amqp_url: String,
    /// PostgreSQL; the user must be allowed to create databases.
    #[arg(long, env = "POSTRIDER_DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// RabbitMQ's management API. With it the run makes a virtual host of its own; without it the URL's is used.
    #[arg(long, env = "POSTRIDER_AMQP_API", hide_env_values = true)]
    amqp_api: Option<String>,
    /// The `postrider` binary, built with optimisation. Without it only the bare path is measured.
    #[arg(long, env = "POSTRIDER_BIN")]
    bin: Option<PathBuf>,
    /// About a third of the time for each workload.
    #[arg(long)]
    quick: bool,
    /// Seconds of each workload as fast as it goes.
    #[arg(long)]
    seconds: Option<f64>,
    /// Events of each workload as fast as it goes, instead of a time.
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

/// How long things take, in seconds.
pub(crate) struct Times {
    pub(crate) closed: f64,
    pub(crate) open: f64,
    pub(crate) warm_up: f64,
    /// The timeout of endpoints that do not answer; their workloads last three of them.
    pub(crate) timeout: u32,
    /// Events that are replayed.
    replayed: u64,
    /// Attempts in the log that is read.
    logged: i64,
    /// Events that wait for an endpoint with a rate.
    pub(crate) waiting: u64,
    /// What waits elsewhere.
    pub(crate) amounts: Amounts,
}

impl RunArgs {
    fn times(&self) -> Times {
        let times = if self.quick {
            Times {
                closed: 4.0,
                open: 5.0,
                warm_up: 2.0,
                timeout: 2,
                replayed: 20_000,
                logged: 1_000_000,
                waiting: 2_000,
                amounts: Amounts { parked: 10_000, parked_seconds: 20, backlog: 100_000, off: 20_000 },
            }
        } else {
            Times {
                closed: 10.0,
                open: 15.0,
                warm_up: 4.0,
                timeout: 5,
                replayed: 100_000,
                logged: 10_000_000,
                waiting: 10_000,
                amounts: Amounts { parked: 100_000, parked_seconds: 60, backlog: 1_000_000, off: 100_000 },
            }
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
    let name = format!("postrider_bench_{}", std::process::id());
    let vhost = VirtualHost::make(&args.amqp_url, args.amqp_api.as_deref(), &name).await?;
    let result = tokio::select! {
        result = Box::pin(with_vhost(&args, &vhost.amqp_url, &name)) => result,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    vhost.drop().await?;
    result
}

async fn with_vhost(args: &RunArgs, amqp_url: &str, name: &str) -> anyhow::Result<()> {
    let mut report = Report {
        event_bytes: args.bytes,
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        dispatchers: args.dispatchers,
        rows: Vec::new(),
        isolation: Vec::new(),
        log: Vec::new(),
        matching: Vec::new(),
    };
    let bench = Bench {
        sink: Sink::start().await?,
        engines: engines(args)?,
        folder: args.folder.clone(),
        event_bytes: args.bytes,
    };
    bare_path(args, &bench, amqp_url, &mut report).await?;
    let mut result = Ok(());
    if let Some(binary) = &args.bin {
        let database = Database::make(&args.database_url, name).await?;
        let options = EngineOptions {
            binary: binary.clone(),
            amqp_url: amqp_url.to_owned(),
            database_url: database.url.clone(),
            dispatchers: args.dispatchers,
            folder: args.folder.clone(),
        };
        result = Box::pin(with_engine(args, &bench, &options, &mut report)).await;
        database.drop().await?;
        if result.is_ok() && args.wants("matching") {
            let sizes = if args.quick { &SUBSCRIPTIONS[..3] } else { &SUBSCRIPTIONS };
            let rows = Box::pin(matching::run(&options, &args.database_url, &bench.sink, sizes)).await;
            result = rows.map(|rows| report.matching = rows);
        }
    }
    // What was measured before a workload failed is printed all the same.
    report::say(&report.summary());
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?).with_context(|| path.display().to_string())?;
    }
    result
}

/// Broker and database by the ports in their URLs.
fn engines(args: &RunArgs) -> anyhow::Result<Vec<Watched>> {
    let port = |url: &str, default: u16| anyhow::Ok(Url::parse(url)?.port().unwrap_or(default));
    let broker = Watched::listener("broker", port(&args.amqp_url, 5672)?, false);
    let database = Watched::listener("database", port(&args.database_url, 5432)?, true);
    for (name, found) in [("broker", &broker), ("database", &database)] {
        if found.is_none() {
            report::say(&format!(
                "note: the {name}'s process was not found; its CPU and memory are not in the figures"
            ));
        }
    }
    Ok(broker.into_iter().chain(database).collect())
}

/// Prints a row and keeps it.
pub(crate) fn add(report: &mut Report, row: Row) {
    report::say(&row.text());
    report.rows.push(row);
}

async fn bare_path(args: &RunArgs, bench: &Bench, amqp_url: &str, report: &mut Report) -> anyhow::Result<()> {
    let times = args.times();
    let closed = Load::Closed { seconds: times.closed.min(8.0), events: None, batch: 1 };
    add(report, bench.bare("bare path", amqp_url, &closed, times.warm_up / 2.0).await?);
    for per_second in [100.0, 1000.0] {
        let name = format!("bare path at {per_second:.0}/s");
        if args.wants(&name) {
            let open = Load::Open { per_second, seconds: times.open / 2.0 };
            add(report, bench.bare(&name, amqp_url, &open, 1.0).await?);
        }
    }
    Ok(())
}

async fn with_engine(
    args: &RunArgs,
    bench: &Bench,
    options: &EngineOptions,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut engine = Box::pin(Engine::start(options)).await?;
    let mut result = Box::pin(workloads(args, bench, &mut engine, report)).await;
    // Last, for what it leaves in the database is not what the others are measured with.
    if result.is_ok() && args.wants("log") {
        let read = log::measure(&engine, &bench.sink, &options.database_url, args.times().logged).await;
        result = read.map(|reads| report.log = reads);
    }
    engine.stop().await;
    result
}

async fn workloads(args: &RunArgs, bench: &Bench, engine: &mut Engine, report: &mut Report) -> anyhow::Result<()> {
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
        let tenant = engine.tenant(name).await?;
        for number in 0..endpoints {
            let asked = endpoint(&format!("endpoint {number}"), &bench.sink.url(number), "bench.*");
            engine.endpoint(&tenant, asked).await?;
        }
        in_force().await;
        let limited = matches!(load, Load::Closed { .. });
        let plan = Plan {
            name,
            tenant: &tenant,
            load,
            warm_up_seconds: times.warm_up,
            kinds: vec![("bench.event", (0..endpoints).collect())],
            settles: true,
            beside: None,
        };
        let mut row = Box::pin(bench.measure(engine, &plan)).await?;
        row.percent_of_bare = limited.then(|| row.balance.deliveries_per_second / bare * 100.0);
        add(report, row);
    }
    if args.wants("replay") {
        Box::pin(replay(bench, engine, &times, report)).await?;
    }
    Box::pin(isolation::run(|name| args.wants(name), bench, engine, &times, report)).await?;
    Box::pin(backlog::run(|name| args.wants(name), bench, engine, &times, report)).await
}

/// 100 live events a second, alone and while past events of another tenant are replayed to a sink of their own.
async fn replay(bench: &Bench, engine: &mut Engine, times: &Times, report: &mut Report) -> anyhow::Result<()> {
    let (past, live) = (engine.tenant("replayed").await?, engine.tenant("live").await?);
    let elsewhere = Sink::start().await?;
    engine.endpoint(&past, endpoint("replayed", &elsewhere.url(0), "bench.past")).await?;
    engine.endpoint(&live, endpoint("live", &bench.sink.url(0), "bench.live")).await?;
    in_force().await;
    let filling = Plan {
        name: "events to replay",
        tenant: &past,
        load: Load::Closed { seconds: 300.0, events: Some(times.replayed), batch: 100 },
        warm_up_seconds: 0.0,
        kinds: vec![("bench.past", vec![0])],
        settles: true,
        beside: None,
    };
    let events = bench.fill(engine, &filling, &elsewhere).await?;

    let plan = Plan {
        name: "live events alone",
        tenant: &live,
        load: Load::Open { per_second: 100.0, seconds: times.open },
        warm_up_seconds: times.warm_up,
        kinds: vec![("bench.live", vec![0])],
        settles: true,
        beside: None,
    };
    let alone = Box::pin(bench.measure(engine, &plan)).await?;
    let alone_p99 = alone.balance.latency.p99_ms;
    add(report, alone);

    let replay = engine.replay(&past, json!({ "from": "2000-01-01T00:00:00Z" })).await?;
    let before = elsewhere.received().await?;
    let plan = Plan { name: "the same beside a replay", warm_up_seconds: 0.0, settles: false, ..plan };
    let mut beside = Box::pin(bench.measure(engine, &plan)).await?;
    let meanwhile = elsewhere.received().await? - before;
    let status = engine.replay_status(&past, &replay).await?;
    beside.p99_ratio = (alone_p99 > 0.0).then(|| beside.balance.latency.p99_ms / alone_p99);
    beside.notes.push(format!("{meanwhile} of {events} replayed deliveries were made meanwhile; then it was {status}"));
    elsewhere.wait_for(2 * events, PATIENCE).await?;
    let all = elsewhere.received().await? - before;
    beside.notes.push(format!("in the end {all} of {events} replayed deliveries were made"));
    add(report, beside);
    Ok(())
}

/// Configuration is in force everywhere within two seconds.
pub(crate) async fn in_force() {
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
}
