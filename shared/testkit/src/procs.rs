//! Processes by `/proc`: finding, signalling and killing them.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The environment variable that every process of an engine inherits, with the engine's folder as its value. It lets a kill find
/// the shell, the Erlang VM, its port programs and the daemon epmd, and no process of another engine.
pub const MARK: &str = "POSTRIDER_ENGINE";

fn pids() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The running processes of the engine in this folder.
pub(crate) fn marked(folder: &Path) -> Vec<i32> {
    with_variable(MARK, &folder.display().to_string())
}

/// The running processes with this variable in their environment. Zombies have no environment, and that of other users' processes cannot
/// be read.
fn with_variable(name: &str, value: &str) -> Vec<i32> {
    let needle = format!("{name}={value}");
    pids()
        .into_iter()
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|env| env.split(|byte| *byte == 0).any(|entry| entry == needle.as_bytes()))
        })
        .collect()
}

/// The kernel's short name of a process.
pub(crate) fn name_of(pid: i32) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim().to_owned())
}

/// The command line, arguments separated by spaces.
pub(crate) fn command_of(pid: i32) -> Option<String> {
    let raw = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text = String::from_utf8_lossy(&raw).replace('\0', " ");
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Sends a signal. It is no error if the process has ended.
pub fn signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Sends SIGKILL to every process of an engine.
pub fn kill_marked(folder: &Path) {
    kill_with_variable(MARK, &folder.display().to_string());
}

/// Sends SIGKILL to every process that has the variable. Repeats this until there is none, because a process may fork meanwhile.
pub fn kill_with_variable(name: &str, value: &str) {
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        let found = with_variable(name, value);
        if found.is_empty() || Instant::now() > give_up {
            return;
        }
        for pid in found {
            signal(pid, Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Polls until the condition holds; false when it did not in time.
pub fn wait_until(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let give_up = Instant::now() + limit;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() > give_up {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A command that runs `program` with a limit of 65,536 open files, or the hard limit if that is lower. The shell replaces itself by the
/// program, which has the child's pid.
pub fn raise_open_files(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .arg("-c")
        .arg(r#"ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)" 2>/dev/null; exec "$0" "$@""#)
        .arg(program);
    command
}

/// The last lines of a log, for an error message.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read(path).map(|raw| String::from_utf8_lossy(&raw).into_owned()).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
