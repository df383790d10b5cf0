//! Counts by tenant and by day equal the sums of the counts by endpoint and hour.

use std::collections::HashMap;

use futures::future::join_all;
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::stats::IntervalLength;
use postrider_model::time::UnixMillis;
use postrider_store::failures::{CauseCounts, FailureCause};
use postrider_store::stats::StatsOf;
use postrider_testkit::rollups::replace_rollups;

use crate::stats::{HOUR, MINUTE, attempted, noon};
use crate::support::{Fixture, batch, new_endpoint};

const ROLLUPS: [&str; 4] = ["tenant_hours", "endpoint_days", "tenant_failures", "endpoint_failure_days"];

/// The rows of each table with sums, sorted, as text.
async fn rollups(fixture: &Fixture) -> Vec<Vec<String>> {
    let sql = fixture.sql().await;
    let mut tables = Vec::new();
    for table in ROLLUPS {
        let rows = sql.query(&format!("SELECT t::text FROM {table} t ORDER BY 1"), &[]).await.unwrap();
        tables.push(rows.iter().map(|row| row.get(0)).collect());
    }
    tables
}

async fn endpoints(fixture: &Fixture, tenant: TenantId) -> Vec<EndpointId> {
    let mut made = Vec::new();
    for number in 0..4 {
        let endpoint = new_endpoint(&format!("number {number}"));
        made.push(fixture.store.config().create_endpoint(tenant, &endpoint).await.unwrap().id);
    }
    made
}

/// Records attempts of these endpoints in every hour from three days before [`noon`] to eleven hours after it, in concurrent batches,
/// each of which is written twice.
async fn fill(fixture: &Fixture, endpoints: &[EndpointId]) {
    fixture.store.record().create_partitions(UnixMillis::now().day().plus_days(-4)).await.unwrap();
    let about = |hour: i64| {
        let one = |(number, endpoint): (usize, &EndpointId)| {
            let at = UnixMillis(noon().0 + hour * HOUR + (hour + 80) % 60 * MINUTE);
            // Every third batch has no failure.
            let code = match hour % 3 {
                0 => Some(200),
                _ => [Some(200), Some(503), None, Some(404)][(number + hour.unsigned_abs() as usize / 7) % 4],
            };
            attempted(*endpoint, at, 100, 1_000 << number, code)
        };
        batch(vec![], vec![], endpoints.iter().enumerate().map(one).collect())
    };
    let batches: Vec<_> = (-72..12).map(about).collect();
    let written = batches.iter().chain(batches.iter().rev()).map(|batch| async {
        while let Err(error) = fixture.store.record().write(batch).await {
            assert!(error.is_retryable(), "{error}");
        }
    });
    join_all(written).await;
}

#[tokio::test]
async fn counts_by_tenant_and_day_are_the_sums_of_hours_after_concurrent_duplicates() {
    let fixture = Fixture::new("rollups").await;
    let mut all = Vec::new();
    for tenant in [fixture.tenant().await.id, fixture.tenant().await.id] {
        all.extend(endpoints(&fixture, tenant).await);
    }
    fill(&fixture, &all).await;
    let counted = rollups(&fixture).await;
    assert_eq!(counted.iter().map(Vec::len).collect::<Vec<_>>()[..2], [2 * 84, 8 * 4]);
    fixture.sql().await.batch_execute(&replace_rollups()).await.unwrap();
    assert_eq!(counted, rollups(&fixture).await, "what the recorder counted, and what the migration adds up");
}

#[tokio::test]
async fn a_range_of_several_days_has_exactly_the_hours_in_it() {
    let fixture = Fixture::new("ranges").await;
    let tenant = fixture.tenant().await.id;
    let made = endpoints(&fixture, tenant).await;
    fill(&fixture, &made).await;
    let history = fixture.store.history();
    let at = |hour: i64| UnixMillis(noon().0 + hour * HOUR);
    // Midnight is 12 hours before noon. The ranges begin and end at midnight, in the middle of a day, on the same day, and outside.
    for (from, to) in
        [(-36, 12), (-72, 12), (-30, 5), (-12, 12), (-5, 7), (-13, -11), (-60, -12), (-100, 40), (0, 0), (-12, -12)]
    {
        let range = format!("from {from} to {to} hours");
        let (from, to) = (at(from), at(to));
        let (mut attempts, mut worst) = (0, Vec::new());
        let mut causes = HashMap::<FailureCause, (u64, u64)>::new();
        for endpoint in &made {
            let hours = history.stats(StatsOf::Endpoint(*endpoint), IntervalLength::Hour, from, to).await.unwrap();
            let (successes, failures) =
                hours.iter().fold((0, 0), |sum, (_, hour)| (sum.0 + hour.successes, sum.1 + hour.failures));
            attempts += successes + failures;
            if failures > 0 {
                worst.push((*endpoint, successes, failures));
            }
            for one in history.failure_causes(StatsOf::Endpoint(*endpoint), from, to).await.unwrap() {
                let counted = causes.entry(one.cause).or_default();
                *counted = (counted.0 + one.attempts, counted.1 + 1);
            }
        }
        for by in [IntervalLength::Hour, IntervalLength::Day] {
            let read = history.stats(StatsOf::Tenant(tenant), by, from, to).await.unwrap();
            assert_eq!(read.iter().map(|(_, stats)| stats.attempts()).sum::<u64>(), attempts, "{range} by {by:?}");
        }
        let read = history.worst_endpoints(tenant, IntervalLength::Hour, (from, to), 10).await.unwrap();
        let mut read: Vec<_> = read.iter().map(|one| (one.endpoint, one.successes, one.failures)).collect();
        read.sort_unstable();
        worst.sort_unstable();
        assert_eq!(read, worst, "{range}");
        let counts = |one: &CauseCounts| (one.cause, (one.attempts, one.endpoints));
        let read = history.failure_causes(StatsOf::Tenant(tenant), from, to).await.unwrap();
        assert_eq!(read.iter().map(counts).collect::<HashMap<_, _>>(), causes, "{range}");
        let over_time =
            history.failures_over_time(StatsOf::Tenant(tenant), IntervalLength::Day, (from, to), &[]).await.unwrap();
        let failures: u64 = over_time.iter().map(|one| one.attempts).sum();
        assert_eq!(failures, causes.values().map(|cause| cause.0).sum::<u64>(), "{range}");
    }
}
