//! The first SIGTERM stops the process gracefully, the second immediately.
//!
//! Signals reach a whole process. So the test runs its own program as a child, and sends them to it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const NAME: &str = "a_second_signal_does_not_wait";
const CHILD: &str = "POSTRIDER_TEST_SIGNALS_CHILD";

fn say(word: &str) {
    let mut out = std::io::stderr();
    writeln!(out, "{word}").unwrap();
}

fn child() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stop = postrider_telemetry::signals::stop_token().unwrap();
        say("waiting");
        stop.cancelled().await;
        say("stopping");
        // This drain never ends.
        std::future::pending::<()>().await;
    });
}

#[test]
fn a_second_signal_does_not_wait() {
    if std::env::var_os(CHILD).is_some() {
        return child();
    }
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(i32::try_from(process.id()).unwrap());
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let mut wait_for = |word: &str| assert!(lines.any(|line| line.unwrap() == word), "the child ended before `{word}`");
    wait_for("waiting");
    kill(pid, Signal::SIGTERM).unwrap();
    wait_for("stopping");
    kill(pid, Signal::SIGINT).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(130));
}
