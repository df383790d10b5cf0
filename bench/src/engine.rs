//! Starts, configures and stops the services under test, in five processes or in one.
//!
//! It uses only interfaces that users have: the binary, the environment and the HTTP API. The log of each process is a file in
//! the folder of the run.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::File;
use std::iter::repeat_n;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postrider_testkit::ports::free_port;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::broker::Depths;
use crate::http::{self, Connection};
use crate::processes::{Kind, Watched};

/// The key of the operator.
pub(crate) const OPERATOR_KEY: &str = "postrider_bench_operator_key_0123456789abcdef";
const READY_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(20);
/// Interval at which the lengths of the queues are read during a measurement. Each reading uses CPU of the broker.
const DEPTHS_EVERY: Duration = Duration::from_secs(1);

/// The queues that must be empty before a workload counts as finished.
const QUEUES: [&str; 9] = [
    "postrider.fanout",
    "postrider.fanout.ordered",
    "postrider.ordered",
    "postrider.lane.live",
    "postrider.lane.slow",
    "postrider.lane.bulk",
    "postrider.event-log",
    "postrider.decisions",
    "postrider.outcomes",
];

/// The options with which the services are started.
#[derive(Debug, Clone)]
pub(crate) struct EngineOptions {
    /// The path of the `postrider` binary.
    pub(crate) binary: PathBuf,
    pub(crate) amqp_url: String,
    pub(crate) database_url: String,
    /// The processes that run the services.
    pub(crate) processes: Processes,
    /// The folder for the logs of the services.
    pub(crate) folder: PathBuf,
}

/// The processes that run the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Processes {
    /// One process: `postrider all`.
    One,
    /// One process per service, but several dispatchers if requested.
    Separate {
        /// Number of dispatcher processes.
        dispatchers: usize,
    },
}

impl Processes {
    /// Returns the role of each process.
    fn roles(self) -> Vec<&'static str> {
        match self {
            Self::One => vec!["all"],
            Self::Separate { dispatchers } => {
                ["ingest", "fanout", "recorder", "api"].into_iter().chain(repeat_n("dispatcher", dispatchers)).collect()
            }
        }
    }

    /// Returns a text for the output: `1 process` (`postrider all`) or, for example, `5 processes`.
    pub(crate) fn label(self) -> String {
        let count = self.roles().len();
        format!("{count} process{}", if count == 1 { "" } else { "es" })
    }
}

struct Service {
    role: &'static str,
    child: Child,
    address: String,
    started: Instant,
    /// Time from the start of the process until it was ready.
    ready_after: Duration,
}

impl Service {
    fn start(options: &EngineOptions, role: &'static str) -> anyhow::Result<Self> {
        let address = format!("127.0.0.1:{}", free_port());
        let child = command(options, role, &address)?.spawn().with_context(|| format!("start {role}"))?;
        Ok(Self { role, child, address, started: Instant::now(), ready_after: Duration::ZERO })
    }

    fn watched(&self) -> Option<Watched> {
        Some(Watched::process(self.role, Kind::Service, self.child.id()?))
    }

    async fn wait_ready(&mut self, folder: &Path) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let name = self.role;
            if let Some(status) = self.child.try_wait()? {
                bail!("{name} ended at once: {status}; its log is in {}", folder.display());
            }
            if is_ready(&self.address).await.unwrap_or(false) {
                self.ready_after = self.started.elapsed();
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{name} was not ready within {READY_WITHIN:?}; its log is in {}", folder.display());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The running services.
pub(crate) struct Engine {
    processes: Processes,
    services: Vec<Service>,
    depths: Depths,
}

/// A tenant that is created for one workload.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) id: String,
    /// An API key with the scope `publish`.
    pub(crate) key: String,
}

impl Engine {
    /// Migrates the database, starts all services, and waits until they are ready.
    pub(crate) async fn start(options: &EngineOptions) -> anyhow::Result<Self> {
        let migrated = command(options, "migrate", "127.0.0.1:0")?.status().await.context("run postrider migrate")?;
        if !migrated.success() {
            bail!("postrider migrate: {migrated}; its log is in {}", options.folder.display());
        }
        let mut services = Vec::new();
        for role in options.processes.roles() {
            services.push(Service::start(options, role)?);
        }
        for service in &mut services {
            service.wait_ready(&options.folder).await?;
        }
        let depths = Depths::connect(&options.amqp_url).await?;
        Ok(Self { processes: options.processes, services, depths })
    }

    /// Returns the address of ingest.
    pub(crate) fn ingest(&self) -> &str {
        self.address("ingest")
    }

    /// Returns the address of the API and the dashboard.
    pub(crate) fn api_address(&self) -> &str {
        self.address("api")
    }

    /// Returns the process that runs a service.
    fn service(&self, role: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.role == role || service.role == "all")
    }

    fn address(&self, role: &str) -> &str {
        self.service(role).map_or("", |service| service.address.as_str())
    }

    /// Returns the time until a service was ready. It includes the waits for the services that were started earlier.
    pub(crate) fn ready_after(&self, role: &str) -> Duration {
        self.service(role).map_or(Duration::ZERO, |service| service.ready_after)
    }

    /// Returns the process that runs a service, for measurements.
    pub(crate) fn watched_service(&self, role: &str) -> Option<Watched> {
        self.service(role).and_then(Service::watched)
    }

    /// Returns the processes of all services, for measurements.
    pub(crate) fn watched(&self) -> Vec<Watched> {
        self.services.iter().filter_map(Service::watched).collect()
    }

    /// Returns a text for the output about the processes that run the services.
    pub(crate) fn services_label(&self) -> String {
        self.processes.label()
    }

    /// Creates a tenant with the profile `standard` and an API key.
    pub(crate) async fn tenant(&self, name: &str, limits: Value) -> anyhow::Result<Tenant> {
        let asked = json!({ "name": name, "profile": "standard", "limits": limits });
        let tenant = self.api("POST", "/v1/tenants", asked).await?;
        let id = text(&tenant, "id")?;
        let asked = json!({ "name": "bench", "scopes": ["publish"] });
        let key = self.api("POST", &format!("/v1/tenants/{id}/keys"), asked).await?;
        Ok(Tenant { key: text(&key, "key")?, id })
    }

    /// Deletes a tenant and its endpoints.
    pub(crate) async fn delete_tenant(&self, tenant: &Tenant) -> anyhow::Result<()> {
        self.api("DELETE", &format!("/v1/tenants/{}", tenant.id), Value::Null).await.map(drop)
    }

    /// Creates an endpoint and returns its id.
    pub(crate) async fn endpoint(&self, tenant: &Tenant, mut endpoint: Value) -> anyhow::Result<String> {
        endpoint["channel"] = json!("web");
        let made = self.api("POST", &format!("/v1/endpoints?tenant={}", tenant.id), endpoint).await?;
        text(&made, "id")
    }

    /// Returns the number of successful deliveries, as counted by the tenant's endpoints.
    pub(crate) async fn recorded(&self, tenant: &Tenant) -> anyhow::Result<u64> {
        let target = format!("/v1/endpoints?tenant={}&limit=200", tenant.id);
        let page = self.api("GET", &target, Value::Null).await?;
        let endpoints = page["data"].as_array().context("a list of endpoints")?;
        Ok(endpoints.iter().filter_map(|endpoint| endpoint["successes"].as_u64()).sum())
    }

    /// Waits at most `limit` until the tenant's endpoints have counted `due` successful deliveries. Returns the count.
    pub(crate) async fn wait_recorded(&self, tenant: &Tenant, due: u64, limit: Duration) -> anyhow::Result<u64> {
        let deadline = Instant::now() + limit;
        loop {
            let recorded = self.recorded(tenant).await?;
            if recorded >= due || Instant::now() > deadline {
                return Ok(recorded);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until all queues have been empty for 750 ms.
    pub(crate) async fn wait_until_queues_are_empty(&self, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        let mut empty_since: Option<Instant> = None;
        loop {
            let mut waiting = Vec::new();
            for queue in QUEUES {
                let ready = self.depths.ready(queue).await?;
                if ready > 0 {
                    waiting.push(format!("{queue}: {ready}"));
                }
            }
            if !waiting.is_empty() {
                empty_since = None;
            // The length of a queue excludes unacked messages. Within this time, they are acked, or they return to the queue
            // and are counted.
            } else if empty_since.get_or_insert_with(Instant::now).elapsed() > Duration::from_millis(750) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the queues did not empty within {limit:?}: {}", waiting.join(", "));
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Updates the maximum length of each queue until the future is dropped or fails.
    pub(crate) async fn watch_depths(&self, deepest: &mut BTreeMap<&'static str, u32>) -> anyhow::Result<Infallible> {
        loop {
            for queue in QUEUES {
                let ready = self.depths.ready(queue).await?;
                let most = deepest.entry(queue).or_default();
                *most = ready.max(*most);
            }
            sleep(DEPTHS_EVERY).await;
        }
    }

    /// Returns an error if a service has ended.
    pub(crate) fn check_alive(&mut self) -> anyhow::Result<()> {
        for service in &mut self.services {
            if let Some(status) = service.child.try_wait()? {
                bail!("{} ended during the run: {status}", service.role);
            }
        }
        Ok(())
    }

    /// Stops all services. Kills a service that does not stop in time.
    pub(crate) async fn stop(mut self) {
        for service in &self.services {
            if let Some(pid) = service.child.id() {
                let _ = kill(Pid::from_raw(pid as i32), Signal::SIGTERM);
            }
        }
        for service in &mut self.services {
            if timeout(STOP_WITHIN, service.child.wait()).await.is_err() {
                let _ = service.child.kill().await;
            }
        }
    }

    async fn api(&self, method: &str, target: &str, body: Value) -> anyhow::Result<Value> {
        http::call(self.api_address(), OPERATOR_KEY, method, target, &body).await
    }
}

fn text(value: &Value, member: &str) -> anyhow::Result<String> {
    value[member].as_str().map(str::to_owned).with_context(|| format!("an answer without {member:?}: {value}"))
}

fn command(options: &EngineOptions, role: &str, listen: &str) -> anyhow::Result<Command> {
    let log = options.folder.join(format!("{role}.log"));
    let log =
        File::options().create(true).append(true).open(&log).with_context(|| format!("open {}", log.display()))?;
    let mut command = Command::new(&options.binary);
    command
        .arg(role)
        .env("POSTRIDER_LISTEN", listen)
        .env("POSTRIDER_AMQP_URL", &options.amqp_url)
        .env("POSTRIDER_DATABASE_URL", &options.database_url)
        .env("POSTRIDER_OPERATOR_KEYS", OPERATOR_KEY)
        .env("POSTRIDER_MASTER_KEYS", format!("bench:{}", BASE64_STANDARD.encode([7_u8; 32])))
        .env("POSTRIDER_EGRESS_ALLOW", "127.0.0.0/8")
        .env("POSTRIDER_EGRESS_ALLOW_HTTP", "true")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true);
    Ok(command)
}

async fn is_ready(address: &str) -> anyhow::Result<bool> {
    let mut connection = Connection::open(address).await?;
    let answer = connection.send(&http::request("GET", "/readyz", address, "", b"")).await?;
    Ok(answer.status == 200)
}

/// Limits that are higher than the load of any measurement.
pub(crate) fn no_limits() -> Value {
    json!({ "events_per_second": 1_000_000, "waiting_deliveries": 100_000_000 })
}
