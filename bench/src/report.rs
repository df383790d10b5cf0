//! The figures of a run: rows as text for people, and all of them as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::console::say;
use crate::ledger::{Balance, Latency};
use crate::matches::Matches;
use crate::processes::Usage;

const MIB: f64 = 1024.0 * 1024.0;

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
    /// Events that were answered with anything but 202.
    pub(crate) refused: u64,
    /// From the last delivery received until the queues were empty, in seconds; absent where deliveries are left on purpose.
    pub(crate) recorded_after_seconds: Option<f64>,
    /// Deliveries that the API counts as succeeded; equal to the deliveries when all is on record.
    pub(crate) recorded: Option<u64>,
    /// How busy all processors were while events were published, in percent.
    pub(crate) machine_busy_percent: f64,
    /// The maximum depth of each internal queue; messages pile up before the slow part.
    pub(crate) deepest: BTreeMap<&'static str, u32>,
    /// By process.
    pub(crate) processes: Vec<ProcessRow>,
    /// Anything that a reader must know about the row.
    pub(crate) notes: Vec<String>,
}

/// Pairs of rows: an endpoint alone, and beside a bad neighbour.
#[derive(Debug, Serialize)]
pub(crate) struct Pairs {
    /// Beside whom.
    pub(crate) neighbour: &'static str,
    /// The bound for the median of the ratios.
    pub(crate) bound: f64,
    /// p99 alone, by pair.
    pub(crate) p99_alone_ms: Vec<f64>,
    /// p99 beside the neighbour, by pair.
    pub(crate) p99_beside_ms: Vec<f64>,
}

/// What a number of subscriptions costs.
#[derive(Debug, Serialize)]
pub(crate) struct Matching {
    /// Active endpoints.
    pub(crate) subscriptions: u32,
    /// From the start of the fan-out's process until it is ready, seconds.
    pub(crate) ready_seconds: f64,
    /// Peak resident memory of the fan-out, MiB.
    pub(crate) peak_mib: f64,
    /// From the answer to an edit until an event that only the edited endpoint wants was received, seconds.
    pub(crate) edit_in_force_seconds: f64,
    /// Matches, one by one.
    pub(crate) matches: Matches,
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
    /// What a process used for `deliveries`.
    pub(crate) fn of(name: &str, used: Usage, deliveries: u64) -> Self {
        Self {
            name: name.to_owned(),
            cpu_seconds: used.cpu_seconds,
            cpu_seconds_per_1000: used.cpu_seconds * 1000.0 / deliveries.max(1) as f64,
            peak_mib: used.peak_bytes as f64 / MIB,
        }
    }
}

impl Pairs {
    /// The pairs in two lines.
    fn text(&self) -> String {
        let ratios: Vec<f64> =
            self.p99_beside_ms.iter().zip(&self.p99_alone_ms).map(|(beside, alone)| beside / alone).collect();
        let list = |values: &[f64]| values.iter().map(|value| format!("{value:.2}")).collect::<Vec<_>>().join(", ");
        let median = median(&ratios);
        let verdict = if median <= self.bound { "within" } else { "BEYOND" };
        format!(
            "{:<22}p99 ms alone {}; beside {}\n{:<22}ratios {}: median {median:.2}, {verdict} {}",
            self.neighbour,
            list(&self.p99_alone_ms),
            list(&self.p99_beside_ms),
            "",
            list(&ratios),
            self.bound,
        )
    }
}

/// The middle value, or the mean of the two in the middle; 0 of none.
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

impl Row {
    fn cpu_ms_a_delivery(&self) -> f64 {
        self.processes.iter().map(|process| process.cpu_seconds_per_1000).sum()
    }

    fn text(&self) -> String {
        let mut lines = vec![format!("\n== {} ==", self.workload)];
        let balance = &self.balance;
        let share = self.percent_of_bare.map(|share| format!("  ({share:.0}% of the bare path)")).unwrap_or_default();
        let (accepted, deliveries) = (balance.accepted, balance.deliveries);
        lines.push(format!("accepted     {accepted:>10}   {:>9.0} events/s", balance.accepted_per_second));
        lines.push(format!(
            "delivered    {deliveries:>10}   {:>9.0} deliveries/s{share}",
            balance.deliveries_per_second
        ));
        let Balance { lost, duplicated, unannounced, .. } = balance;
        lines
            .push(format!("lost {lost}, duplicated {duplicated}, unannounced {unannounced}, refused {}", self.refused));
        let Latency { p50_ms, p95_ms, p99_ms, max_ms } = &balance.latency;
        lines.push(format!("latency ms   p50 {p50_ms:.2}  p95 {p95_ms:.2}  p99 {p99_ms:.2}  max {max_ms:.2}"));
        if let Some(seconds) = self.recorded_after_seconds {
            let recorded = self.recorded.map(|count| format!(", {count} deliveries on record")).unwrap_or_default();
            lines.push(format!("queues empty {seconds:.1} s after the last delivery{recorded}"));
        }
        let deepest = self.deepest.iter().filter(|(_, most)| **most > 0);
        let deepest: Vec<String> = deepest.map(|(name, most)| format!("{name} {most}")).collect();
        if !deepest.is_empty() {
            lines.push(format!("most messages waiting: {}", deepest.join(", ")));
        }
        lines.push(format!("machine {:.0}% busy while events were published", self.machine_busy_percent));
        lines.push(format!("{:<14}{:>12}{:>22}{:>12}", "process", "CPU s", "CPU s/1,000 deliv.", "peak MiB"));
        for process in &self.processes {
            let ProcessRow { name, cpu_seconds, cpu_seconds_per_1000, peak_mib } = process;
            lines.push(format!("{name:<14}{cpu_seconds:>12.2}{cpu_seconds_per_1000:>22.4}{peak_mib:>12.1}"));
        }
        lines.push(format!("{:<14}{:>12}{:>22.4}", "together", "", self.cpu_ms_a_delivery()));
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        lines.join("\n")
    }
}

impl Matching {
    /// The row as text.
    pub(crate) fn text(&self) -> String {
        let Self { subscriptions, ready_seconds, peak_mib, edit_in_force_seconds, matches } = self;
        let Matches { events, p50_us, p99_us, max_us } = matches;
        format!(
            "\n== matching at {subscriptions} subscriptions ==\n\
             fan-out ready after {ready_seconds:.2} s, peak {peak_mib:.0} MiB\n\
             an edit in force after {edit_in_force_seconds:.2} s\n\
             {events} matches us p50 {p50_us:.2}  p99 {p99_us:.2}  max {max_us:.1}"
        )
    }
}

impl Report {
    /// Prints a row and keeps it.
    pub(crate) fn add(&mut self, row: Row) {
        say(&row.text());
        self.rows.push(row);
    }

    /// A line for each row, and the isolation results.
    pub(crate) fn summary(&self) -> String {
        let mut text = format!(
            "\n{:<34}{:>10}{:>12}{:>8}{:>9}{:>9}{:>9}{:>6}{:>6}{:>9}\n",
            "workload", "events/s", "deliv./s", "% bare", "p50 ms", "p95 ms", "p99 ms", "lost", "dup.", "CPU ms"
        );
        for row in &self.rows {
            let Balance { accepted_per_second, deliveries_per_second, lost, duplicated, latency, .. } = &row.balance;
            let share = row.percent_of_bare.map_or(String::from("-"), |share| format!("{share:.0}"));
            let Latency { p50_ms, p95_ms, p99_ms, .. } = latency;
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "{:<34}{accepted_per_second:>10.0}{deliveries_per_second:>12.0}{share:>8}{p50_ms:>9.2}{p95_ms:>9.2}{p99_ms:>9.2}{lost:>6}{duplicated:>6}{:>9.3}",
                row.workload,
                row.cpu_ms_a_delivery(),
            );
        }
        self.isolation.iter().for_each(|pairs| text += &format!("{}\n", pairs.text()));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_bad_pair_does_not_decide_and_two_do() {
        let pairs = |beside: &[f64]| {
            let p99_alone_ms = vec![1.0; beside.len()];
            Pairs { neighbour: "a neighbour", bound: 1.5, p99_alone_ms, p99_beside_ms: beside.to_vec() }.text()
        };
        assert!(pairs(&[0.9, 4.0, 1.1]).ends_with("ratios 0.90, 4.00, 1.10: median 1.10, within 1.5"));
        assert!(pairs(&[0.9, 4.0, 1.6]).ends_with("median 1.60, BEYOND 1.5"));
        assert!(pairs(&[1.0, 1.5]).ends_with("median 1.25, within 1.5"));
    }
}
