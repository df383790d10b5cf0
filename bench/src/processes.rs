//! CPU and memory of the processes of a run, from `/proc`.
//!
//! The engines are found by the port they listen on; when that fails (another machine, another user) they are left
//! out of the figures, and the output says so. PostgreSQL is a family: the time of its processes that ended is in
//! their parent's account, so nothing is missed.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Clock ticks a second in `/proc/<pid>/stat`: the kernel's interface fixes it at 100 on every platform we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process used.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// CPU seconds, user and system, since the process started.
    pub(crate) cpu_seconds: f64,
    /// Peak resident memory in bytes.
    pub(crate) peak_bytes: u64,
}

/// A process, or a process and its children, under a name.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    /// The name in the output.
    pub(crate) name: String,
    pid: u32,
    family: bool,
}

impl Watched {
    /// One process.
    pub(crate) fn process(name: &str, pid: u32) -> Self {
        Self { name: name.to_owned(), pid, family: false }
    }

    /// The owner of the socket that listens on `port`.
    pub(crate) fn listener(name: &str, port: u16) -> Option<Self> {
        listener(port).map(|pid| Self::process(name, pid))
    }

    /// The same with its children.
    pub(crate) fn with_children(self) -> Self {
        Self { family: true, ..self }
    }

    /// Resets the peak of resident memory, where the kernel allows it.
    pub(crate) fn reset_peak(&self) {
        for pid in self.pids() {
            let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
    }

    /// What it used since it started. A family's peak is an estimate: its members' private peaks and the largest
    /// shared part, which they share.
    pub(crate) fn usage(&self) -> Usage {
        let mut sum = Usage::default();
        let mut shared_max = 0;
        for pid in self.pids() {
            // Children that ended count with the parent that waited for them.
            sum.cpu_seconds += cpu_seconds(&pid.to_string(), self.family);
            let memory = memory(&pid.to_string());
            let shared = if self.family { memory.shared_bytes } else { 0 };
            sum.peak_bytes += memory.peak_bytes.saturating_sub(shared);
            shared_max = shared_max.max(shared);
        }
        sum.peak_bytes += shared_max;
        sum
    }

    fn pids(&self) -> Vec<u32> {
        let mut pids = vec![self.pid];
        if self.family {
            pids.extend(all_pids().filter(|pid| parent(*pid) == Some(self.pid)));
        }
        pids
    }
}

/// The machine's processor time so far, in ticks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MachineTime {
    busy: f64,
    all: f64,
}

impl MachineTime {
    /// Reads `/proc/stat`.
    pub(crate) fn now() -> Self {
        Self::read(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    fn read(stat: &str) -> Self {
        let first = stat.lines().next().unwrap_or_default();
        let ticks: Vec<f64> = first.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
        // The fields after these are counted in `user` already. Steal is neither busy nor idle.
        let [user, nice, system, idle, iowait, irq, softirq, steal] = ticks.first_chunk().copied().unwrap_or_default();
        let busy = user + nice + system + irq + softirq;
        Self { busy, all: busy + idle + iowait + steal }
    }

    /// How busy all processors together were since `before`.
    pub(crate) fn busy_percent_since(self, before: Self) -> f64 {
        (self.busy - before.busy) * 100.0 / (self.all - before.all).max(1.0)
    }
}

/// What this process used so far.
pub(crate) fn own_usage() -> Usage {
    Usage { cpu_seconds: cpu_seconds("self", false), peak_bytes: memory("self").peak_bytes }
}

/// Resets this process's peak of resident memory.
pub(crate) fn reset_own_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn all_pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The fields of `/proc/<pid>/stat` after the command, which may hold anything; the first is field 3, the state.
fn stat_fields(pid: &str) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn parent(pid: u32) -> Option<u32> {
    stat_fields(&pid.to_string())?.get(1)?.parse().ok()
}

fn cpu_seconds(pid: &str, with_ended_children: bool) -> f64 {
    // Fields 14 to 17 of proc(5): utime, stime, cutime, cstime.
    let fields = if with_ended_children { 11..15 } else { 11..13 };
    let Some(stat) = stat_fields(pid) else { return 0.0 };
    stat.get(fields).into_iter().flatten().filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND
}

struct Memory {
    peak_bytes: u64,
    shared_bytes: u64,
}

fn memory(pid: &str) -> Memory {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib: u64 = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0);
        kib * 1024
    };
    Memory { peak_bytes: field("VmHWM:"), shared_bytes: field("RssFile:") + field("RssShmem:") }
}

fn listener(port: u16) -> Option<u32> {
    let inodes: BTreeSet<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .collect();
    // The lowest: a forking server's children inherit the socket, the parent came first.
    all_pids().filter(|pid| holds_socket(*pid, &inodes)).min()
}

fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.len() > 9 && row[1].ends_with(&suffix) && row[3] == LISTEN)
        .map(|row| format!("socket:[{}]", row[9]))
        .collect()
}

fn holds_socket(pid: u32, inodes: &BTreeSet<String>) -> bool {
    let descriptors = fs::read_dir(PathBuf::from(format!("/proc/{pid}/fd"))).into_iter().flatten().flatten();
    descriptors
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| target.to_str().is_some_and(|target| inodes.contains(target)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_process_is_found_by_its_port() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = socket.local_addr().expect("bound").port();
        assert_eq!(listener(port), Some(std::process::id()));
    }

    #[test]
    fn steal_is_not_busy() {
        let before = MachineTime::read("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3 4\n");
        let after = MachineTime::read("cpu  150 0 70 810 60 5 5 100 0 0\n");
        assert!((after.busy_percent_since(before) - 40.0).abs() < 1e-9);
    }

    #[test]
    fn own_usage_has_memory() {
        assert!(own_usage().peak_bytes > 0);
    }
}
