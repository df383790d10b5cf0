//! Checks which settled sequence numbers of ingest processes are missing.
//!
//! One scan of the days counts the numbers by block. Single numbers are read only for blocks whose count is too low.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use postrider_model::time::{Day, UnixMillis};
use postrider_store::StoreError;
use postrider_store::audit::{AuditSnapshot, BLOCK_BITS};
use serde::Serialize;

use super::{Findings, Gap};

/// Maximum number of blocks of which single numbers are read. Missing numbers of further blocks count as excused.
const BLOCKS_MAX: usize = 256;
/// Maximum time from the first sequence number of a process to its first report.
const FIRST_REPORT_AFTER: Duration = Duration::from_secs(10);

/// The sequence numbers of one ingest process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstanceNumbers {
    /// The process, as a random number that it draws at its start.
    pub instance: u64,
    /// The first number examined.
    pub from: u64,
    /// Every number below this number is settled. A higher number was not answered with 202, or its report is on its way.
    pub settled_below: u64,
    /// Number of events on record with these numbers.
    pub recorded: u64,
    /// Numbers that were given up or belong to repeats of an event.
    pub excused: u64,
    /// Settled numbers that are neither recorded nor excused.
    pub missing: u64,
    /// When the process reported last.
    #[serde(serialize_with = "super::rfc3339")]
    pub reported_at: UnixMillis,
}

/// An ingest process, and its numbers on record.
struct Instance {
    /// The first number to examine; `None` for a process that started before these days and has no event on record in them.
    from: Option<u64>,
    below: u64,
    reported_at: UnixMillis,
    /// How many numbers are on record, by block.
    recorded: BTreeMap<u64, u64>,
}

/// Looks for missing numbers in the days from `first` to `last`, both inclusive.
pub(super) async fn examine(
    snapshot: &AuditSnapshot,
    (first, last): (Day, Day),
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let mut instances: BTreeMap<u64, Instance> = BTreeMap::new();
    for report in snapshot.ingest_reports_since(first).await? {
        let started_by = UnixMillis(report.first_at.0 - i64::try_from(FIRST_REPORT_AFTER.as_millis()).unwrap_or(0));
        let instance = Instance {
            from: (started_by.day() >= first).then_some(0),
            below: report.settled_below,
            reported_at: report.reported_at,
            recorded: BTreeMap::new(),
        };
        instances.insert(report.instance, instance);
    }
    let settled: Vec<(u64, u64)> = instances.iter().map(|(id, of)| (*id, of.below)).collect();
    for block in snapshot.count_blocks((first, last), &settled).await? {
        let Some(of) = instances.get_mut(&block.instance) else { continue };
        of.recorded.insert(block.block, block.recorded);
        of.from = Some(of.from.map_or(block.lowest, |from| from.min(block.lowest)));
    }
    // Around midnight a lower number may belong to a later day than a higher number, so one more day is read.
    let gaps = missing_ranges(snapshot, (first.plus_days(-1), last), &instances).await?;
    for (instance, of) in instances {
        let ranges = gaps.get(&instance).map_or(&[][..], Vec::as_slice);
        let from = of.from.unwrap_or(of.below);
        let recorded: u64 = of.recorded.values().sum();
        let missing: u64 = ranges.iter().map(|(first, last)| last - first + 1).sum();
        findings.instances.push(InstanceNumbers {
            instance,
            from,
            settled_below: of.below,
            recorded,
            excused: of.below.saturating_sub(from).saturating_sub(recorded).saturating_sub(missing),
            missing,
            reported_at: of.reported_at,
        });
        let gap = |(first, last): &(u64, u64)| Gap::Numbers { instance, first: *first, last: *last };
        findings.missing.extend(ranges.iter().map(gap));
    }
    Ok(())
}

/// Ranges of missing numbers by process; both ends are inclusive.
type Ranges = BTreeMap<u64, Vec<(u64, u64)>>;

async fn missing_ranges(
    snapshot: &AuditSnapshot,
    days: (Day, Day),
    instances: &BTreeMap<u64, Instance>,
) -> Result<Ranges, StoreError> {
    let mut blocks: BTreeMap<(u64, u64), BTreeSet<u64>> = BTreeMap::new();
    for (instance, of) in instances {
        let Some(from) = of.from else { continue };
        for block in from >> BLOCK_BITS..=of.below.saturating_sub(1) >> BLOCK_BITS {
            let (begin, end) = ((block << BLOCK_BITS).max(from), ((block + 1) << BLOCK_BITS).min(of.below));
            let recorded = of.recorded.get(&block).copied().unwrap_or(0);
            if recorded < end.saturating_sub(begin) && blocks.len() < BLOCKS_MAX {
                blocks.insert((*instance, block), (begin..end).collect());
            }
        }
    }
    if blocks.is_empty() {
        return Ok(Ranges::new());
    }
    let wanted: Vec<(u64, u64)> = blocks.keys().copied().collect();
    for (instance, number) in snapshot.known_numbers(days, &wanted).await? {
        if let Some(left) = blocks.get_mut(&(instance, number >> BLOCK_BITS)) {
            left.remove(&number);
        }
    }
    let mut ranges = Ranges::new();
    for ((instance, _), left) in blocks {
        let of_instance: &mut Vec<(u64, u64)> = ranges.entry(instance).or_default();
        for number in left {
            match of_instance.last_mut() {
                Some((_, last)) if *last + 1 == number => *last = number,
                _ => of_instance.push((number, number)),
            }
        }
    }
    Ok(ranges)
}

/// Returns the gaps that are in both sets. Ranges of numbers are intersected.
pub(super) fn in_both(one: &BTreeSet<Gap>, other: &BTreeSet<Gap>) -> BTreeSet<Gap> {
    let mut both = BTreeSet::new();
    for gap in other {
        let Gap::Numbers { instance, first, last } = gap else {
            both.extend(one.contains(gap).then(|| gap.clone()));
            continue;
        };
        for before in one {
            let Gap::Numbers { instance: same, first: from, last: to } = before else { continue };
            let (first, last) = (*first.max(from), *last.min(to));
            if same == instance && first <= last {
                both.insert(Gap::Numbers { instance: *instance, first, last });
            }
        }
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_missing_from_both_snapshots_are_gaps() {
        let numbers = |instance, first, last| Gap::Numbers { instance, first, last };
        let one = BTreeSet::from([numbers(1, 3, 9), numbers(2, 5, 5)]);
        let other = BTreeSet::from([numbers(1, 1, 4), numbers(1, 8, 12), numbers(2, 6, 6)]);
        assert_eq!(in_both(&one, &other), BTreeSet::from([numbers(1, 3, 4), numbers(1, 8, 9)]));
    }
}
