//! A deployment with a separate process for each service, so that a test can kill any of them.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::deployment::{OPERATOR_KEY, binary};

const READY_WITHIN: Duration = Duration::from_secs(120);
const STOPPED_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The processes of a cluster: two dispatchers and one of every other service.
pub(crate) const PROCESSES: [&str; 6] = ["ingest", "fanout", "dispatcher", "dispatcher-2", "recorder", "api"];

/// The addresses of its engines.
#[derive(Debug, Clone)]
pub(crate) struct Urls {
    pub(crate) amqp: String,
    pub(crate) database: String,
}

/// Running processes. They end when this is dropped.
pub(crate) struct Cluster {
    urls: Urls,
    settings: Vec<(&'static str, String)>,
    addresses: HashMap<&'static str, SocketAddr>,
    processes: HashMap<&'static str, Child>,
    logs: TempDir,
    client: reqwest::Client,
}

/// A tenant that may publish.
pub(crate) struct Publisher {
    pub(crate) id: String,
    pub(crate) key: String,
}

impl Cluster {
    /// Migrates the database and starts every process.
    pub(crate) async fn start(urls: Urls) -> Self {
        Self::start_with(urls, Vec::new()).await
    }

    /// The same with additional environment variables for every process.
    pub(crate) async fn start_with(urls: Urls, settings: Vec<(&'static str, String)>) -> Self {
        let addresses = PROCESSES.into_iter().map(|name| (name, free_address())).collect();
        let logs = tempfile::tempdir().expect("a folder");
        let client = reqwest::Client::new();
        let mut cluster = Self { urls, settings, addresses, processes: HashMap::new(), logs, client };
        let migrated = cluster.command("migrate", "migrate").status().await.expect("postrider runs");
        assert!(migrated.success(), "postrider migrate: {migrated}");
        for name in PROCESSES {
            cluster.spawn(name);
        }
        for name in PROCESSES {
            cluster.ready(name).await;
        }
        cluster
    }

    /// Starts a second process of each of these services, under the name `<service>-2`.
    pub(crate) async fn start_second(&mut self, names: &[&'static str]) {
        for name in names {
            self.addresses.insert(name, free_address());
            self.spawn(name);
        }
        for name in names {
            self.ready(name).await;
        }
    }

    fn command(&self, name: &str, role: &str) -> Command {
        let log = self.logs.path().join(format!("{name}.log"));
        let log: File = OpenOptions::new().create(true).append(true).open(log).expect("a log file");
        let mut command = Command::new(binary());
        command
            .arg(role)
            .env("POSTRIDER_AMQP_URL", &self.urls.amqp)
            .env("POSTRIDER_DATABASE_URL", &self.urls.database)
            .env("POSTRIDER_OPERATOR_KEYS", OPERATOR_KEY)
            .env("POSTRIDER_MASTER_KEYS", "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
            .env("POSTRIDER_EGRESS_ALLOW", "127.0.0.0/8")
            .env("POSTRIDER_EGRESS_ALLOW_HTTP", "true")
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the same file"))
            .stderr(log)
            .kill_on_drop(true);
        if let Some(address) = self.addresses.get(name) {
            command.env("POSTRIDER_LISTEN", address.to_string());
        }
        command
    }

    fn spawn(&mut self, name: &'static str) {
        let role = name.trim_end_matches("-2");
        let child = self.command(name, role).spawn().expect("postrider runs");
        self.processes.insert(name, child);
    }

    async fn ready(&self, name: &str) {
        let url = format!("{}/readyz", self.base(name));
        let started = Instant::now();
        while !self.client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            assert!(started.elapsed() < READY_WITHIN, "{name} is not ready after {READY_WITHIN:?}");
            sleep(LOOK_EVERY).await;
        }
    }

    /// The base URL of a process.
    pub(crate) fn base(&self, name: &str) -> String {
        format!("http://{}", self.addresses[name])
    }

    /// Sends SIGKILL and waits until the process has ended.
    pub(crate) async fn kill9(&mut self, name: &'static str) {
        let mut child = self.processes.remove(name).expect("it runs");
        child.start_kill().expect("a signal");
        child.wait().await.expect("a child");
    }

    /// A process's id.
    pub(crate) fn pid(&self, name: &str) -> u32 {
        self.processes[name].id().expect("it runs")
    }

    /// Sends a signal to a process.
    pub(crate) fn signal(&self, name: &str, signal: Signal) {
        let pid = self.processes[name].id().expect("it runs");
        kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), signal).expect("a signal");
    }

    /// Waits until a stopping process has ended.
    pub(crate) async fn ended(&mut self, name: &'static str) -> ExitStatus {
        let mut child = self.processes.remove(name).expect("it runs");
        timeout(STOPPED_WITHIN, child.wait()).await.expect("in time").expect("a child")
    }

    /// Sends SIGTERM, as a rolling restart does, and waits until the process has drained.
    pub(crate) async fn terminate(&mut self, name: &'static str) {
        self.signal(name, Signal::SIGTERM);
        let ended = self.ended(name).await;
        assert!(ended.success(), "{name}: {ended}");
    }

    /// The report of `postrider audit` about a database.
    pub(crate) async fn audit(&self, database: &str) -> serde_json::Value {
        let mut command = self.command("audit", "audit");
        let said = command.arg("--json").env("POSTRIDER_DATABASE_URL", database).stdout(Stdio::piped()).output();
        let said = said.await.expect("postrider runs");
        serde_json::from_slice(&said.stdout).unwrap_or_else(|error| panic!("audit: {error}, {:?}", said.status))
    }

    /// Starts a killed process again.
    pub(crate) async fn restart(&mut self, name: &'static str) {
        self.spawn(name);
        self.ready(name).await;
    }

    /// Creates a tenant of the profile `standard` with a key, and an endpoint with filters for each URL.
    pub(crate) async fn tenant(&self, endpoints: &[(&str, serde_json::Value)]) -> Publisher {
        let tenant = self
            .post(
                "api",
                "/v1/tenants",
                OPERATOR_KEY,
                &json!({"name": "crash", "profile": "standard", "limits": {"events_per_second": 1_000_000}}),
            )
            .await;
        let keys = format!("/v1/tenants/{}/keys", tenant["id"].as_str().expect("an id"));
        let key = self
            .post("api", &keys, OPERATOR_KEY, &json!({"name": "all", "scopes": ["publish", "read", "manage"]}))
            .await;
        let key = key["key"].as_str().expect("a key").to_owned();
        for (url, filters) in endpoints {
            let endpoint = json!({
                "name": url, "channel": "web", "url": url, "event_types": ["*"], "filters": filters,
                // A short delay, so that attempts that fail because of a fault are retried within the test.
                "retry_schedule_seconds": [1, 1, 2, 2, 4, 4],
            });
            self.post_when_known("api", "/v1/endpoints", &key, &endpoint).await;
        }
        Publisher { id: tenant["id"].as_str().expect("an id").to_owned(), key }
    }

    /// Posts to a process and expects success.
    pub(crate) async fn post(&self, to: &str, path: &str, key: &str, body: &serde_json::Value) -> serde_json::Value {
        let request = self.client.post(self.base(to) + path).bearer_auth(key);
        let answer = request.header("content-type", "application/json").body(body.to_string()).send().await;
        let answer = answer.expect("an answer");
        let (status, text) = (answer.status(), answer.text().await.expect("text"));
        assert!(status.is_success(), "POST {path}: {status} {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Retries 401 responses for a while, because a new key becomes known with a delay.
    pub(crate) async fn post_when_known(&self, to: &str, path: &str, key: &str, body: &serde_json::Value) {
        let started = Instant::now();
        loop {
            let request = self.client.post(self.base(to) + path).bearer_auth(key);
            let answer = request.header("content-type", "application/json").body(body.to_string()).send().await;
            let answer = answer.expect("an answer");
            let status = answer.status();
            if status.is_success() {
                return;
            }
            let text = answer.text().await.unwrap_or_default();
            assert!(status == 401 && started.elapsed() < READY_WITHIN, "POST {path}: {status} {text}");
            sleep(LOOK_EVERY).await;
        }
    }

    /// The log of a process so far.
    pub(crate) fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.logs.path().join(format!("{name}.log"))).unwrap_or_default()
    }

    /// Keeps the logs and prints their folder.
    fn show_logs(&mut self) {
        println!("--- logs of the processes are kept in {}", self.logs.path().display());
        for name in PROCESSES {
            let text = self.log(name);
            let lines: Vec<_> = text.lines().collect();
            println!("--- {name}, last lines:\n{}", lines[lines.len().saturating_sub(8)..].join("\n"));
        }
        self.logs.disable_cleanup(true);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
    }
}

fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], postrider_testkit::ports::free_port()))
}
