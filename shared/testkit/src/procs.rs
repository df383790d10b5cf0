//! Access to processes through `/proc`: finds, signals and kills them.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The environment variable that every process of an engine inherits. Its value is the engine's folder. With this variable a
/// kill finds the shell, the Erlang VM, its port programs and the daemon epmd, and no process of another engine.
pub const MARK: &str = "POSTRIDER_ENGINE";

fn pids() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Returns the running processes of the engine in this folder.
pub(crate) fn marked(folder: &Path) -> Vec<i32> {
    with_variable(MARK, &folder.display().to_string())
}

/// Returns the running processes with this variable in their environment. Zombies have no environment, and the environment of
/// other users' processes cannot be read.
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

/// Returns the kernel's short name of a process.
pub(crate) fn name_of(pid: i32) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim().to_owned())
}

/// Returns the command line, with its arguments separated by spaces.
pub(crate) fn command_of(pid: i32) -> Option<String> {
    let raw = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text = String::from_utf8_lossy(&raw).replace('\0', " ");
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Sends a signal. If the process has ended, does nothing.
pub fn signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Sends SIGKILL to every process of an engine.
pub fn kill_marked(folder: &Path) {
    kill_with_variable(MARK, &folder.display().to_string());
}

/// Sends SIGKILL to every process with the variable. Repeats this until there is no such process, because a process may fork in
/// between.
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

/// Polls until the condition is true. Returns `false` if it did not become true in time.
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

/// Returns a command that runs `program` with a limit of 65,536 open files, or with the hard limit if that is lower. The shell
/// replaces itself by the program, so the program has the child's process id.
pub fn raise_open_files(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .arg("-c")
        .arg(r#"ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)" 2>/dev/null; exec "$0" "$@""#)
        .arg(program);
    command
}

/// Returns the last lines of a log, for an error message.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read(path).map(|raw| String::from_utf8_lossy(&raw).into_owned()).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
