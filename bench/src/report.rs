//! What a run prints: text for people, the same figures as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::ledger::{Balance, Latency, Undisturbed};
use crate::log::Read;
use crate::matching::Matching;
use crate::processes::{MachineShares, Usage};

/// Prints a line on standard output.
#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// The figures of a whole run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// An event's length in bytes.
    pub(crate) event_bytes: usize,
    /// Processors of the machine.
    pub(crate) processors: usize,
    /// Dispatcher processes.
    pub(crate) dispatchers: usize,
    /// A row for each workload, in the order they ran.
    pub(crate) rows: Vec<Row>,
    /// What bad neighbours do to a healthy endpoint.
    pub(crate) isolation: Vec<Pairs>,
    /// How long it takes to read a large log.
    pub(crate) log: Vec<Read>,
    /// What subscriptions cost a fan-out.
    pub(crate) matching: Vec<Matching>,
}

/// One workload's figures.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Row {
    /// Which workload.
    pub(crate) workload: String,
    /// Both ledgers compared.
    #[serde(flatten)]
    pub(crate) balance: Balance,
    /// Deliveries a second as a share of the bare path's in the same run, in percent.
    pub(crate) percent_of_bare: Option<f64>,
    /// This row's p99 as a multiple of the p99 of the row it is compared with; of undisturbed deliveries in isolation rows.
    pub(crate) p99_ratio: Option<f64>,
    /// The most deliveries that arrived within a second, where a rate is to be kept.
    pub(crate) worst_second: Option<u64>,
    /// Events that were answered with anything but 202.
    pub(crate) refused: u64,
    /// The first such answer.
    pub(crate) first_refusal: Option<String>,
    /// From the last delivery received until the recorder's queues were empty, in seconds; absent where the workload
    /// leaves deliveries behind on purpose.
    pub(crate) recorded_after_seconds: Option<f64>,
    /// What the endpoints' rows in the database count as delivered; equal to the deliveries when all is on record.
    pub(crate) recorded: Option<u64>,
    /// What became of all processors' time while events were published.
    pub(crate) machine: Option<MachineShares>,
    /// The most messages seen waiting in each internal queue; where they pile up is what is slow.
    pub(crate) deepest: BTreeMap<&'static str, u32>,
    /// Connections opened to the sink while measuring (the benchmark's own questions included). Many more than the
    /// dispatcher's concurrency: connections are not used again.
    pub(crate) connections: u64,
    /// By process.
    pub(crate) processes: Vec<ProcessRow>,
    /// Anything a reader must know about the row.
    pub(crate) notes: Vec<String>,
}

/// Pairs of rows: an endpoint alone, and beside a bad neighbour. Their p99 is of undisturbed deliveries.
#[derive(Debug, Serialize)]
pub(crate) struct Pairs {
    /// Beside whom.
    pub(crate) neighbour: &'static str,
    /// What the median of the ratios must not exceed.
    pub(crate) bound: f64,
    /// How many pairs are needed to tell.
    pub(crate) needed: usize,
    /// Pairs with too few undisturbed deliveries; they are in none of the figures below.
    pub(crate) disturbed: usize,
    /// p99 alone, by pair.
    pub(crate) p99_alone_ms: Vec<f64>,
    /// p99 beside the neighbour, by pair.
    pub(crate) p99_beside_ms: Vec<f64>,
    /// p99 beside the neighbour as a multiple of p99 alone, by pair.
    pub(crate) ratios: Vec<f64>,
    /// The same of all deliveries, disturbed or not, by pair.
    pub(crate) ratios_of_all: Vec<f64>,
}

impl Pairs {
    pub(crate) fn new(neighbour: &'static str, bound: f64, needed: usize) -> Self {
        Self {
            neighbour,
            bound,
            needed,
            disturbed: 0,
            p99_alone_ms: Vec::new(),
            p99_beside_ms: Vec::new(),
            ratios: Vec::new(),
            ratios_of_all: Vec::new(),
        }
    }

    /// The pairs in a few lines; too few pairs tell nothing.
    fn text(&self) -> String {
        let list = |values: &[f64], digits: usize| {
            values.iter().map(|value| format!("{value:.digits$}")).collect::<Vec<_>>().join(", ")
        };
        let Self { neighbour, bound, disturbed, .. } = self;
        let median = median(&self.ratios);
        let verdict = match (self.ratios.len() >= self.needed, median <= *bound) {
            (false, _) => "too few pairs for a verdict on",
            (true, true) => "within",
            (true, false) => "BEYOND",
        };
        format!(
            "{neighbour:<22}p99 ms alone {}; beside {}; {disturbed} more pairs disturbed; of all deliveries the ratios are {}\n\
             {:<22}ratios {}: median {median:.2}, {verdict} {bound}",
            list(&self.p99_alone_ms, 1),
            list(&self.p99_beside_ms, 1),
            list(&self.ratios_of_all, 2),
            "",
            list(&self.ratios, 2),
        )
    }
}

/// The middle one, or the mean of the two in the middle; 0 of nothing.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.as_slice() {
        [] => 0.0,
        all if all.len() % 2 == 1 => all[middle],
        all => f64::midpoint(all[middle - 1], all[middle]),
    }
}

/// One process's share of a workload.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ProcessRow {
    /// The service, `broker`, `database`, `generator`, `sink` or `bare`.
    pub(crate) name: String,
    /// CPU seconds, from the first publish until all was on record.
    pub(crate) cpu_seconds: f64,
    /// CPU seconds for 1,000 deliveries (the same number as milliseconds for one).
    pub(crate) cpu_seconds_per_1000: f64,
    /// Peak resident memory in MiB.
    pub(crate) peak_mib: f64,
}

impl ProcessRow {
    /// The difference between two readings, over `deliveries`.
    pub(crate) fn between(name: &str, before: Usage, after: Usage, deliveries: u64) -> Self {
        let cpu_seconds = (after.cpu_seconds - before.cpu_seconds).max(0.0);
        Self {
            name: name.to_owned(),
            cpu_seconds,
            cpu_seconds_per_1000: cpu_seconds * 1000.0 / deliveries.max(1) as f64,
            peak_mib: after.peak_bytes as f64 / (1024.0 * 1024.0),
        }
    }
}

impl Row {
    /// The row as text.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("\n== {} ==\n", self.workload);
        let balance = &self.balance;
        let share = self.percent_of_bare.map(|share| format!("  ({share:.0}% of the bare path)")).unwrap_or_default();
        // Writing to a string does not fail.
        let _ = writeln!(text, "accepted     {:>10}   {:>9.0} events/s", balance.accepted, balance.accepted_per_second);
        let _ = writeln!(
            text,
            "delivered    {:>10}   {:>9.0} deliveries/s{share}",
            balance.deliveries, balance.deliveries_per_second
        );
        let _ = writeln!(
            text,
            "lost {}, duplicated {}, unannounced {}, refused {}",
            balance.lost, balance.duplicated, balance.unannounced, self.refused
        );
        let Latency { p50_ms, p95_ms, p99_ms, max_ms } = &balance.latency;
        let _ = writeln!(text, "latency ms   p50 {p50_ms:.2}  p95 {p95_ms:.2}  p99 {p99_ms:.2}  max {max_ms:.2}");
        if let Some(Undisturbed { deliveries, latency: Latency { p50_ms, p95_ms, p99_ms, max_ms } }) =
            &balance.undisturbed
        {
            let _ = writeln!(
                text,
                "  undisturbed p50 {p50_ms:.2}  p95 {p95_ms:.2}  p99 {p99_ms:.2}  max {max_ms:.2} ({deliveries} deliveries)"
            );
        }
        if let Some(ratio) = self.p99_ratio {
            let _ = writeln!(text, "p99 is {ratio:.2} times that of the row above");
        }
        if let Some(worst) = self.worst_second {
            let _ = writeln!(text, "the worst second had {worst} deliveries");
        }
        if let Some(seconds) = self.recorded_after_seconds {
            let recorded = self.recorded.map(|count| format!(", {count} deliveries on record")).unwrap_or_default();
            let _ = writeln!(text, "recorder's queues empty {seconds:.1} s after the last delivery{recorded}");
        }
        let waiting: Vec<String> =
            self.deepest.iter().filter(|(_, most)| **most > 0).map(|(name, most)| format!("{name} {most}")).collect();
        if !waiting.is_empty() {
            let _ = writeln!(text, "most messages waiting: {}", waiting.join(", "));
        }
        let _ = writeln!(text, "{} connections opened to the sink", self.connections);
        if let Some(MachineShares { busy_percent, stolen_percent }) = self.machine {
            let _ = writeln!(
                text,
                "the machine was {busy_percent:.0}% busy while events were published; its host took another {stolen_percent:.1}%"
            );
        }
        let _ = writeln!(text, "{:<14}{:>12}{:>22}{:>12}", "process", "CPU s", "CPU s/1,000 deliv.", "peak MiB");
        for process in &self.processes {
            let ProcessRow { name, cpu_seconds, cpu_seconds_per_1000, peak_mib } = process;
            let _ = writeln!(text, "{name:<14}{cpu_seconds:>12.2}{cpu_seconds_per_1000:>22.4}{peak_mib:>12.1}");
        }
        let total: f64 = self.processes.iter().map(|process| process.cpu_seconds_per_1000).sum();
        let _ = writeln!(text, "{:<14}{:>12}{total:>22.4}", "together", "");
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }
}

impl Report {
    /// The rows in short, a line each.
    pub(crate) fn summary(&self) -> String {
        let mut text = format!(
            "\n{:<34}{:>10}{:>12}{:>8}{:>9}{:>9}{:>9}{:>6}{:>6}{:>9}\n",
            "workload", "events/s", "deliv./s", "% bare", "p50 ms", "p95 ms", "p99 ms", "lost", "dup.", "CPU ms"
        );
        for row in &self.rows {
            let balance = &row.balance;
            let share = row.percent_of_bare.map_or(String::from("-"), |share| format!("{share:.0}"));
            let cpu: f64 = row.processes.iter().map(|process| process.cpu_seconds_per_1000).sum();
            let _ = writeln!(
                text,
                "{:<34}{:>10.0}{:>12.0}{share:>8}{:>9.2}{:>9.2}{:>9.2}{:>6}{:>6}{cpu:>9.3}",
                row.workload,
                balance.accepted_per_second,
                balance.deliveries_per_second,
                balance.latency.p50_ms,
                balance.latency.p95_ms,
                balance.latency.p99_ms,
                balance.lost,
                balance.duplicated,
            );
        }
        for pairs in &self.isolation {
            let _ = writeln!(text, "{}", pairs.text());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(ratios: &[f64]) -> String {
        Pairs { ratios: ratios.to_vec(), ..Pairs::new("a neighbour", 1.5, 2) }.text()
    }

    #[test]
    fn a_single_bad_pair_does_not_decide_and_two_do() {
        assert!(pairs(&[0.9, 4.0, 1.1]).ends_with("ratios 0.90, 4.00, 1.10: median 1.10, within 1.5"));
        assert!(pairs(&[0.9, 4.0, 1.6]).ends_with("median 1.60, BEYOND 1.5"));
        assert!(pairs(&[1.0, 1.5]).ends_with("median 1.25, within 1.5"));
    }

    #[test]
    fn too_few_pairs_are_no_verdict() {
        assert!(pairs(&[1.0]).ends_with("median 1.00, too few pairs for a verdict on 1.5"));
        assert!(pairs(&[]).ends_with("too few pairs for a verdict on 1.5"));
    }
}
