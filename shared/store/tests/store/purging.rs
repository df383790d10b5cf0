//! Deletion by age: endpoint versions that no decision used, entries of the audit log, and URLs of deleted endpoints.

use postrider_model::time::UnixMillis;

use crate::support::{Fixture, new_endpoint};

#[tokio::test]
async fn endpoint_versions_that_no_recorded_event_needs_are_purged() {
    let fixture = Fixture::new("purge").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await.id);
    let kept = store.config().create_endpoint(tenant, &new_endpoint("a")).await.unwrap().id;
    let gone = store.config().create_endpoint(tenant, &new_endpoint("b")).await.unwrap().id;
    let mut versions = Vec::new();
    for name in ["a1", "a2", "a3"] {
        let edit = store.config().edit_endpoint(None, kept, None, |draft| {
            draft.document.name = name.into();
            Ok::<_, ()>(())
        });
        versions.push(edit.await.unwrap().version);
    }
    store.config().delete_endpoint(None, gone, None).await.unwrap();
    let sql = fixture.sql().await;
    let age = |what: &str, of: &str| {
        let statement = format!("UPDATE {what} - interval '30 days' WHERE {of}");
        let sql = &sql;
        async move { sql.execute(&statement, &[]).await.unwrap() }
    };
    age("endpoint_versions SET created_at = created_at", &format!("version < {}", versions[2])).await;
    age("endpoint_versions SET created_at = created_at", "deleted").await;
    age("endpoints SET deleted_at = deleted_at", "deleted_at IS NOT NULL").await;
    age("audit_log SET at = at", "action <> 'endpoint.deleted'").await;
    store.record().drop_partitions(UnixMillis::now().day(), 8, std::time::Duration::from_secs(60)).await.unwrap();

    let left = sql.query("SELECT version FROM endpoint_versions ORDER BY version", &[]).await.unwrap();
    let left: Vec<i64> = left.iter().map(|row| row.get(0)).collect();
    assert_eq!(left, [versions[1], versions[2]], "the newest of before the log begins, and what came after");
    assert!(store.config().endpoint_at(kept, versions[1]).await.unwrap().is_some());
    assert_eq!(fixture.number("SELECT count(*) FROM audit_log").await, 1);
    let urls = "SELECT count(*) FROM endpoints WHERE deleted_at IS NOT NULL AND document::text LIKE '%example.com%'";
    assert_eq!(fixture.number(urls).await, 0);
}
