//! PostgreSQL or the recorder is down for minutes, under load.

use std::time::{Duration, Instant};

use postrider_testkit::engines::{PrivatePostgres, Scope};
use tokio::time::sleep;

use crate::harness::{Expected, Load, Run, Urls};

const POSTGRES_AWAY: Duration = Duration::from_secs(180);
const RECORDER_AWAY: Duration = Duration::from_secs(300);
const PATIENCE: Duration = Duration::from_secs(180);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// 50 events a second for longer than the fault.
fn steady(fault: Duration) -> Load {
    let seconds = usize::try_from(fault.as_secs()).unwrap_or(usize::MAX) + 30;
    Load { events: seconds * 50, pause: Duration::from_secs(1) }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_away_for_three_minutes_loses_nothing() {
    let mut postgres = PrivatePostgres::start().await.expect("PostgreSQL starts");
    let scope = Scope::new("away-postgres").await;
    let urls = Urls { amqp: scope.amqp_url.clone(), database: postgres.database_url() };
    let mut run = Run::start(urls, steady(POSTGRES_AWAY)).await;
    let before = run.ledger.posts();
    postgres.stop();
    // The duration of the fault, not a wait for an event.
    sleep(POSTGRES_AWAY).await;
    assert!(run.ledger.posts() > before + 5_000, "deliveries went on without the database");
    postgres.restart().await.expect("PostgreSQL starts again");
    run.reconnect().await;
    run.check("PostgreSQL away for 3 minutes", Expected::Everything).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_away_for_five_minutes_is_behind_and_nothing_is_lost() {
    let scope = Scope::new("away-recorder").await;
    let urls = Urls { amqp: scope.amqp_url.clone(), database: scope.database_url.clone() };
    // With this setting an undecided event counts as lost once an event accepted a minute later is decided. The fault lasts five.
    let settings = vec![("POSTRIDER_RECONCILE_AFTER", "60s".to_owned())];
    let mut run = Run::start_with(urls, steady(RECORDER_AWAY), settings).await;
    run.cluster.kill9("recorder").await;
    sleep(RECORDER_AWAY).await;
    run.cluster.restart("recorder").await;
    let recorded = "SELECT count(*) FROM deliveries WHERE event_id LIKE 'crash-%' AND status = 4";
    let started = Instant::now();
    while run.count(recorded).await < 250 * 75 {
        assert!(started.elapsed() < PATIENCE, "the recorder does not catch up");
        sleep(LOOK_EVERY).await;
    }
    assert_eq!(run.count("SELECT count(*) FROM interventions").await, 0, "something was published again");
    run.check("recorder away for 5 minutes", Expected::Everything).await;
}
