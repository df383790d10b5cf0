//! Daily partitions.

use std::time::Duration;

use postrider_model::delivery::DeliveryStatus;
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::time::UnixMillis;
use postrider_store::partitions::{DAYS_AHEAD, Maintained};

use crate::support::{Fixture, LOCK_TIMEOUT, batch, decision, event, outcome};

#[tokio::test]
async fn days_are_made_ahead_and_dropped_by_age() {
    let fixture = Fixture::new("days").await;
    let store = &fixture.store;
    let today = UnixMillis::now().day();
    let expected: Vec<_> = (-1..=DAYS_AHEAD).map(|ahead| today.plus_days(ahead)).collect();
    assert_eq!(store.record().partition_days().await.unwrap(), expected);
    assert_eq!(store.record().create_partitions(today).await.unwrap(), Maintained::Days(vec![]), "nothing is missing");

    let old = event(TenantId::generate(), UnixMillis::now());
    let row = batch(vec![old.clone()], vec![decision(&old, vec![], 1)], vec![]);
    assert_eq!(store.record().write(&row).await.unwrap().events, 1);

    // The following calls run a month later.
    let later = today.plus_days(31);
    let created = (-1..=DAYS_AHEAD).map(|ahead| later.plus_days(ahead)).collect();
    assert_eq!(store.record().create_partitions(later).await.unwrap(), Maintained::Days(created));
    let dropped = store.record().drop_partitions(later, 30, LOCK_TIMEOUT).await.unwrap();
    assert_eq!(dropped, Maintained::Days(vec![today.plus_days(-1), today]));
    assert_eq!(store.record().oldest_partition().await.unwrap(), Some(today.plus_days(1)));
    assert!(store.history().get_event(old.tenant, &old.id).await.unwrap().is_none());
    assert_eq!(
        fixture.number("SELECT count(*) FROM pg_class WHERE relname ~ '_[0-9]{8}$' AND relkind = 'r'").await,
        8 * 4
    );
}

#[tokio::test]
async fn rows_of_a_day_without_partition_are_skipped_and_counted() {
    let fixture = Fixture::new("missing").await;
    let (store, endpoint) = (&fixture.store, EndpointId::generate());
    let now = UnixMillis::now();
    let (here, gone) =
        (event(TenantId::generate(), now), event(TenantId::generate(), UnixMillis(now.0 - 40 * 86_400_000)));
    let message = batch(
        vec![here.clone(), gone.clone()],
        vec![decision(&gone, vec![endpoint], 1)],
        vec![
            outcome(&here, endpoint, 1, DeliveryStatus::Delivered, Some(200)),
            outcome(&gone, endpoint, 1, DeliveryStatus::Failed, None),
        ],
    );
    let written = store.record().write(&message).await.unwrap();
    assert_eq!((written.events, written.attempts, written.skipped), (1, 1, 3));
}

#[tokio::test]
async fn a_day_that_somebody_else_drops_or_makes_is_noticed() {
    let fixture = Fixture::new("moving").await;
    let store = &fixture.store;
    let now = UnixMillis::now();
    let row = |at| batch(vec![event(TenantId::generate(), at)], vec![], vec![]);
    assert_eq!(store.record().write(&row(now)).await.unwrap().events, 1);
    // Another connection detaches the partition, but the cache of this store still contains the day.
    let sql = fixture.sql().await;
    let name = now.day().date().strftime("%Y%m%d");
    sql.batch_execute(&format!("ALTER TABLE events DETACH PARTITION events_{name} CONCURRENTLY")).await.unwrap();
    let written = store.record().write(&row(now)).await.unwrap();
    assert_eq!((written.events, written.skipped), (0, 1));
    // The detached table still exists, so creating the partition attaches it again.
    assert_eq!(store.record().create_partitions(now.day()).await.unwrap(), Maintained::Days(vec![now.day()]));
    assert_eq!(store.record().write(&row(now)).await.unwrap().events, 1);
    assert_eq!(fixture.number("SELECT count(*) FROM events").await, 2, "and nothing in it was lost");
}

#[tokio::test]
async fn one_process_at_a_time_makes_partitions() {
    let fixture = Fixture::new("onlyone").await;
    let today = UnixMillis::now().day();
    let rounds =
        futures::future::join_all((0..4).map(|ahead| fixture.store.record().create_partitions(today.plus_days(ahead))))
            .await;
    assert!(rounds.iter().all(Result::is_ok), "{rounds:?}");
    assert!(rounds.iter().any(|round| *round.as_ref().unwrap() != Maintained::Busy));
}

#[tokio::test]
async fn a_long_reader_delays_dropping_and_nothing_else() {
    let fixture = Fixture::new("reader").await;
    let store = &fixture.store;
    let today = UnixMillis::now().day();
    let reader = fixture.sql().await;
    reader.batch_execute("SET application_name = 'pg_dump'; BEGIN; SELECT count(*) FROM events").await.unwrap();

    let later = today.plus_days(31);
    let short = Duration::from_millis(200);
    for round in ["detaching", "finishing what was detached"] {
        let error = store.record().drop_partitions(later, 30, short).await.unwrap_err();
        assert!(error.is_lock_timeout(), "{round}: {error}");
    }
    let oldest = store.record().oldest_transaction().await.unwrap().unwrap();
    assert_eq!(oldest.application, "pg_dump");
    assert_eq!(store.record().oldest_partition().await.unwrap(), Some(today.plus_days(-1)));
    // While a reader blocks dropping, partitions are still created and rows are still written.
    let created = (-1..=DAYS_AHEAD).map(|ahead| later.plus_days(ahead)).collect();
    assert_eq!(store.record().create_partitions(later).await.unwrap(), Maintained::Days(created));
    let row = batch(vec![event(TenantId::generate(), later.start())], vec![], vec![]);
    assert_eq!(store.record().write(&row).await.unwrap().events, 1);

    reader.batch_execute("COMMIT").await.unwrap();
    let dropped = store.record().drop_partitions(later, 30, LOCK_TIMEOUT).await.unwrap();
    assert_eq!(dropped, Maintained::Days(vec![today.plus_days(-1), today]));
}
