//! Reports of processes, and the last audit.

use std::collections::BTreeMap;

use postrider_model::time::UnixMillis;
use postrider_store::services::ServiceReport;

use crate::support::Fixture;

fn report(instance: &str, name: &str) -> ServiceReport {
    ServiceReport {
        instance: instance.into(),
        name: name.into(),
        version: "1.2.3".into(),
        started_at: UnixMillis(1_800_000_000_000),
        members_per_message: BTreeMap::from([("postrider.fanout".to_owned(), 3.5)]),
        bytes_per_message: BTreeMap::from([("postrider.fanout".to_owned(), 2_048.5)]),
    }
}

#[tokio::test]
async fn a_process_has_one_row_until_it_stops_or_is_not_heard_of_for_a_day() {
    let fixture = Fixture::new("services").await;
    let store = &fixture.store;
    for instance in ["b", "a", "b"] {
        store.services().report(&report(instance, "fanout")).await.unwrap();
    }
    let seen = store.services().list().await.unwrap();
    assert_eq!(
        seen.iter().map(|seen| seen.report.clone()).collect::<Vec<_>>(),
        [report("a", "fanout"), report("b", "fanout")]
    );
    assert!(seen[0].seen_at.until(UnixMillis::now()).as_secs() < 60);

    let client = fixture.sql().await;
    client
        .execute("UPDATE services SET seen_at = now() - interval '25 hours' WHERE instance = 'a'", &[])
        .await
        .unwrap();
    assert_eq!(store.services().list().await.unwrap().len(), 1);
    store.services().report(&report("b", "fanout")).await.unwrap();
    let rows: i64 = client.query_one("SELECT count(*) FROM services", &[]).await.unwrap().get(0);
    assert_eq!(rows, 1);
    store.services().stopped("b").await.unwrap();
    assert_eq!(store.services().list().await.unwrap(), []);
}

#[tokio::test]
async fn the_last_audit_is_the_newest_of_them_and_none_where_none_has_run() {
    let fixture = Fixture::new("audits").await;
    assert_eq!(fixture.store.history().last_audit().await.unwrap(), None);
    let client = fixture.sql().await;
    client
        .batch_execute(
            "INSERT INTO audits (id, ran_at, conserved, report) VALUES
                (gen_random_uuid(), '2026-01-02T00:00:00Z', false, '{\"gaps\": 1}'),
                (gen_random_uuid(), '2026-01-01T00:00:00Z', true, '{}')",
        )
        .await
        .unwrap();
    let last = fixture.store.history().last_audit().await.unwrap().unwrap();
    assert_eq!((last.conserved, last.report), (false, serde_json::json!({"gaps": 1})));
}
