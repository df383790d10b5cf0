//! The numbers of ingest processes: which of those that are settled no event on record has.
//!
//! Counted in blocks, by one scan of the days; only blocks that lack something are looked into.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use deadpool_postgres::Transaction;
use postrider_model::time::{Day, UnixMillis};
use serde::Serialize;

use super::{Gap, Look};
use crate::error::StoreError;
use crate::sql::{Date, RowExt, Ts, unsigned};

/// Numbers of a block: 2 to the power of this.
const BLOCK_BITS: u32 = 14;
/// Blocks that are looked into; of further ones is only told how many numbers they lack.
const BLOCKS_MAX: usize = 256;
/// The first report comes so long after the first number at most.
const FIRST_REPORT_AFTER: Duration = Duration::from_secs(10);

/// What is known of one ingest process's numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstanceNumbers {
    /// The process: random per start.
    pub instance: u64,
    /// The first number that was looked at.
    pub from: u64,
    /// Every number below this one is settled. Later ones are unconfirmed: nobody was told 202, or the report is on its way.
    pub settled_below: u64,
    /// Events on record under these numbers.
    pub recorded: u64,
    /// Numbers that were given up, or belong to repeats.
    pub excused: u64,
    /// Numbers that are missing.
    pub missing: u64,
    /// When the process reported last.
    #[serde(serialize_with = "super::rfc3339")]
    pub reported_at: UnixMillis,
}

/// A process, and how many of its numbers are on record in each block.
struct Instance {
    from: Option<u64>,
    below: u64,
    reported_at: UnixMillis,
    recorded: BTreeMap<u64, u64>,
}

/// Looks for numbers that are missing.
pub(super) async fn instances(tx: &Transaction<'_>, days: &[Day], look: &mut Look) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (days.first(), days.last()) else { return Ok(()) };
    let sql = "SELECT instance, settled_below, first_at, reported_at FROM ingest_numbers WHERE reported_at >= $1";
    let mut instances: BTreeMap<u64, Instance> = BTreeMap::new();
    for row in tx.query(sql, &[&Ts(first.start())]).await? {
        let began_before =
            UnixMillis(row.at("first_at")?.0 - i64::try_from(FIRST_REPORT_AFTER.as_millis()).unwrap_or(0));
        let instance = Instance {
            // Of one that began before these days, only what is on record of them tells where they begin.
            from: (began_before.day() >= *first).then_some(0),
            below: unsigned(row.col::<i64>("settled_below")?),
            reported_at: row.at("reported_at")?,
            recorded: BTreeMap::new(),
        };
        instances.insert(row.col::<i64>("instance")?.cast_unsigned(), instance);
    }
    count(tx, *first, *last, &mut instances).await?;
    // Around midnight numbers and days are not in the same order.
    let gaps = look_into(tx, first.plus_days(-1), *last, &instances).await?;
    for (instance, of) in instances {
        let missing = gaps.get(&instance).map_or(&[][..], Vec::as_slice);
        let from = of.from.unwrap_or(of.below);
        let recorded: u64 = of.recorded.values().sum();
        let missing_count: u64 = missing.iter().map(|(first, last)| last - first + 1).sum();
        look.instances.push(InstanceNumbers {
            instance,
            from,
            settled_below: of.below,
            recorded,
            excused: of.below.saturating_sub(from).saturating_sub(recorded).saturating_sub(missing_count),
            missing: missing_count,
            reported_at: of.reported_at,
        });
        let gap = |(first, last): &(u64, u64)| Gap::Numbers { instance, first: *first, last: *last };
        look.missing.extend(missing.iter().map(gap));
    }
    Ok(())
}

async fn count(
    tx: &Transaction<'_>,
    first: Day,
    last: Day,
    instances: &mut BTreeMap<u64, Instance>,
) -> Result<(), StoreError> {
    let (ids, below): (Vec<i64>, Vec<i64>) =
        instances.iter().map(|(id, of)| (id.cast_signed(), of.below.cast_signed())).unzip();
    let sql = format!(
        "SELECT e.instance, e.sequence >> {BLOCK_BITS} AS block, count(*) AS n, min(e.sequence) AS least
         FROM events e JOIN unnest($3::bigint[], $4::bigint[]) AS known(instance, below) USING (instance)
         WHERE e.event_day BETWEEN $1 AND $2 AND e.sequence < known.below GROUP BY 1, 2"
    );
    for row in tx.query(&sql, &[&Date(first), &Date(last), &ids, &below]).await? {
        let Some(of) = instances.get_mut(&row.col::<i64>("instance")?.cast_unsigned()) else { continue };
        let least: u64 = unsigned(row.col::<i64>("least")?);
        of.recorded.insert(unsigned(row.col::<i64>("block")?), unsigned(row.col::<i64>("n")?));
        of.from = Some(of.from.map_or(least, |from| from.min(least)));
    }
    Ok(())
}

/// Ranges of missing numbers by process.
type Ranges = BTreeMap<u64, Vec<(u64, u64)>>;

async fn look_into(
    tx: &Transaction<'_>,
    first: Day,
    last: Day,
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
    let (ids, numbers): (Vec<i64>, Vec<i64>) =
        blocks.keys().map(|(instance, block)| (instance.cast_signed(), block.cast_signed())).unzip();
    let known = "unnest($1::bigint[], $2::bigint[]) AS wanted(instance, block)";
    let excused = format!(
        "SELECT x.instance, x.number FROM {known}
         JOIN ingest_numbers_excused x ON x.instance = wanted.instance
             AND x.number BETWEEN wanted.block << {BLOCK_BITS} AND ((wanted.block + 1) << {BLOCK_BITS}) - 1"
    );
    let recorded = format!(
        "SELECT e.instance, e.sequence AS number FROM events e JOIN {known}
             ON e.instance = wanted.instance AND e.sequence >> {BLOCK_BITS} = wanted.block
         WHERE e.event_day BETWEEN $3 AND $4"
    );
    let mut rows = tx.query(&excused, &[&ids, &numbers]).await?;
    rows.extend(tx.query(&recorded, &[&ids, &numbers, &Date(first), &Date(last)]).await?);
    for row in rows {
        let (instance, number) = (row.col::<i64>("instance")?.cast_unsigned(), unsigned(row.col::<i64>("number")?));
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

/// What two looks miss both.
pub(super) fn both(one: &BTreeSet<Gap>, other: &BTreeSet<Gap>) -> BTreeSet<Gap> {
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
    fn of_two_looks_only_what_both_miss_is_a_gap() {
        let numbers = |instance, first, last| Gap::Numbers { instance, first, last };
        let one = BTreeSet::from([numbers(1, 3, 9), numbers(2, 5, 5)]);
        let other = BTreeSet::from([numbers(1, 1, 4), numbers(1, 8, 12), numbers(2, 6, 6)]);
        assert_eq!(both(&one, &other), BTreeSet::from([numbers(1, 3, 4), numbers(1, 8, 9)]));
    }
}
