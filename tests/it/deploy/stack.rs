//! Runs the services of docker-compose.yml as processes, with their commands and environment except hosts and ports, behind nginx
//! with the file's configuration.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postrider_testkit::debian::{DOCKER_COMPOSE, NGINX};
use postrider_testkit::engines::Scope;
use postrider_testkit::ports::free_port;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::{checkout, run, text, tool};
use crate::harness::binary;

const READY_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// docker-compose.yml as Compose reads it, with secrets generated as in the README.
pub(crate) async fn compose_file() -> Value {
    let made = run(Command::new("sh").arg(checkout().join("deploy/compose/make-env.sh"))).await;
    let secrets = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(secrets.path(), made).expect("written");
    let mut compose = tool(DOCKER_COMPOSE).await;
    compose.args(["--profile", "telemetry", "--env-file"]).arg(secrets.path()).args(["config", "--format", "json"]);
    compose.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    // The test receivers run on this machine.
    compose.env("POSTRIDER_EGRESS_ALLOW", "127.0.0.0/8").env("POSTRIDER_EGRESS_ALLOW_HTTP", "true");
    serde_json::from_str(&run(compose.current_dir(checkout())).await).expect("JSON")
}

/// A running replica.
pub(crate) struct Replica {
    pub(crate) service: &'static str,
    pub(crate) address: String,
    environment: BTreeMap<String, String>,
    process: Child,
}

impl Replica {
    /// Sends SIGKILL and waits until the process has ended.
    pub(crate) async fn kill9(&mut self) {
        self.process.kill().await.expect("killed");
    }

    /// Sends SIGTERM. Returns how the process ended within the grace period of the file.
    pub(crate) async fn stop(&mut self, grace: Duration) -> ExitStatus {
        let pid = i32::try_from(self.process.id().expect("running")).expect("a pid");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("a signal");
        timeout(grace, self.process.wait()).await.expect("drained in time").expect("a child")
    }

    /// Runs the image's HEALTHCHECK.
    pub(crate) async fn is_healthy(&self) -> bool {
        let mut command = Command::new(binary());
        command.arg("healthcheck").env_clear().envs(&self.environment).stderr(Stdio::null());
        command.status().await.expect("it runs").success()
    }
}

/// Everything that `docker compose up` starts, except the engines.
pub(crate) struct Stack {
    pub(crate) file: Value,
    pub(crate) replicas: Vec<Replica>,
    /// The address of the proxy.
    pub(crate) base: String,
    pub(crate) client: reqwest::Client,
    _proxy: Child,
    logs: TempDir,
    scope: Scope,
}

impl Stack {
    /// Migrates, starts the services with this number of dispatchers, and waits until all are healthy.
    pub(crate) async fn start(name: &str, dispatchers: usize) -> Self {
        let file = compose_file().await;
        let (scope, logs) = (Scope::new(name).await, tempfile::tempdir().expect("a folder"));
        let mut migrate = command(&file, "migrate", &scope, "127.0.0.1:1").1;
        run(&mut migrate).await;
        let mut replicas = Vec::new();
        let services =
            ["ingest", "fanout", "recorder", "api"].into_iter().chain(std::iter::repeat_n("dispatcher", dispatchers));
        for (number, service) in services.enumerate() {
            let address = format!("127.0.0.1:{}", free_port());
            let (environment, mut command) = command(&file, service, &scope, &address);
            let log = File::create(logs.path().join(format!("{number}-{service}.log"))).expect("a log");
            command.stdin(Stdio::null()).stdout(log.try_clone().expect("the same")).stderr(log).kill_on_drop(true);
            let process = command.spawn().expect("postrider runs");
            replicas.push(Replica { service, address, environment, process });
        }
        let started = Instant::now();
        for replica in &replicas {
            while !replica.is_healthy().await {
                assert!(
                    started.elapsed() < READY_WITHIN,
                    "{} is not healthy; logs in {}",
                    replica.service,
                    logs.path().display()
                );
                sleep(LOOK_EVERY).await;
            }
        }
        let (base, proxy) = proxy(&replicas, &logs).await;
        Self { file, replicas, base, client: reqwest::Client::new(), _proxy: proxy, logs, scope }
    }

    /// The database's URL.
    pub(crate) fn database_url(&self) -> &str {
        &self.scope.database_url
    }

    /// The replicas of a service.
    pub(crate) fn of(&self, service: &str) -> Vec<&Replica> {
        self.replicas.iter().filter(|replica| replica.service == service).collect()
    }

    /// How long Compose lets a service drain.
    pub(crate) fn grace(&self, service: &str) -> Duration {
        let text = self.file["services"][service]["stop_grace_period"].as_str().expect("a grace period");
        let (minutes, seconds) = text.trim_end_matches('s').split_once('m').expect("such as 1m15s");
        Duration::from_secs(minutes.parse::<u64>().expect("minutes") * 60 + seconds.parse::<u64>().expect("seconds"))
    }

    /// Repeats a POST through the proxy until it succeeds, because new keys and endpoints take up to two seconds.
    pub(crate) async fn post(&self, path: &str, key: &str, body: &Value) -> Value {
        let started = Instant::now();
        loop {
            let request = self.client.post(format!("{}{path}", self.base)).bearer_auth(key);
            let answer = request
                .header("content-type", "application/json")
                .body(body.to_string())
                .send()
                .await
                .expect("an answer");
            let (status, text) = (answer.status(), answer.text().await.expect("text"));
            if status.is_success() {
                return serde_json::from_str(&text).expect("JSON");
            }
            assert!(status == 401 && started.elapsed() < READY_WITHIN, "POST {path}: {status} {text}");
            sleep(LOOK_EVERY).await;
        }
    }

    /// Creates a tenant with a key of every scope. Returns the key.
    pub(crate) async fn tenant(&self) -> String {
        let operator =
            self.file["services"]["api"]["environment"]["POSTRIDER_OPERATOR_KEYS"].as_str().expect("a key").to_owned();
        let tenant = self.post("/v1/tenants", &operator, &json!({"name": "compose", "profile": "standard"})).await;
        let keys = format!("/v1/tenants/{}/keys", tenant["id"].as_str().expect("an id"));
        let scopes = json!({"name": "all", "scopes": ["publish", "read", "manage"]});
        self.post(&keys, &operator, &scopes).await["key"].as_str().expect("a key").to_owned()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- the logs are kept in {}", self.logs.path().display());
            self.logs.disable_cleanup(true);
        }
    }
}

/// A service as defined in the file, before the hosts of its engines are replaced.
fn command(file: &Value, service: &str, scope: &Scope, listen: &str) -> (BTreeMap<String, String>, Command) {
    let described = &file["services"][service];
    let variables = described["environment"].as_object().expect("an environment").iter();
    let mut environment: BTreeMap<String, String> =
        variables.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
    for (name, host, url) in [
        ("POSTRIDER_AMQP_URL", "@rabbitmq:5672/", &scope.amqp_url),
        ("POSTRIDER_DATABASE_URL", "@postgres:5432/", &scope.database_url),
    ] {
        if let Some(value) = environment.get_mut(name) {
            assert!(value.contains(host), "{service}: {name} is not at {host}");
            value.clone_from(url);
        }
    }
    if let Some(value) = environment.insert("POSTRIDER_LISTEN".into(), listen.into()) {
        assert_eq!(value, "0.0.0.0:8080", "{service}");
    }
    let arguments = described["command"].as_array().expect("a command").iter().filter_map(Value::as_str);
    let mut command = Command::new(binary());
    command.args(arguments).env_clear().envs(&environment);
    (environment, command)
}

/// nginx with the file's configuration, addresses replaced.
async fn proxy(replicas: &[Replica], logs: &TempDir) -> (String, Child) {
    let address = format!("127.0.0.1:{}", free_port());
    let of =
        |service: &str| replicas.iter().find(|replica| replica.service == service).expect("it runs").address.clone();
    let folder = logs.path().display().to_string();
    let configuration = text("deploy/proxy/nginx.conf")
        .replace("listen 8080;", &format!("listen {address};"))
        .replace("ingest:8080", &of("ingest"))
        .replace("api:8080", &of("api"))
        .replace("/tmp/", &format!("{folder}/"));
    let path = logs.path().join("nginx.conf");
    std::fs::write(&path, configuration).expect("written");
    let mut command = tool(NGINX).await;
    let directives = if nix::unistd::Uid::effective().is_root() { "daemon off; user root;" } else { "daemon off;" };
    let log = File::create(logs.path().join("nginx.log")).expect("a log");
    command.arg("-c").arg(&path).arg("-p").arg(logs.path()).args(["-g", directives]).stdin(Stdio::null());
    let child =
        command.stdout(log.try_clone().expect("the same")).stderr(log).kill_on_drop(true).spawn().expect("nginx runs");
    let started = Instant::now();
    while tokio::net::TcpStream::connect(&address).await.is_err() {
        assert!(started.elapsed() < READY_WITHIN, "nginx: see {folder}/nginx.log");
        sleep(LOOK_EVERY).await;
    }
    (format!("http://{address}"), child)
}
