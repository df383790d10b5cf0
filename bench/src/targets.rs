//! The targets of the benchmark, and whether a run meets them.
//!
//! All targets are constants in this file. Percentages and ratios compare rows of the same run. If a figure was measured
//! several times, its median is compared with the target.

use std::fmt::Write as _;

use serde::Serialize;

use crate::everyday::{AFTER_BURST, BARE_BUSY, BARE_SLOW, BATCHES, BUSY, IDLE, ONE, SLOW, TEN};
use crate::isolation::CAPACITY;
use crate::ledger::Latency;
use crate::log::PageRow;
use crate::ordered::{KEYS, ONE_KEY};
use crate::processes::Kind;
use crate::report::{Report, Row};

/// Maximum p99 of a healthy endpoint with a bad neighbour, as a multiple of its p99 without this neighbour.
const ISOLATION: Bound = Bound { more_is_better: false, bound: 1.5, aim: None };

/// Maximum time, in milliseconds, and maximum size, in kilobytes, of a page of the dashboard.
const PAGE_MS: Bound = Bound { more_is_better: false, bound: 100.0, aim: None };
const PAGE_KB: Bound = Bound { more_is_better: false, bound: 300.0, aim: None };

/// The target of counts that must be 0 in all rows of all runs together.
const NONE: Bound = Bound { more_is_better: false, bound: 0.0, aim: None };

/// The figures of the everyday and of the ordered workloads, in the order of the output. Figures for information have no target. Every other
/// figure has a bound, which it must not exceed or fall below, and may have an aim.
const FIGURES: [Figure; 24] = [
    at_least("one endpoint, % of the bare path", 45.0, 60.0, |run| run.share(ONE)),
    at_least("ten endpoints, % of the bare path", 100.0, 130.0, |run| run.share(TEN)),
    at_least("batches of 100, % of the bare path", 80.0, 120.0, |run| run.share(BATCHES)),
    at_most("ten endpoints, services' CPU us per delivery", 45.0, Some(32.0), |run| run.services_us_per_delivery(TEN)),
    at_most("100/s, CPU ms per event", 2.0, Some(1.0), |run| run.cpu(SLOW)),
    information("  of it services", |run| run.cpu_of(SLOW, Kind::Service)),
    information("  of it broker", |run| run.cpu_of(SLOW, Kind::Broker)),
    information("  of it PostgreSQL", |run| run.cpu_of(SLOW, Kind::Database)),
    at_most("100/s, p50 / bare path's p50", 1.2, None, |run| run.times(SLOW, BARE_SLOW, |latency| latency.p50_ms)),
    at_most("100/s, p99 / bare path's p99", 1.5, None, |run| run.times(SLOW, BARE_SLOW, |latency| latency.p99_ms)),
    at_most("1000/s, CPU ms per event", 0.7, Some(0.4), |run| run.cpu(BUSY)),
    information("  of it services", |run| run.cpu_of(BUSY, Kind::Service)),
    information("  of it broker", |run| run.cpu_of(BUSY, Kind::Broker)),
    information("  of it PostgreSQL", |run| run.cpu_of(BUSY, Kind::Database)),
    at_most("1000/s, p50 / bare path's p50", 2.5, Some(2.0), |run| {
        run.times(BUSY, BARE_BUSY, |latency| latency.p50_ms)
    }),
    at_most("1000/s, p99 / bare path's p99", 2.5, Some(2.0), |run| {
        run.times(BUSY, BARE_BUSY, |latency| latency.p99_ms)
    }),
    information("1000/s after a small tenant, p50 ms", |run| run.latency(AFTER_BURST, |latency| latency.p50_ms)),
    information("  p95 ms", |run| run.latency(AFTER_BURST, |latency| latency.p95_ms)),
    information("  longest ms", |run| run.latency(AFTER_BURST, |latency| latency.max_ms)),
    information("  p99 ms", |run| run.latency(AFTER_BURST, |latency| latency.p99_ms)),
    at_most("  p99 / p99 without the small tenant", 1.5, None, |run| {
        run.times(AFTER_BURST, BUSY, |latency| latency.p99_ms)
    }),
    at_most("idle, services' CPU % of a processor", 1.0, None, |run| run.idle_percent()),
    at_least("one ordered key, answers after 5 ms, deliveries/s", 100.0, 120.0, |run| run.rate(ONE_KEY)),
    at_least("10,000 ordered keys, % of one endpoint without order", 50.0, 75.0, |run| {
        Some(run.rate(KEYS)? * 100.0 / run.rate(ONE).or_else(|| run.rate(CAPACITY))?)
    }),
];

type Value = fn(&Run<'_>) -> Option<f64>;

/// A figure that is measured once in each run.
struct Figure {
    name: &'static str,
    bound: Option<Bound>,
    value: Value,
}

/// The bound that a figure must meet, and the aim that it should reach.
#[derive(Debug, Clone, Copy, Serialize)]
struct Bound {
    more_is_better: bool,
    bound: f64,
    aim: Option<f64>,
}

const fn at_least(name: &'static str, bound: f64, aim: f64, value: Value) -> Figure {
    Figure { name, bound: Some(Bound { more_is_better: true, bound, aim: Some(aim) }), value }
}

const fn at_most(name: &'static str, bound: f64, aim: Option<f64>, value: Value) -> Figure {
    Figure { name, bound: Some(Bound { more_is_better: false, bound, aim }), value }
}

const fn information(name: &'static str, value: Value) -> Figure {
    Figure { name, bound: None, value }
}

impl Bound {
    fn verdict(self, value: f64) -> &'static str {
        let kept = |bound| if self.more_is_better { value >= bound } else { value <= bound };
        match self.aim {
            _ if !kept(self.bound) => "MISSED",
            Some(aim) if kept(aim) => "met, and the aim",
            _ => "met",
        }
    }
}

/// A figure with its measured values and its verdict.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    figure: String,
    /// The measured values, one for each run or pair.
    measured: Vec<f64>,
    median: f64,
    target: Option<Bound>,
    verdict: &'static str,
}

impl Verdict {
    fn of(figure: &str, measured: Vec<f64>, target: Option<Bound>) -> Self {
        let median = median(&measured);
        let verdict = target.map_or("", |target| target.verdict(median));
        Self { figure: figure.to_owned(), measured, median, target, verdict }
    }
}

/// The rows of one run.
struct Run<'a> {
    report: &'a Report,
    number: usize,
}

impl<'a> Run<'a> {
    fn row(&self, name: &str) -> Option<&'a Row> {
        self.report.rows.iter().find(|row| row.run == self.number && row.workload == name)
    }

    fn share(&self, name: &str) -> Option<f64> {
        self.row(name)?.percent_of_bare
    }

    /// Returns the deliveries per second.
    fn rate(&self, name: &str) -> Option<f64> {
        self.row(name).map(|row| row.balance.deliveries_per_second)
    }

    /// Returns the CPU of services, broker and database in milliseconds per event.
    fn cpu(&self, name: &str) -> Option<f64> {
        let kinds = [Kind::Service, Kind::Broker, Kind::Database];
        kinds.into_iter().map(|kind| self.cpu_of(name, kind)).sum()
    }

    /// Returns the CPU of one kind of process in milliseconds per event. Returns `None` if the process was not found.
    fn cpu_of(&self, name: &str, kind: Kind) -> Option<f64> {
        let row = self.row(name)?;
        Some(row.cpu_seconds(kind)? * 1_000.0 / row.balance.accepted as f64)
    }

    fn services_us_per_delivery(&self, name: &str) -> Option<f64> {
        let row = self.row(name)?;
        Some(row.cpu_seconds(Kind::Service)? * 1e6 / row.balance.deliveries as f64)
    }

    fn latency(&self, name: &str, of: fn(&Latency) -> f64) -> Option<f64> {
        self.row(name).map(|row| of(&row.balance.latency))
    }

    /// Returns a percentile of the row `name` as a multiple of the same percentile of the row `reference`.
    fn times(&self, name: &str, reference: &str, of: fn(&Latency) -> f64) -> Option<f64> {
        Some(self.latency(name, of)? / self.latency(reference, of)?)
    }

    fn idle_percent(&self) -> Option<f64> {
        let row = self.row(IDLE)?;
        Some(row.cpu_seconds(Kind::Service)? * 100.0 / row.idle_seconds?)
    }
}

/// Returns the verdicts on all figures that were measured.
pub(crate) fn verdicts(report: &Report) -> Vec<Verdict> {
    let runs: Vec<Run<'_>> = (1..=report.runs).map(|number| Run { report, number }).collect();
    let everyday = FIGURES
        .iter()
        .map(|Figure { name, bound, value }| Verdict::of(name, runs.iter().filter_map(value).collect(), *bound));
    let isolation = report.isolation.iter().map(|pairs| {
        Verdict::of(
            &format!("beside {}, p99 / p99 {}", pairs.neighbour, pairs.reference),
            pairs.ratios(),
            Some(ISOLATION),
        )
    });
    let alone = report.isolation.iter().map(|pairs| {
        let (name, alone) =
            (format!("a quiet tenant {}, p99 / p99 alone", pairs.reference), median(&pairs.p99_alone_ms));
        let ratios = pairs.p99_reference_ms.iter().filter(|_| alone > 0.0).map(|ms| ms / alone);
        Verdict::of(&name, ratios.collect(), None)
    });
    let worst = |of: fn(&PageRow) -> f64| report.pages.iter().map(of).reduce(f64::max);
    let pages = [
        ("the slowest page of the dashboard, median ms", worst(|page| page.time.p50_ms), PAGE_MS),
        ("the largest page of the dashboard, KB", worst(|page| page.kilobytes), PAGE_KB),
    ];
    let pages = pages.map(|(name, worst, bound)| Verdict::of(name, worst.into_iter().collect(), Some(bound)));
    let total = |of: fn(&Row) -> u64| report.rows.iter().map(of).sum::<u64>() as f64;
    let faults = [
        ("deliveries lost, all rows", total(|row| row.balance.lost)),
        ("deliveries duplicated, all rows", total(|row| row.balance.duplicated)),
        ("events refused at a fixed rate", total(|row| if row.fixed_rate { row.refused } else { 0 })),
    ];
    let faults = faults.map(|(name, total)| Verdict::of(name, vec![total], Some(NONE)));
    everyday
        .chain(isolation)
        .chain(alone)
        .chain(pages)
        .chain(faults)
        .filter(|verdict| !verdict.measured.is_empty())
        .collect()
}

/// Returns the verdicts as a table.
pub(crate) fn text(verdicts: &[Verdict]) -> String {
    let mut text = format!("\n{:<68}{:>9}  {:<9}{:<8}{:<18}measured\n", "figure", "median", "bound", "aim", "verdict");
    for Verdict { figure, measured, median, target, verdict } in verdicts {
        let measured = measured.iter().map(|value| format!("{value:.3}")).collect::<Vec<_>>().join(", ");
        let (mut bound, mut aim) = (String::new(), String::new());
        if let Some(target) = target {
            bound = format!("{} {}", if target.more_is_better { ">=" } else { "<=" }, target.bound);
            aim = target.aim.map(|aim| aim.to_string()).unwrap_or_default();
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{figure:<68}{median:>9.3}  {bound:<9}{aim:<8}{verdict:<18}{measured}");
    }
    text
}

/// Returns the middle value, or the mean of the two middle values. Returns 0 if there are no values.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_decides_and_not_a_single_run() {
        let verdict = |measured: &[f64]| Verdict::of("a figure", measured.to_vec(), Some(ISOLATION)).verdict;
        assert_eq!(verdict(&[0.9, 4.0, 1.1]), "met");
        assert_eq!(verdict(&[0.9, 4.0, 1.6]), "MISSED");
        assert_eq!(verdict(&[1.0, 2.0]), "met");
    }

    #[test]
    fn the_aim_is_stricter_than_the_bound() {
        let share = Bound { more_is_better: true, bound: 45.0, aim: Some(60.0) };
        assert_eq!([44.9, 45.0, 60.0].map(|value| share.verdict(value)), ["MISSED", "met", "met, and the aim"]);
        let cost = Bound { more_is_better: false, bound: 2.0, aim: Some(1.0) };
        assert_eq!([2.1, 2.0, 1.0].map(|value| cost.verdict(value)), ["MISSED", "met", "met, and the aim"]);
    }
}
