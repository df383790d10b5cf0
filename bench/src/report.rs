//! The figures of a run: rows as text for people, and all of them as JSON.

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
/// CPU of other programs, in percent of all processors, from which a row gets a note.
const OTHER_PERCENT_MAX: f64 = 10.0;

/// The figures of a whole run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// An event's length in bytes.
    pub(crate) event_bytes: usize,
    /// Processors of the machine.
    pub(crate) processors: usize,
    /// The current run, from 1.
    #[serde(skip)]
    pub(crate) run: usize,
    /// How often the everyday workloads are measured.
    pub(crate) runs: usize,
    /// A row for each workload, in the order they ran.
    pub(crate) rows: Vec<Row>,
    /// What bad neighbours do to a healthy endpoint.
    pub(crate) isolation: Vec<Pairs>,
    /// What subscriptions cost a fan-out.
    pub(crate) matching: Vec<Matching>,
    /// The pages of the dashboard with much on record.
    pub(crate) pages: Vec<PageRow>,
    /// The figures that have a target.
    pub(crate) targets: Vec<Verdict>,
}

/// One workload's figures.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Row {
    /// Which workload.
    pub(crate) workload: String,
    /// Which run, from 1.
    pub(crate) run: usize,
    /// Which processes ran the services; empty for the bare path.
    pub(crate) services: String,
    /// Without traffic: for how long, in seconds.
    pub(crate) idle_seconds: Option<f64>,
    /// Whether events were due at fixed times, so that `latency` counts from then.
    pub(crate) fixed_rate: bool,
    /// The comparison of the ledgers.
    #[serde(flatten)]
    pub(crate) balance: Balance,
    /// Deliveries a second as a share of the bare path's in the same run, in percent.
    pub(crate) percent_of_bare: Option<f64>,
    /// Events that were answered with anything but 202.
    pub(crate) refused: u64,
    /// At a fixed rate: from when a request was due until the generator sent it. It is part of the latency.
    pub(crate) lateness: Option<Latency>,
    /// From the last delivery received until all are recorded, in seconds; absent with traffic beside it.
    pub(crate) recorded_after_seconds: Option<f64>,
    /// Deliveries that the API counts as succeeded.
    pub(crate) recorded: Option<u64>,
    /// How busy all processors were while events were published, in percent.
    pub(crate) machine_busy_percent: f64,
    /// CPU of everything except `processes` until all was recorded, in percent of all processors.
    pub(crate) other_percent: f64,
    /// The maximum depth of each internal queue; messages pile up before the slow part.
    pub(crate) deepest: BTreeMap<&'static str, u32>,
    /// By process.
    pub(crate) processes: Vec<ProcessRow>,
    /// What a reader must know about the row.
    pub(crate) notes: Vec<String>,
}

/// A healthy endpoint's p99 beside a bad neighbour and without it, in pairs.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Pairs {
    /// The name of the neighbour.
    pub(crate) neighbour: &'static str,
    /// What the p99 is compared with.
    pub(crate) reference: &'static str,
    /// p99 of the reference, by pair.
    pub(crate) p99_reference_ms: Vec<f64>,
    /// p99 beside the neighbour, by pair.
    pub(crate) p99_beside_ms: Vec<f64>,
    /// p99 alone, where that is not the reference; for information.
    pub(crate) p99_alone_ms: Vec<f64>,
}

/// What a number of subscriptions costs.
#[derive(Debug, Serialize)]
pub(crate) struct Matching {
    /// Which processes ran the services. In one process, start and memory are those of all services.
    pub(crate) services: String,
    /// Active endpoints.
    pub(crate) subscriptions: u32,
    /// From the start of the fan-out's process until it is ready, in seconds.
    pub(crate) ready_seconds: f64,
    /// Peak resident memory of the fan-out's process, MiB.
    pub(crate) peak_mib: f64,
    /// From the answer to an edit until an event that matches only the edited endpoint was received, in seconds.
    pub(crate) edit_in_force_seconds: f64,
    /// Matches, timed one by one.
    pub(crate) matches: Latency,
}

/// One process's share of a workload.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ProcessRow {
    /// The service, `broker`, `PostgreSQL`, `generator`, `sink` or `bare`.
    pub(crate) name: String,
    /// What the process belongs to.
    pub(crate) kind: Kind,
    /// CPU seconds, from the start of the generator until all was recorded.
    pub(crate) cpu_seconds: f64,
    /// Peak resident memory in MiB.
    pub(crate) peak_mib: f64,
}

impl ProcessRow {
    /// What a process used.
    pub(crate) fn of(name: &str, kind: Kind, used: Usage) -> Self {
        Self { name: name.to_owned(), kind, cpu_seconds: used.cpu_seconds, peak_mib: used.peak_bytes as f64 / MIB }
    }
}

impl Pairs {
    /// The ratio of each pair.
    pub(crate) fn ratios(&self) -> Vec<f64> {
        self.p99_beside_ms.iter().zip(&self.p99_reference_ms).map(|(beside, reference)| beside / reference).collect()
    }
}

impl Row {
    /// CPU seconds of one kind of process; `None` if it was not measured.
    pub(crate) fn cpu_seconds(&self, kind: Kind) -> Option<f64> {
        let processes = self.processes.iter().filter(|process| process.kind == kind);
        processes.map(|process| process.cpu_seconds).reduce(|sum, next| sum + next)
    }

    /// Adds notes on what makes the row unreliable.
    pub(crate) fn add_warnings(&mut self) {
        if self.recorded.is_some_and(|recorded| recorded != self.balance.deliveries) {
            self.notes.push("the recorded deliveries differ from the received ones".to_owned());
        }
        if self.other_percent > OTHER_PERCENT_MAX {
            self.notes.push(format!("other programs used {:.0}% of the machine", self.other_percent));
        }
    }

    /// CPU of all processes in ms per delivery.
    fn cpu_ms_per_delivery(&self) -> f64 {
        let sum: f64 = self.processes.iter().map(|process| process.cpu_seconds).sum();
        sum * 1_000.0 / self.balance.deliveries as f64
    }

    /// Name, processes and run.
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
    /// The row as text.
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
    /// Prints a row of the current run and keeps it.
    pub(crate) fn add(&mut self, mut row: Row) {
        row.run = self.run;
        say(&row.text(self.runs));
        self.rows.push(row);
    }

    /// Deliveries per second of a row of the current run.
    pub(crate) fn deliveries_per_second(&self, workload: &str) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.run == self.run && row.workload == workload);
        row.map(|row| row.balance.deliveries_per_second)
    }

    /// A line for each row.
    pub(crate) fn summary(&self) -> String {
        let mut text = format!(
            "\n{:<60}{:>10}{:>12}{:>8}{:>9}{:>9}{:>9}{:>6}{:>6}{:>9}\n",
            "workload", "events/s", "deliv./s", "% bare", "p50 ms", "p95 ms", "p99 ms", "lost", "dup.", "CPU ms"
        );
        for row in self.rows.iter().filter(|row| row.idle_seconds.is_none()) {
            let Balance { accepted_per_second, deliveries_per_second, lost, duplicated, latency, .. } = &row.balance;
            let share = row.percent_of_bare.map_or(String::from("-"), |share| format!("{share:.0}"));
            let Latency { p50_ms, p95_ms, p99_ms, .. } = latency;
            // Writing to a string does not fail.
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
