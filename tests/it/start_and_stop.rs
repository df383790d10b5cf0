//! Starting without engines and stopping during work: a process logs what it waits for, and a second signal ends it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postrider_testkit::engines::Scope;
use postrider_testkit::ports::free_port;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::harness::{Cluster, Deployment, InForce, OPERATOR_KEY, PROCESSES, Urls, binary};

const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A process that is starting, with its log.
struct Starting {
    child: Child,
    logs: TempDir,
}

impl Starting {
    fn with(amqp_url: &str, database_url: &str) -> Self {
        Self::set(amqp_url, database_url, &[])
    }

    /// The same with additional settings.
    fn set(amqp_url: &str, database_url: &str, settings: &[(&str, &str)]) -> Self {
        let logs = tempfile::tempdir().expect("a folder");
        let log = std::fs::File::create(logs.path().join("log")).expect("a log file");
        let child = Command::new(binary())
            .arg("all")
            .env("POSTRIDER_LISTEN", format!("127.0.0.1:{}", free_port()))
            .env("POSTRIDER_AMQP_URL", amqp_url)
            .env("POSTRIDER_DATABASE_URL", database_url)
            .env("POSTRIDER_OPERATOR_KEYS", OPERATOR_KEY)
            .env("POSTRIDER_MASTER_KEYS", "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the same file"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("postrider runs");
        Self { child, logs }
    }

    async fn says(&self, words: &str) {
        let started = Instant::now();
        loop {
            let log = std::fs::read_to_string(self.logs.path().join("log")).expect("the log");
            if log.contains(words) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "it does not say {words:?}:\n{log}");
            sleep(LOOK_EVERY).await;
        }
    }

    async fn stops_in_order(&mut self) {
        let pid = i32::try_from(self.child.id().expect("running")).expect("a pid");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("a signal");
        let ended = timeout(PATIENCE, self.child.wait()).await.expect("it stops").expect("a child");
        assert!(ended.success(), "{ended}");
    }
}

/// Guarantee (Faults and isolation): A process says what it waits for at start and at stop; a second signal ends it.
#[tokio::test]
async fn a_process_without_its_engines_logs_what_it_waits_for_and_can_stop() {
    let scope = Scope::new("starting").await;
    let nowhere = free_port();
    let mut without_database =
        Starting::with(&scope.amqp_url, &format!("postgres://postrider@127.0.0.1:{nowhere}/none"));
    without_database.says("waiting for the database").await;
    let mut without_broker = Starting::with(&format!("amqp://127.0.0.1:{nowhere}"), &scope.database_url);
    without_broker.says("cannot connect to the broker; retrying").await;
    without_database.stops_in_order().await;
    without_broker.stops_in_order().await;
}

/// Guarantee (Hostile clients): Settings that open the internal network are warned about at start.
#[tokio::test]
async fn a_process_warns_at_startup_about_settings_that_open_the_network() {
    let nowhere = format!("postgres://postrider@127.0.0.1:{}/none", free_port());
    let settings = [
        ("POSTRIDER_EGRESS_PROXY", "http://user:hidden@127.0.0.1:3128"),
        ("POSTRIDER_EGRESS_ALLOW", "0.0.0.0/0"),
        ("POSTRIDER_EGRESS_ALLOW_HTTP", "true"),
    ];
    let mut process = Starting::set("amqp://127.0.0.1:1", &nowhere, &settings);
    process.says("the proxy resolves them again").await;
    process.says("POSTRIDER_EGRESS_ALLOW allows every address").await;
    process.says("deliveries may travel unencrypted").await;
    process.says("waiting for the database").await;
    let log = std::fs::read_to_string(process.logs.path().join("log")).expect("the log");
    assert!(!log.contains("hidden"), "{log}");
    process.stops_in_order().await;
}

/// Guarantee: as `start_and_stop::a_process_without_its_engines_logs_what_it_waits_for_and_can_stop`.
#[tokio::test]
async fn a_stop_logs_what_it_waits_for_and_a_second_signal_ends_it() {
    let scope = Scope::new("stopping").await;
    let urls = Urls { amqp: scope.amqp_url.clone(), database: scope.database_url.clone() };
    let mut cluster = Cluster::start(urls).await;
    // This listener lets clients connect and never responds.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", silent.local_addr().expect("bound"));
    let tenant = cluster.tenant(&[]).await;
    let endpoint = json!({"name": "silent", "url": url, "event_types": ["*"], "timeout_seconds": 60});
    cluster.post_when_known("api", "/v1/endpoints", &tenant.key, &endpoint).await;
    let client = reqwest::Client::new();
    InForce::new(&scope, client, &cluster.base("ingest"), &cluster.base("fanout")).await.wait().await;
    cluster.kill9("dispatcher-2").await;
    cluster.post_when_known("ingest", "/v1/publish", &tenant.key, &json!({"type": "a.b", "data": {}})).await;
    let (mut connection, _) = timeout(PATIENCE, silent.accept()).await.expect("in time").expect("a connection");
    assert!(connection.read(&mut [0; 64]).await.expect("a request") > 0);

    cluster.signal("dispatcher", Signal::SIGTERM);
    let started = Instant::now();
    loop {
        let log = cluster.log("dispatcher");
        if log.contains("stop waits for messages in flight") && log.contains("postrider.lane.live 1") {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "it does not say what it waits for:\n{log}");
        sleep(LOOK_EVERY).await;
    }
    cluster.signal("dispatcher", Signal::SIGTERM);
    assert_eq!(cluster.ended("dispatcher").await.code(), Some(130), "it did not wait for the end of the attempt");
}

/// Guarantee (Faults and isolation): A stop without a fault logs neither a warning nor an error.
#[tokio::test]
async fn a_clean_stop_logs_no_warning_and_no_error() {
    let scope = Scope::new("clean_stop").await;
    let mut cluster = Cluster::start(Urls { amqp: scope.amqp_url.clone(), database: scope.database_url.clone() }).await;
    let mut all = Deployment::start("clean_stop_of_all").await;
    // The start itself warns about the settings of the scenarios, which open the network.
    let assert_quiet = |name: &str, log_before: &str, log: &str| {
        let since = log.strip_prefix(log_before).expect("the log only grows");
        let loud: Vec<_> = since.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
        assert!(loud.is_empty() && since.contains("stopped"), "{name}: {loud:#?}\n{since}");
    };
    for name in PROCESSES {
        let log_before = cluster.log(name);
        cluster.terminate(name).await;
        assert_quiet(name, &log_before, &cluster.log(name));
    }
    let log_before = all.log();
    all.stop().await;
    assert_quiet("all", &log_before, &all.log());
}
