//! Tests that an invalid setting ends the process with an error that contains the name of the variable, and never with a panic.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use postrider_testkit::engines::Scope;

/// Maximum time until a process ends or listens, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const REQUIRED: [(&str, &str); 4] = [
    ("POSTRIDER_AMQP_URL", "amqp://127.0.0.1:1"),
    ("POSTRIDER_DATABASE_URL", "postgres://127.0.0.1:1/none"),
    ("POSTRIDER_OPERATOR_KEYS", "operator-key-of-the-settings-tests-0001"),
    ("POSTRIDER_MASTER_KEYS", "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
];

/// The result of starting a process.
#[derive(Debug)]
enum Came {
    /// The process accepts connections, so all settings can be used.
    Listening,
    /// The process ended with this exit code and this output.
    Ended(Option<i32>, String),
}

/// Runs `postrider` with the required variables and the given variables, until it ends or listens.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Came {
    let address = free_address();
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    command.args(arguments).env_clear().env("POSTRIDER_LISTEN", address.to_string()).envs(REQUIRED);
    command.envs(variables.iter().copied()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let words = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        text
    });
    let ended = wait(&mut child, address);
    let _ = child.kill();
    let _ = child.wait();
    let words = words.join().unwrap();
    assert!(!words.contains("panicked"), "{variables:?}: {words}");
    match ended {
        Some(code) => Came::Ended(code, words),
        None => Came::Listening,
    }
}

fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], postrider_testkit::ports::free_port()))
}

/// Waits until the process ends or listens. Returns its exit code, or `None` if it listens.
fn wait(child: &mut Child, address: SocketAddr) -> Option<Option<i32>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status.code());
        }
        if TcpStream::connect(address).is_ok() {
            return None;
        }
        assert!(started.elapsed() < PATIENCE, "it neither ends nor listens on {address}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Returns all variables in docs/configuration.md. Another test compares that page with the flags.
fn documented() -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split('|').nth(1));
    let names = rows.flat_map(|cell| cell.split(',')).map(|name| name.trim().trim_matches('`').to_owned());
    let names: Vec<String> = names.filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_')).collect();
    assert!(names.len() > 25, "{names:?}");
    names
}

/// Checks that the value is either accepted or refused with an error that contains the name of the variable.
fn check_value(name: &str, value: &str) {
    // A blank address counts as unset. The process would then listen on the default address, which this function does not
    // check.
    if name == "POSTRIDER_LISTEN" && value.trim().is_empty() {
        return;
    }
    let extra =
        if name.starts_with("OTEL_") { ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1") } else { (name, value) };
    match run(&["all"], &[extra, (name, value)]) {
        Came::Listening => {}
        Came::Ended(code, words) => {
            let shown = &value[..value.len().min(40)];
            assert!(matches!(code, Some(1 | 2)), "{name}={shown}: exit code {code:?}: {words}");
            // The error may contain a value with several lines.
            let last = words.rsplit("postrider: ").next().unwrap_or_default();
            assert!(last.contains(name), "{name}={shown}: {last}");
            assert!(last.len() < 1_000, "{name}={shown}: {} bytes of words", last.len());
        }
    }
}

#[test]
fn any_value_of_a_variable_is_accepted_or_refused_with_its_name() {
    let huge = "9".repeat(100_000);
    let values = ["", " ", "garb\u{202e}age\n\u{1f4a5}", "-1", "99999999999999999999999999", "/nope", &huge];
    let names = documented();
    let cases: Vec<(&str, &str)> =
        names.iter().flat_map(|name| values.iter().map(move |value| (name.as_str(), *value))).collect();
    std::thread::scope(|scope| {
        for part in cases.chunks(cases.len().div_ceil(4)) {
            scope.spawn(move || part.iter().for_each(|(name, value)| check_value(name, value)));
        }
    });
}

#[track_caller]
fn refused(variables: &[(&str, &str)], words: &str) {
    match run(&["all"], variables) {
        Came::Ended(_, said) => assert!(said.contains(words), "{said:?} lacks {words:?}"),
        Came::Listening => panic!("{variables:?} is accepted"),
    }
}

#[test]
fn an_invalid_value_is_refused_with_its_name_and_the_allowed_values() {
    refused(
        &[("POSTRIDER_LISTEN", "8080")],
        "POSTRIDER_LISTEN: `8080` is not ADDRESS:PORT; expected such as 127.0.0.1:8080",
    );
    refused(&[("POSTRIDER_RETENTION_DAYS", "3")], "POSTRIDER_RETENTION_DAYS: `3` is not a whole number from 8 to 3650");
    refused(&[("POSTRIDER_AMQP_URL", " ")], "POSTRIDER_AMQP_URL: is required and not set");
    refused(&[("POSTRIDER_RETENTION_DYAS", "30")], "did you mean POSTRIDER_RETENTION_DAYS?");
    let collector = "OTEL_EXPORTER_OTLP_ENDPOINT";
    refused(&[(collector, "collector:4318")], "OTEL_EXPORTER_OTLP_ENDPOINT: `collector:4318` is not a URL");
    let certificate = ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nope");
    refused(&[(collector, "https://127.0.0.1:1"), certificate], "OTEL_EXPORTER_OTLP_CERTIFICATE: cannot read the file");
    // The process checks the log filter after it has created the exporter for traces.
    refused(&[(collector, "http://127.0.0.1:1"), ("RUST_LOG", "postrider=loud")], "RUST_LOG is not valid");
}

#[test]
fn a_blank_variable_is_unset() {
    let blank = ["HTTP_CONNECTIONS_MAX", "DRAIN_TIMEOUT", "DATABASE_CONNECTIONS_MAX", "RETENTION_DAYS"];
    let more = [
        "RECONCILE_AFTER",
        "EGRESS_CONNECT_TIMEOUT",
        "PUSHOVER_URL",
        "TELEGRAM_URL",
        "CHAT_HOSTS",
        "EGRESS_ALLOW_HTTP",
        "PROFILES_DIR",
    ];
    let names: Vec<String> = blank.iter().chain(&more).map(|name| format!("POSTRIDER_{name}")).collect();
    let mut variables: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"));
    variables.push(("OTEL_EXPORTER_OTLP_CERTIFICATE", ""));
    let came = run(&["all"], &variables);
    assert!(matches!(came, Came::Listening), "{came:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_ends_at_once_if_the_login_is_refused() {
    let scope = Scope::new("refused-login").await;
    let (server, _) = scope.database_url.rsplit_once('/').unwrap();
    let missing = format!("{server}/there_is_no_such_database");
    let role = scope.database_url.replacen("postgres://", "postgres://no_such_role@", 1);
    let role = match scope.database_url.split_once('@') {
        Some((_, host)) => format!("postgres://no_such_role@{host}"),
        None => role,
    };
    for (url, words) in [(&missing, "does not exist (3D000)"), (&role, "(28")] {
        match run(&["migrate"], &[("POSTRIDER_DATABASE_URL", url)]) {
            Came::Ended(Some(1), said) => {
                assert!(said.contains(words) && said.contains("POSTRIDER_DATABASE_URL"), "{said}")
            }
            came => panic!("{came:?}"),
        }
    }
}

/// A process that is killed at the end of a test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the status line of the response to `GET path`.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn the_management_port_answers_while_clients_hold_every_connection() {
    let (public, management) = (free_address(), free_address());
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    command.arg("all").env_clear().envs(REQUIRED).env("POSTRIDER_LISTEN", public.to_string());
    command.env("POSTRIDER_MANAGEMENT_LISTEN", management.to_string()).env("POSTRIDER_HTTP_CONNECTIONS_MAX", "1");
    let mut running = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    assert_eq!(wait(&mut running.0, public), None, "it listens");
    // Without a broker and a database, the public port responds with 503 to every request. It serves no probes.
    assert_eq!(get(public, "/healthz"), "HTTP/1.1 503 Service Unavailable");
    let _held = TcpStream::connect(public).unwrap();
    for (path, status) in [("/healthz", "200 OK"), ("/metrics", "200 OK"), ("/readyz", "503 Service Unavailable")] {
        assert_eq!(get(management, path), format!("HTTP/1.1 {status}"), "{path}");
    }
    let healthcheck = Command::new(env!("CARGO_BIN_EXE_postrider"))
        .arg("healthcheck")
        .env_clear()
        .env("POSTRIDER_LISTEN", public.to_string())
        .env("POSTRIDER_MANAGEMENT_LISTEN", management.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&healthcheck.stderr).into_owned();
    assert!(!healthcheck.status.success() && said.contains("not ready"), "{said}");
}
