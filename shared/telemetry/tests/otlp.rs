//! Spans reach a collector over HTTP. The last spans are sent when the guard is dropped.
//!
//! The exporter reads the environment once per process. So the test runs its own program as a child with a chosen environment.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Command;

use postrider_telemetry::trace_context::TraceContext;
use postrider_telemetry::{self as telemetry, SPANS};

const NAME: &str = "spans_reach_the_collector";
const CHILD: &str = "POSTRIDER_TEST_OTLP_CHILD";
const PARENT_TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn child() {
    let guard = telemetry::init("the-default-name", "1.2.3").unwrap();
    assert!(telemetry::is_exporting());
    let span = tracing::info_span!(target: SPANS, "process the event");
    PARENT_TRACE.parse::<TraceContext>().unwrap().adopt(&span);
    let onward = TraceContext::onward(&span, Some("ignored: the span's own context travels on"));
    assert!(onward.is_sampled());
    assert_eq!(&onward.to_string()[..35], &PARENT_TRACE[..35], "it stays in the producer's trace");
    assert_ne!(onward.to_string(), PARENT_TRACE, "and is a span of its own");
    drop(span);
    drop(guard);
    assert!(!telemetry::is_exporting());
}

/// Receives one request. Returns its first line and its body.
fn receive(listener: &TcpListener) -> (String, Vec<u8>) {
    let (stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    reader.get_mut().write_all(answer.as_bytes()).unwrap();
    (first, body)
}

#[test]
fn spans_reach_the_collector() {
    if std::env::var_os(CHILD).is_some() {
        return child();
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let collector = std::thread::spawn(move || receive(&listener));
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(CHILD, "1")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("OTEL_SERVICE_NAME", "postrider-test")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (first, body) = collector.join().unwrap();
    assert_eq!(first.trim(), "POST /v1/traces HTTP/1.1");
    let contains = |text: &str| body.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(contains("process the event") && contains("postrider-test") && contains("1.2.3"));
    assert!(!contains("the-default-name"));
}
