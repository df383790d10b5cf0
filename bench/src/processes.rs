//! Measures the CPU and memory of the processes of a run, from `/proc`.
//!
//! The broker and the database are found by the ports on which they listen. If that fails (another machine, another user), the
//! figures do not include them, and the output contains a note. Each of them counts as one process together with its children.
//! The CPU of a child that ended is part of its parent's CPU, so no CPU is missed or counted twice.

use std::collections::HashSet;
use std::fs;

use procfs::net::TcpState;
use procfs::process::{FDTarget, Process, all_processes};
use procfs::{CurrentSI as _, KernelStats};
use serde::{Deserialize, Serialize};

/// The resources that a process used.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// CPU time in seconds (user and system) since the process started.
    pub(crate) cpu_seconds: f64,
    /// Peak resident memory in bytes.
    pub(crate) peak_bytes: u64,
}

/// The group to which a process belongs. CPU per event excludes [`Kind::Instrument`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The services of Postrider.
    Service,
    /// RabbitMQ.
    Broker,
    /// PostgreSQL.
    Database,
    /// The generator, the sink, the bare path and `run`.
    Instrument,
}

/// A process, or a process with its children, with a name for the output.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    /// The name in the output.
    pub(crate) name: String,
    /// The group to which the process belongs.
    pub(crate) kind: Kind,
    pid: i32,
    family: bool,
}

impl Watched {
    /// Returns a single process.
    pub(crate) fn process(name: &str, kind: Kind, pid: u32) -> Self {
        Self { name: name.to_owned(), kind, pid: pid.cast_signed(), family: false }
    }

    /// Returns the process that listens on `port`, with its children.
    pub(crate) fn listener(name: &str, kind: Kind, port: u16) -> Option<Self> {
        listener(port).map(|pid| Self { family: true, ..Self::process(name, kind, pid) })
    }

    /// Resets the peak of resident memory, if the kernel allows it.
    pub(crate) fn reset_peak(&self) {
        for process in self.processes() {
            let _ = fs::write(format!("/proc/{}/clear_refs", process.pid), "5");
        }
    }

    /// Returns the resources used since the start of the process. For a process with children, the peak of memory is an
    /// estimate: the sum of the private peaks, plus the largest shared part.
    pub(crate) fn usage(&self) -> Usage {
        let mut sum = Usage::default();
        let mut shared_max = 0;
        for process in self.processes() {
            let (usage, shared) = usage(&process, self.family);
            let shared = if self.family { shared } else { 0 };
            sum.cpu_seconds += usage.cpu_seconds;
            sum.peak_bytes += usage.peak_bytes.saturating_sub(shared);
            shared_max = shared_max.max(shared);
        }
        sum.peak_bytes += shared_max;
        sum
    }

    fn processes(&self) -> impl Iterator<Item = Process> {
        let children = self.family.then(all).into_iter().flatten().filter(|process| parent(process) == Some(self.pid));
        Process::new(self.pid).into_iter().chain(children)
    }
}

/// The processor time of the whole machine so far, in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MachineTime {
    busy: f64,
    all: f64,
}

impl MachineTime {
    /// Reads the processor time so far. All values are 0 if the kernel does not provide it.
    pub(crate) fn now() -> Self {
        let Ok(KernelStats { total, .. }) = KernelStats::current() else { return Self::default() };
        let busy = total.user + total.nice + total.system + total.irq.unwrap_or(0) + total.softirq.unwrap_or(0);
        // Steal time is neither busy nor idle.
        let all = busy + total.idle + total.iowait.unwrap_or(0) + total.steal.unwrap_or(0);
        Self { busy: seconds(busy), all: seconds(all) }
    }

    /// Returns how busy all processors together were since `before`, in percent.
    pub(crate) fn busy_percent_since(self, before: Self) -> f64 {
        (self.busy - before.busy) * 100.0 / (self.all - before.all).max(0.01)
    }

    /// Returns the CPU of all other processes since `before`, in percent of all processors.
    pub(crate) fn other_percent_since(self, before: Self, measured_seconds: f64) -> f64 {
        (self.busy - before.busy - measured_seconds).max(0.0) * 100.0 / (self.all - before.all).max(0.01)
    }
}

/// Returns the resources that this process used so far.
pub(crate) fn own_usage() -> Usage {
    Process::myself().map(|process| usage(&process, false).0).unwrap_or_default()
}

fn all() -> impl Iterator<Item = Process> {
    all_processes().into_iter().flatten().flatten()
}

fn parent(process: &Process) -> Option<i32> {
    process.stat().ok().map(|stat| stat.ppid)
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / procfs::ticks_per_second() as f64
}

/// Returns the resources that a process used, and its shared memory in bytes. With `with_ended_children`, the CPU of children
/// that ended is included.
fn usage(process: &Process, with_ended_children: bool) -> (Usage, u64) {
    let (Ok(stat), Ok(status)) = (process.stat(), process.status()) else { return Default::default() };
    let ended = if with_ended_children { (stat.cutime + stat.cstime).cast_unsigned() } else { 0 };
    let usage =
        Usage { cpu_seconds: seconds(stat.utime + stat.stime + ended), peak_bytes: status.vmhwm.unwrap_or(0) * 1024 };
    (usage, (status.rssfile.unwrap_or(0) + status.rssshmem.unwrap_or(0)) * 1024)
}

fn listener(port: u16) -> Option<u32> {
    let entries = [procfs::net::tcp(), procfs::net::tcp6()].into_iter().flatten().flatten();
    let listening = entries.filter(|entry| entry.state == TcpState::Listen && entry.local_address.port() == port);
    let inodes: HashSet<u64> = listening.map(|entry| entry.inode).collect();
    let holders: Vec<Process> = all().filter(|process| holds_socket(process, &inodes)).collect();
    let is_holder = |pid| holders.iter().any(|process| process.pid == pid);
    // Children inherit the socket. The server is the holder whose parent is not a holder.
    let server = holders.iter().find(|process| !parent(process).is_some_and(is_holder));
    server.map(|process| process.pid.cast_unsigned())
}

fn holds_socket(process: &Process, inodes: &HashSet<u64>) -> bool {
    let descriptors = process.fd().into_iter().flatten().flatten();
    descriptors.into_iter().any(|fd| matches!(fd.target, FDTarget::Socket(inode) if inodes.contains(&inode)))
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
    fn own_usage_has_memory() {
        assert!(own_usage().peak_bytes > 0);
    }
}
