//! The deployment of one scenario: a vhost, a database, and `postrider all` as a separate process.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postrider_testkit::engines::Scope;
use postrider_testkit::ports::free_port;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::tenant::Tenant;

pub(crate) const OPERATOR_KEY: &str = "operator-key-of-the-scenarios-0123456789";
const READY_WITHIN: Duration = Duration::from_secs(120);
const STOPPED_WITHIN: Duration = Duration::from_secs(120);
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A running deployment. When it is dropped, its processes end and its database is deleted. The vhost remains (see `Scope`).
pub(crate) struct Deployment {
    process: Child,
    base: String,
    operator: Tenant,
    in_force: InForce,
    logs: TempDir,
    scope: Scope,
}

impl Deployment {
    /// Migrates a fresh database and starts every service in one process.
    pub(crate) async fn start(name: &str) -> Self {
        Self::start_with(name, &[]).await
    }

    /// The same with additional settings.
    pub(crate) async fn start_with(name: &str, settings: &[(&str, &str)]) -> Self {
        let scope = Scope::new(name).await;
        let logs = tempfile::tempdir().expect("a folder");
        let address = format!("127.0.0.1:{}", free_port());
        let base = format!("http://{address}");
        let command = |role: &str| {
            let log = logs.path().join(format!("{role}.log"));
            let log = std::fs::File::create(log).expect("a log file");
            let mut command = Command::new(binary());
            forget_settings(&mut command);
            command
                .arg(role)
                .env("POSTRIDER_LISTEN", &address)
                .env("POSTRIDER_AMQP_URL", &scope.amqp_url)
                .env("POSTRIDER_DATABASE_URL", &scope.database_url)
                .env("POSTRIDER_OPERATOR_KEYS", OPERATOR_KEY)
                .env("POSTRIDER_MASTER_KEYS", "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
                .env("POSTRIDER_PUBLIC_URL", &base)
                .env("POSTRIDER_EGRESS_ALLOW", "127.0.0.0/8")
                .env("POSTRIDER_EGRESS_ALLOW_HTTP", "true")
                .envs(settings.iter().copied())
                .stdin(Stdio::null())
                .stdout(log.try_clone().expect("the same file"))
                .stderr(log)
                .kill_on_drop(true);
            command
        };
        let migrated = command("migrate").status().await.expect("postrider runs");
        let said = || std::fs::read_to_string(logs.path().join("migrate.log")).unwrap_or_default();
        assert!(migrated.success(), "postrider migrate: {migrated}\n{}", said());
        let process = command("all").spawn().expect("postrider runs");
        let client = reqwest::Client::new();
        let in_force = InForce::new(&scope, client.clone(), &base, &base).await;
        let operator = Tenant {
            id: "ten_operator".into(),
            client,
            base: base.clone(),
            key: OPERATOR_KEY.into(),
            in_force: in_force.clone(),
        };
        let mut deployment = Self { process, operator, in_force, base, logs, scope };
        deployment.ready().await;
        deployment
    }

    /// Starts the services with settings that must be refused before they connect to their engines. Returns the output.
    pub(crate) async fn refused_start(settings: &[(&str, &str)]) -> String {
        let mut command = Command::new(binary());
        forget_settings(&mut command);
        command
            .arg("all")
            .env("POSTRIDER_LISTEN", format!("127.0.0.1:{}", free_port()))
            .env("POSTRIDER_AMQP_URL", "amqp://127.0.0.1:1")
            .env("POSTRIDER_DATABASE_URL", "postgres://127.0.0.1:1/none")
            .env("POSTRIDER_OPERATOR_KEYS", OPERATOR_KEY)
            .env("POSTRIDER_MASTER_KEYS", "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = timeout(READY_WITHIN, command.output()).await.expect("it ends").expect("postrider runs");
        assert!(!output.status.success(), "it must not start");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn all_log(&self) -> PathBuf {
        self.logs.path().join("all.log")
    }

    async fn ready(&mut self) {
        let started = Instant::now();
        let log = self.all_log();
        loop {
            if let Some(status) = self.process.try_wait().expect("a child") {
                panic!("postrider all ended at once: {status}; log in {}", log.display());
            }
            let answer = self.operator.client.get(self.base.clone() + "/readyz").send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            assert!(started.elapsed() < READY_WITHIN, "not ready after {READY_WITHIN:?}; log in {}", log.display());
            sleep(LOOK_EVERY).await;
        }
    }

    /// Creates a tenant of a profile with a key of every scope, and waits until the key is known.
    pub(crate) async fn tenant(&self, profile: &str) -> Tenant {
        let tenant = self.operator.post("/v1/tenants", &json!({"name": profile, "profile": profile})).await;
        let id = tenant["id"].as_str().expect("an id").to_owned();
        let mut tenant = Tenant {
            id,
            client: self.operator.client.clone(),
            base: self.base.clone(),
            key: String::new(),
            in_force: self.in_force.clone(),
        };
        tenant.key = self.key(&tenant, &["publish", "read", "manage"]).await;
        tenant
    }

    /// Creates a key of a tenant with these scopes, and waits until it is known.
    pub(crate) async fn key(&self, tenant: &Tenant, scopes: &[&str]) -> String {
        let request = json!({"name": scopes.join(", "), "scopes": scopes});
        let key = self.operator.post(&format!("/v1/tenants/{}/keys", tenant.id), &request).await;
        let key = key["key"].as_str().expect("a key").to_owned();
        let (started, url) = (Instant::now(), format!("{}/v1/publish", self.base));
        // An event without a type is always refused; the status is 401 while the key is unknown.
        loop {
            let answer = self.operator.client.post(&url).bearer_auth(&key).body("{}").send().await.expect("an answer");
            if matches!(answer.status().as_u16(), 403 | 422) {
                return key;
            }
            assert!(started.elapsed() < PATIENCE, "the new key is not known after {PATIENCE:?}");
            sleep(LOOK_EVERY).await;
        }
    }

    /// Sets the tenant's limit of endpoints.
    pub(crate) async fn limit_endpoints(&self, tenant: &Tenant, limit: u32) {
        self.operator.patch(&format!("/v1/tenants/{}", tenant.id), &json!({"limits": {"endpoints": limit}})).await;
    }

    /// Waits until all edits so far are in force in ingest and fan-out.
    pub(crate) async fn configuration_in_force(&self) {
        self.in_force.wait().await;
    }

    /// The operator's view of everything, with an operator key.
    pub(crate) fn operator(&self) -> &Tenant {
        &self.operator
    }

    /// The broker's vhost of this deployment.
    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Ready messages of a queue, by passive declare; `None` if there is no such queue.
    pub(crate) async fn messages(&self, queue: &str) -> Option<u32> {
        let properties = lapin::ConnectionProperties::default();
        let connection = lapin::Connection::connect(&self.scope.amqp_url, properties).await.expect("the broker");
        let channel = connection.create_channel().await.expect("a channel");
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(queue.into(), passive, FieldTable::default()).await;
        let messages = declared.ok().map(|queue| queue.message_count());
        let _ = connection.close(200, "done".into()).await;
        messages
    }

    /// Waits until a queue holds `count` messages.
    pub(crate) async fn wait_for_messages(&self, queue: &str, count: u32) {
        let started = Instant::now();
        loop {
            let messages = self.messages(queue).await;
            if messages == Some(count) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{queue} holds {messages:?} messages, expected {count}");
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until a metric without labels has at least this value.
    pub(crate) async fn wait_for_metric(&self, name: &str, least: i64) {
        let started = Instant::now();
        loop {
            let value = self.in_force.metric(&self.in_force.fanout, name).await;
            if value.is_some_and(|value| value >= least) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{name} is {value:?}, expected {least}");
            sleep(LOOK_EVERY).await;
        }
    }

    /// The process that runs every service.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id().expect("running")
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.all_log()).unwrap_or_default()
    }

    /// Stops the services with SIGTERM and waits until they have drained.
    pub(crate) async fn stop(&mut self) {
        let pid = self.pid();
        kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), Signal::SIGTERM).expect("a signal");
        let ended = timeout(STOPPED_WITHIN, self.process.wait()).await.expect("drained in time");
        assert!(ended.expect("a child").success());
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // After a failure, prints the log of the process.
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            println!("--- the last lines of {}, which is kept:", self.all_log().display());
            println!("{}", lines[lines.len().saturating_sub(30)..].join("\n"));
            self.logs.disable_cleanup(true);
        }
    }
}

/// Removes the developer's own settings from the environment of a test.
fn forget_settings(command: &mut Command) {
    let foreign = std::env::vars_os().map(|(name, _)| name);
    foreign.filter(|name| is_setting(&name.to_string_lossy())).for_each(|name| {
        command.env_remove(name);
    });
}

/// Whether an environment variable configures the engine.
fn is_setting(name: &str) -> bool {
    ["POSTRIDER_", "OTEL_"].iter().any(|prefix| name.starts_with(prefix)) || name == "RUST_LOG"
}

/// The program `postrider`, built next to this test by `cargo xtask test`.
pub(crate) fn binary() -> PathBuf {
    let own = std::env::current_exe().expect("a path");
    let folder = own.ancestors().nth(2).expect("target/<profile>/deps/<test>");
    let binary = folder.join("postrider");
    assert!(binary.exists(), "{} is missing: cargo build -p postrider", binary.display());
    binary
}

/// Waits until ingest and fan-out apply the committed configuration.
#[derive(Clone)]
pub(crate) struct InForce {
    database: std::sync::Arc<tokio_postgres::Client>,
    client: reqwest::Client,
    /// The metrics URLs of ingest and fan-out.
    ingest: String,
    fanout: String,
}

impl InForce {
    /// Watches the ingest and the fan-out at these base URLs.
    pub(crate) async fn new(scope: &Scope, client: reqwest::Client, ingest: &str, fanout: &str) -> Self {
        let connected = tokio_postgres::connect(&scope.database_url, tokio_postgres::NoTls).await;
        let (database, connection) = connected.expect("the database");
        tokio::spawn(connection);
        Self { database: database.into(), client, ingest: ingest.into(), fanout: fanout.into() }
    }

    /// Waits until both apply every edit committed so far.
    pub(crate) async fn wait(&self) {
        let row = self.database.query_one("SELECT version FROM config_version", &[]).await.expect("the counter");
        let version: i64 = row.get(0);
        let started = Instant::now();
        loop {
            let known = self.known().await;
            if known >= version {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "configuration {known} is in force, committed is {version}");
            sleep(LOOK_EVERY).await;
        }
    }

    async fn known(&self) -> i64 {
        let ingest = self.metric(&self.ingest, "postrider_ingest_config_version").await;
        let fanout = self.metric(&self.fanout, "postrider_fanout_config_version").await;
        ingest.min(fanout).unwrap_or(-1)
    }

    /// The first value of a metric, if any.
    #[expect(clippy::cast_possible_truncation, reason = "a metric of whole numbers")]
    async fn metric(&self, base: &str, name: &str) -> Option<i64> {
        let answer = self.client.get(format!("{base}/metrics")).send().await.expect("metrics");
        let text = answer.text().await.expect("text");
        let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(rest.split_whitespace().last()?.parse::<f64>().ok()? as i64)
    }
}
