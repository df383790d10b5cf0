//! The figures of a run: as rows of text for people, and all of them as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::console::say;
use crate::ledger::{Balance, Latency};
use crate::log::PageRow;
use crate::processes::{Kind, Usage};
use crate::targets::Verdict;

/// Bytes in a MiB.
pub(crate) const MIB: f64 = 1024.0 * 1024.0;
/// If other programs use more CPU than this (in percent of all processors), the row gets a note.
const OTHER_PERCENT_MAX: f64 = 10.0;

/// The figures of a whole run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Length of an event in bytes.
    pub(crate) event_bytes: usize,
    /// Number of processors of the machine.
    pub(crate) processors: usize,
    /// Number of the current run, from 1.
    #[serde(skip)]
    pub(crate) run: usize,
    /// Number of runs of the everyday workloads.
    pub(crate) runs: usize,
    /// A row for each workload, in the order in which the workloads ran.
    pub(crate) rows: Vec<Row>,
    /// The effect of bad neighbours on a healthy endpoint or a quiet tenant.
    pub(crate) isolation: Vec<Pairs>,
    /// The costs of subscriptions in fan-out.
    pub(crate) matching: Vec<Matching>,
    /// The pages of the dashboard with many attempts on record.
    pub(crate) pages: Vec<PageRow>,
    /// The figures that are compared with targets.
    pub(crate) targets: Vec<Verdict>,
}

/// The figures of one workload.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Row {
    /// The name of the workload.
    pub(crate) workload: String,
    /// Number of the run, from 1.
    pub(crate) run: usize,
    /// A text about the processes that ran the services. It is empty for the bare path.
    pub(crate) services: String,
    /// Duration of a measurement without traffic, in seconds.
    pub(crate) idle_seconds: Option<f64>,
    /// Whether events were due at fixed times. If so, `latency` starts at these times.
    pub(crate) fixed_rate: bool,
    /// The comparison of accepted events and received deliveries.
    #[serde(flatten)]
    pub(crate) balance: Balance,
    /// Deliveries per second, in percent of those of the bare path in the same run.
    pub(crate) percent_of_bare: Option<f64>,
    /// Number of events that were answered with a status other than 202.
    pub(crate) refused: u64,
    /// Time from when a request was due until the generator sent it (at a fixed rate only). It is part of the latency.
    pub(crate) lateness: Option<Latency>,
    /// Seconds from the last received delivery until all deliveries are recorded. Absent if other traffic was published at the
    /// same time.
    pub(crate) recorded_after_seconds: Option<f64>,
    /// Number of deliveries that the API counts as successful.
    pub(crate) recorded: Option<u64>,
    /// How busy all processors were while events were published, in percent.
    pub(crate) machine_busy_percent: f64,
    /// CPU of everything except `processes` until all deliveries were recorded, in percent of all processors.
    pub(crate) other_percent: f64,
    /// The maximum length of each internal queue. Messages accumulate in the queue in front of the slowest part.
    pub(crate) deepest: BTreeMap<&'static str, u32>,
    /// The figures of each process.
    pub(crate) processes: Vec<ProcessRow>,
    /// Notes that a reader of the row needs.
    pub(crate) notes: Vec<String>,
}

/// The p99 of a healthy endpoint or quiet tenant with a bad neighbour and without it, in pairs.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Pairs {
    /// The name of the neighbour.
    pub(crate) neighbour: &'static str,
    /// A name for the reference, with which the p99 is compared.
    pub(crate) reference: &'static str,
    /// The p99 of the reference, for each pair.
    pub(crate) p99_reference_ms: Vec<f64>,
    /// The p99 with the neighbour, for each pair.
    pub(crate) p99_beside_ms: Vec<f64>,
    /// The p99 alone, if that is not the reference. It is only for information.
    pub(crate) p99_alone_ms: Vec<f64>,
}

/// The costs of a number of subscriptions.
#[derive(Debug, Serialize)]
pub(crate) struct Matching {
    /// A text about the processes that ran the services. If all services ran in one process, the start and the memory are those
    /// of all services.
    pub(crate) services: String,
    /// Number of active endpoints.
    pub(crate) subscriptions: u32,
    /// Seconds from the start of the fan-out process until it is ready.
    pub(crate) ready_seconds: f64,
    /// Peak resident memory of the fan-out process in MiB.
    pub(crate) peak_mib: f64,
    /// Seconds from the response to an edit until an event that matches only the edited endpoint is received.
    pub(crate) edit_in_force_seconds: f64,
    /// Durations of single matches.
    pub(crate) matches: Latency,
}

/// The figures of one process in a workload.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ProcessRow {
    /// The name: the service, `broker`, `PostgreSQL`, `generator`, `sink` or `bare`.
    pub(crate) name: String,
    /// The group to which the process belongs.
    pub(crate) kind: Kind,
    /// CPU seconds from the start of the generator until all deliveries are recorded.
    pub(crate) cpu_seconds: f64,
    /// Peak resident memory in MiB.
    pub(crate) peak_mib: f64,
}

impl ProcessRow {
    /// Creates the row of a process from its used resources.
    pub(crate) fn of(name: &str, kind: Kind, used: Usage) -> Self {
        Self { name: name.to_owned(), kind, cpu_seconds: used.cpu_seconds, peak_mib: used.peak_bytes as f64 / MIB }
    }
}

impl Pairs {
    /// Returns the ratio of each pair.
    pub(crate) fn ratios(&self) -> Vec<f64> {
        self.p99_beside_ms.iter().zip(&self.p99_reference_ms).map(|(beside, reference)| beside / reference).collect()
    }
}

impl Row {
    /// Returns the CPU seconds of all processes of one kind. Returns `None` if they were not measured.
    pub(crate) fn cpu_seconds(&self, kind: Kind) -> Option<f64> {
        let processes = self.processes.iter().filter(|process| process.kind == kind);
        processes.map(|process| process.cpu_seconds).reduce(|sum, next| sum + next)
    }

    /// Adds notes about circumstances that make the row unreliable.
    pub(crate) fn add_warnings(&mut self) {
        if self.recorded.is_some_and(|recorded| recorded != self.balance.deliveries) {
            self.notes.push("the recorded deliveries differ from the received ones".to_owned());
        }
        if self.other_percent > OTHER_PERCENT_MAX {
            self.notes.push(format!("other programs used {:.0}% of the machine", self.other_percent));
        }
    }

    /// Returns the CPU of all processes in milliseconds per delivery.
    fn cpu_ms_per_delivery(&self) -> f64 {
        let sum: f64 = self.processes.iter().map(|process| process.cpu_seconds).sum();
        sum * 1_000.0 / self.balance.deliveries as f64
    }

    /// Returns the title of the row: the name, the processes and the run.
    fn title(&self, runs: usize) -> String {
        let services = if self.services.is_empty() { String::new() } else { format!(" ({})", self.services) };
        let run = if runs > 1 { format!(", run {} of {runs}", self.run) } else { String::new() };
        format!("{}{services}{run}", self.workload)
    }

    fn text(&self, runs: usize) -> String {
        let mut lines = vec![format!("\n== {} ==", self.title(runs))];
        let (column, per_second) = match self.idle_seconds {
            Some(seconds) => ("% of a processor", 100.0 / seconds),
            None => {
                self.add_traffic(&mut lines);
                ("ms per delivery", 1_000.0 / self.balance.deliveries as f64)
            }
        };
        lines.push(format!("{:<14}{:>12}{column:>20}{:>12}", "process", "CPU s", "peak MiB"));
        for ProcessRow { name, cpu_seconds, peak_mib, .. } in &self.processes {
            lines.push(format!("{name:<14}{cpu_seconds:>12.2}{:>20.4}{peak_mib:>12.1}", cpu_seconds * per_second));
        }
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        lines.join("\n")
    }

    fn add_traffic(&self, lines: &mut Vec<String>) {
        let Balance { accepted, accepted_per_second, deliveries, deliveries_per_second, .. } = &self.balance;
        let Balance { lost, duplicated, unannounced, latency, .. } = &self.balance;
        let share = self.percent_of_bare.map(|share| format!("  ({share:.0}% of the bare path)")).unwrap_or_default();
        lines.extend([
            format!("accepted     {accepted:>10}   {accepted_per_second:>9.0} events/s"),
            format!("delivered    {deliveries:>10}   {deliveries_per_second:>9.0} deliveries/s{share}"),
            format!("lost {lost}, duplicated {duplicated}, unannounced {unannounced}, refused {}", self.refused),
            format!("latency ms   {}", latency.text()),
        ]);
        lines.extend(self.lateness.iter().map(|lateness| format!("generator late by ms  {}", lateness.text())));
        if let Some(seconds) = self.recorded_after_seconds {
            lines.push(format!("{} deliveries recorded {seconds:.1} s after the last one", self.recorded.unwrap_or(0)));
        }
        let deepest = self.deepest.iter().filter(|(_, most)| **most > 0);
        let deepest: Vec<String> = deepest.map(|(name, most)| format!("{name} {most}")).collect();
        if !deepest.is_empty() {
            lines.push(format!("most messages waiting: {}", deepest.join(", ")));
        }
        let (busy, other) = (self.machine_busy_percent, self.other_percent);
        lines.push(format!("machine {busy:.0}% busy while events were published; other programs used {other:.0}%"));
    }
}

impl Matching {
    /// Returns the row as text.
    pub(crate) fn text(&self) -> String {
        let Self { services, subscriptions, ready_seconds, peak_mib, edit_in_force_seconds, matches } = self;
        let [p50, p99, max] = [matches.p50_ms, matches.p99_ms, matches.max_ms].map(|ms| ms * 1_000.0);
        format!(
            "\n== matching at {subscriptions} subscriptions ({services}) ==\n\
             fan-out's process ready after {ready_seconds:.2} s, peak {peak_mib:.0} MiB\n\
             an edit in force after {edit_in_force_seconds:.2} s\n\
             a match takes us p50 {p50:.2}  p99 {p99:.2}  max {max:.1}"
        )
    }
}

impl Report {
    /// Prints a row of the current run and stores it.
    pub(crate) fn add(&mut self, mut row: Row) {
        row.run = self.run;
        say(&row.text(self.runs));
        self.rows.push(row);
    }

    /// Returns the deliveries per second in a row of the current run.
    pub(crate) fn deliveries_per_second(&self, workload: &str) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.run == self.run && row.workload == workload);
        row.map(|row| row.balance.deliveries_per_second)
    }

    /// Returns a table with a line for each row.
    pub(crate) fn summary(&self) -> String {
        let mut text = format!(
            "\n{:<60}{:>10}{:>12}{:>8}{:>9}{:>9}{:>9}{:>6}{:>6}{:>9}\n",
            "workload", "events/s", "deliv./s", "% bare", "p50 ms", "p95 ms", "p99 ms", "lost", "dup.", "CPU ms"
        );
        for row in self.rows.iter().filter(|row| row.idle_seconds.is_none()) {
            let Balance { accepted_per_second, deliveries_per_second, lost, duplicated, latency, .. } = &row.balance;
            let share = row.percent_of_bare.map_or(String::from("-"), |share| format!("{share:.0}"));
            let Latency { p50_ms, p95_ms, p99_ms, .. } = latency;
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{:<60}{accepted_per_second:>10.0}{deliveries_per_second:>12.0}{share:>8}{p50_ms:>9.2}{p95_ms:>9.2}{p99_ms:>9.2}{lost:>6}{duplicated:>6}{:>9.3}",
                row.title(self.runs),
                row.cpu_ms_per_delivery(),
            );
        }
        text
    }
}
