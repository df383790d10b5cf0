//! Both sides of the account: what was accepted and when it was sent, what was received and when; and their balance.

use std::collections::HashMap;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use crate::host::Taken;

/// An event that was accepted (202), or a message that was confirmed.
#[derive(Debug, Clone)]
pub(crate) struct Accepted {
    /// The event's id.
    pub(crate) id: String,
    /// Which of the workload's kinds of event it is.
    pub(crate) kind: u16,
    /// When it was sent, or should have been in an open loop; nanoseconds since the epoch.
    pub(crate) sent_ns: u64,
    /// When the answer was read.
    pub(crate) answered_ns: u64,
}

/// A delivery that the sink saw.
#[derive(Debug)]
pub(crate) struct Received<'a> {
    endpoint: u16,
    at_ns: u64,
    id: &'a str,
}

/// Writes what was accepted, a line each.
pub(crate) fn write(path: &Path, accepted: &[Accepted]) -> anyhow::Result<()> {
    let file = std::fs::File::create(path).with_context(|| format!("create {}", path.display()))?;
    let mut file = BufWriter::new(file);
    for Accepted { id, kind, sent_ns, answered_ns } in accepted {
        writeln!(file, "{kind} {sent_ns} {answered_ns} {id}")?;
    }
    Ok(file.flush()?)
}

/// Reads what [`write()`] wrote.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Accepted>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    text.lines()
        .map(|line| {
            let mut words = line.splitn(4, ' ');
            let mut next = || words.next().context("a short ledger line");
            Ok(Accepted {
                kind: next()?.parse()?,
                sent_ns: next()?.parse()?,
                answered_ns: next()?.parse()?,
                id: next()?.to_owned(),
            })
        })
        .collect()
}

/// Parses the sink's ledger.
pub(crate) fn parse_received(text: &str) -> anyhow::Result<Vec<Received<'_>>> {
    text.lines()
        .map(|line| {
            let mut words = line.splitn(3, ' ');
            let mut next = || words.next().context("a short ledger line");
            Ok(Received { endpoint: next()?.parse()?, at_ns: next()?.parse()?, id: next()? })
        })
        .collect()
}

/// The outcome of comparing both sides.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Balance {
    /// Events accepted.
    pub(crate) accepted: u64,
    /// Accepted events a second, from the first sent to the last answered.
    pub(crate) accepted_per_second: f64,
    /// Different deliveries received.
    pub(crate) deliveries: u64,
    /// Deliveries a second, from the first received to the last.
    pub(crate) deliveries_per_second: f64,
    /// Deliveries that should have come and did not.
    pub(crate) lost: u64,
    /// Deliveries that came again.
    pub(crate) duplicated: u64,
    /// Deliveries of events that nobody was told were accepted (a 503 means "unknown").
    pub(crate) unannounced: u64,
    /// From sent (in an open loop: from when it should have been) to received.
    pub(crate) latency: Latency,
    /// Of the deliveries of events about whose time the machine's host took nothing from it, where that was watched.
    pub(crate) undisturbed: Option<Undisturbed>,
}

/// Deliveries that the machine's host did not delay.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Undisturbed {
    /// How many.
    pub(crate) deliveries: u64,
    /// Their latency.
    pub(crate) latency: Latency,
}

/// Percentiles in milliseconds.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Latency {
    /// The median.
    pub(crate) p50_ms: f64,
    /// 95 of 100 are at most this.
    pub(crate) p95_ms: f64,
    /// 99 of 100 are at most this.
    pub(crate) p99_ms: f64,
    /// The longest.
    pub(crate) max_ms: f64,
}

impl Latency {
    /// Exact percentiles of `samples` (nanoseconds), which it sorts.
    pub(crate) fn of(samples: &mut [u64]) -> Self {
        samples.sort_unstable();
        let at = |share: f64| {
            let rank = (samples.len() as f64 * share).ceil() as usize;
            samples.get(rank.saturating_sub(1)).map_or(0.0, |nanos| *nanos as f64 / 1e6)
        };
        Self { p50_ms: at(0.50), p95_ms: at(0.95), p99_ms: at(0.99), max_ms: at(1.0) }
    }
}

/// How deliveries are spread over time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Arrivals {
    /// All of them.
    pub(crate) count: u64,
    /// From the first to the last; `None` for fewer than two.
    pub(crate) per_second: Option<f64>,
    /// The most of them within any second.
    pub(crate) worst_second: u64,
}

/// Looks at when deliveries arrived.
pub(crate) fn arrivals(received: &[Received<'_>]) -> Arrivals {
    let mut at: Vec<u64> = received.iter().map(|delivery| delivery.at_ns).collect();
    at.sort_unstable();
    let mut first = 0;
    let mut worst_second = 0;
    for (last, end) in at.iter().enumerate() {
        while end - at[first] >= 1_000_000_000 {
            first += 1;
        }
        worst_second = worst_second.max((last - first + 1) as u64);
    }
    let seconds = at.first().zip(at.last()).map_or(0.0, |(first, last)| (last - first) as f64 / 1e9);
    let per_second = (seconds > 0.0).then(|| (at.len() - 1) as f64 / seconds);
    Arrivals { count: at.len() as u64, per_second, worst_second }
}

/// How late deliveries came that came twice: refused at first, and again when they were due.
#[derive(Debug, Default)]
pub(crate) struct Retried {
    /// Those that came again.
    pub(crate) count: u64,
    /// Those of them that came before they were due.
    pub(crate) early: u64,
    /// Arrivals beyond the second.
    pub(crate) duplicated: u64,
    /// Of those that came again, a second, from the first to the last.
    pub(crate) per_second: f64,
    /// How long after they were due.
    pub(crate) lateness: Latency,
}

/// Looks at second arrivals. `due_ns` tells from the first arrival when the second is due.
pub(crate) fn retried(received: &[Received<'_>], due_ns: impl Fn(u64) -> u64) -> Retried {
    let mut seen: HashMap<&str, (u64, bool)> = HashMap::with_capacity(received.len() / 2);
    let mut again = Vec::with_capacity(received.len() / 2);
    let (mut early, mut duplicated, mut late) = (0, 0, Vec::new());
    for Received { at_ns, id, .. } in received {
        match seen.get_mut(id) {
            None => drop(seen.insert(id, (*at_ns, false))),
            Some((_, true)) => duplicated += 1,
            Some((first, came_again)) => {
                *came_again = true;
                let due = due_ns(*first);
                early += u64::from(*at_ns < due);
                late.push(at_ns.saturating_sub(due));
                again.push(*at_ns);
            }
        }
    }
    let per_second = per_second(again.len(), again.iter().min().copied(), again.iter().max().copied());
    Retried { count: again.len() as u64, early, duplicated, per_second, lateness: Latency::of(&mut late) }
}

/// Compares what was accepted with what was received. `routes[kind]` are the endpoints that an event of that kind
/// must reach; a kind without endpoints is not looked at (the black hole's). `taken` is what the host took meanwhile, where that
/// was watched.
pub(crate) fn balance(
    accepted: &[Accepted],
    received: &[Received<'_>],
    routes: &[Vec<u16>],
    taken: Option<&Taken>,
) -> Balance {
    let mut balance = Balance { accepted: accepted.len() as u64, ..Balance::default() };
    let by_id: HashMap<&str, &Accepted> = accepted.iter().map(|event| (event.id.as_str(), event)).collect();
    let mut first: HashMap<(&str, u16), u64> = HashMap::with_capacity(received.len());
    for Received { endpoint, at_ns, id } in received {
        if !by_id.contains_key(id) {
            balance.unannounced += 1;
            continue;
        }
        let seen = first.entry((id, *endpoint)).or_insert(0);
        if *seen != 0 {
            balance.duplicated += 1;
        }
        *seen = if *seen == 0 { *at_ns } else { (*seen).min(*at_ns) };
    }
    let mut latencies = Vec::with_capacity(first.len());
    let mut undisturbed = Vec::new();
    for event in accepted {
        let nothing_taken = taken.is_some_and(|taken| taken.nothing_about(event.sent_ns));
        for endpoint in routes.get(usize::from(event.kind)).into_iter().flatten() {
            let Some(at_ns) = first.get(&(event.id.as_str(), *endpoint)) else {
                balance.lost += 1;
                continue;
            };
            let latency = at_ns.saturating_sub(event.sent_ns);
            latencies.push(latency);
            undisturbed.extend(nothing_taken.then_some(latency));
        }
    }
    balance.deliveries = latencies.len() as u64;
    balance.undisturbed = taken
        .is_some()
        .then(|| Undisturbed { deliveries: undisturbed.len() as u64, latency: Latency::of(&mut undisturbed) });
    balance.latency = Latency::of(&mut latencies);
    balance.accepted_per_second = per_second(
        accepted.len(),
        accepted.iter().map(|event| event.sent_ns).min(),
        accepted.iter().map(|event| event.answered_ns).max(),
    );
    balance.deliveries_per_second =
        per_second(latencies.len(), first.values().min().copied(), first.values().max().copied());
    balance
}

fn per_second(count: usize, from_ns: Option<u64>, to_ns: Option<u64>) -> f64 {
    match (from_ns, to_ns) {
        (Some(from), Some(to)) if to > from => count as f64 * 1e9 / (to - from) as f64,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(id: &str, kind: u16, sent_ns: u64) -> Accepted {
        Accepted { id: id.to_owned(), kind, sent_ns, answered_ns: sent_ns + 10 }
    }

    #[test]
    fn the_balance_counts_lost_duplicated_and_unannounced() {
        let accepted = [accepted("a", 0, 1_000_000), accepted("b", 0, 2_000_000), accepted("c", 1, 3_000_000)];
        let text = "0 4000000 a\n1 5000000 a\n0 6000000 b\n0 7000000 b\n0 8000000 z\n";
        let received = parse_received(text).expect("a ledger");
        let balance = balance(&accepted, &received, &[vec![0, 1], vec![]], None);
        assert_eq!((balance.deliveries, balance.lost, balance.duplicated, balance.unannounced), (3, 1, 1, 1));
        assert!((balance.latency.p50_ms - 4.0).abs() < 1e-9);
        assert!((balance.latency.max_ms - 4.0).abs() < 1e-9);
    }

    #[test]
    fn the_latency_of_what_is_undisturbed_leaves_out_what_the_host_disturbed() {
        const S: u64 = 1_000_000_000;
        let accepted = [accepted("a", 0, 10 * S), accepted("b", 0, 20 * S), accepted("c", 0, 30 * S)];
        let text = format!("0 {} a\n0 {} b\n0 {} c\n", 10 * S + 4_000_000, 21 * S, 30 * S + 6_000_000);
        let received = parse_received(&text).expect("a ledger");
        let taken = Taken::of(vec![(9 * S, 0.0), (20 * S, 0.0), (20 * S + S / 10, 50.0), (31 * S, 50.0)]);
        let balance = balance(&accepted, &received, &[vec![0]], Some(&taken));
        let undisturbed = balance.undisturbed.expect("it was watched");
        assert_eq!((balance.deliveries, undisturbed.deliveries), (3, 2));
        assert!((balance.latency.max_ms - 1_000.0).abs() < 1e-9 && (undisturbed.latency.max_ms - 6.0).abs() < 1e-9);
    }

    #[test]
    fn the_worst_second_is_any_second_and_not_one_of_the_clocks() {
        let at = |millis: u64| Received { endpoint: 0, at_ns: millis * 1_000_000, id: "a" };
        let received = [0, 900, 1_000, 1_800, 1_899, 3_000].map(at);
        let Arrivals { count, per_second, worst_second } = arrivals(&received);
        assert_eq!((count, worst_second), (6, 4));
        assert!((per_second.unwrap_or_default() - 5.0 / 3.0).abs() < 1e-9);
        assert_eq!(arrivals(&received[..1]).per_second, None);
    }

    #[test]
    fn lateness_counts_from_when_the_second_arrival_was_due() {
        let text = "0 1000000 a\n0 2000000 b\n0 12000000 a\n0 11000000 b\n0 3000000 c\n0 12500000 a\n";
        let received = parse_received(text).expect("a ledger");
        let Retried { count, early, duplicated, per_second, lateness } = retried(&received, |first| first + 10_000_000);
        assert_eq!((count, early, duplicated), (2, 1, 1));
        assert!((per_second - 2_000.0).abs() < 1e-9);
        assert!((lateness.max_ms - 1.0).abs() < 1e-9);
    }

    #[test]
    fn percentiles_are_exact() {
        let mut samples: Vec<u64> = (1..=100).map(|millis| millis * 1_000_000).collect();
        let latency = Latency::of(&mut samples);
        assert_eq!((latency.p50_ms, latency.p95_ms, latency.p99_ms, latency.max_ms), (50.0, 95.0, 99.0, 100.0));
    }
}
