//! The edited data of test calls.

use std::time::Duration;

use postrider_model::delivery::DeliveryStatus;
use postrider_model::ids::{DeliveryId, EndpointId, EventId, Generation, RetryId, TenantId};
use postrider_model::limits::TEST_DATA_KEPT;
use postrider_model::time::UnixMillis;
use postrider_store::StoreError;
use postrider_store::history::TestData;

use crate::support::{Fixture, batch, event, outcome};

fn delivery(tenant: TenantId) -> DeliveryId {
    let generation = Generation::Test(RetryId::generate());
    DeliveryId::derive(tenant, &EventId::generate(), EndpointId::generate(), &generation)
}

#[tokio::test]
async fn the_data_of_the_newest_test_calls_of_a_tenant_is_kept() {
    let fixture = Fixture::new("testdata").await;
    let (history, tenant, other) = (fixture.store.history(), TenantId::generate(), TenantId::generate());
    let (first, foreign, now) = (delivery(tenant), delivery(other), UnixMillis::now());
    history.keep_test_data(other, foreign, now, "{\"other\":1}").await.unwrap();
    history.keep_test_data(tenant, first, now, "{\"first\":1.50}").await.unwrap();
    assert_eq!(history.test_data(first).await.unwrap(), TestData::Edited("{\"first\":1.50}".into()));
    assert_eq!(history.test_data(delivery(tenant)).await.unwrap(), TestData::Sample);

    for number in 0..TEST_DATA_KEPT {
        let at = UnixMillis(now.0 + 1 + i64::from(number));
        history.keep_test_data(tenant, delivery(tenant), at, "{}").await.unwrap();
    }
    assert_eq!(history.test_data(first).await.unwrap(), TestData::Dropped, "it is known that it was edited");
    assert_eq!(history.test_data(foreign).await.unwrap(), TestData::Edited("{\"other\":1}".into()));
}

#[tokio::test]
async fn the_data_of_a_test_call_expires_with_the_history() {
    let fixture = Fixture::new("testdataold").await;
    let (store, tenant, now) = (&fixture.store, TenantId::generate(), UnixMillis::now());
    let (old, new) = (delivery(tenant), delivery(tenant));
    let before = UnixMillis(now.0 - i64::try_from(Duration::from_secs(9 * 86_400).as_millis()).unwrap());
    store.history().keep_test_data(tenant, old, before, "{}").await.unwrap();
    store.history().keep_test_data(tenant, new, now, "{}").await.unwrap();
    store.record().drop_partitions(now.day(), 8, Duration::from_secs(60)).await.unwrap();
    assert_eq!(fixture.number("SELECT count(*) FROM test_data").await, 1);
    assert_eq!(store.history().test_data(new).await.unwrap(), TestData::Edited("{}".into()));
}

#[tokio::test]
async fn the_data_of_a_test_call_is_expunged_with_its_event_and_its_tenant() {
    let fixture = Fixture::new("testdatagone").await;
    let (store, now) = (&fixture.store, UnixMillis::now());
    let (tenant, other) = (fixture.tenant().await.id, TenantId::generate());
    let tested = event(tenant, now);
    let mut report = outcome(&tested, EndpointId::generate(), 1, DeliveryStatus::Delivered, Some(200));
    report.delivery.generation = Generation::Test(RetryId::generate());
    let (sent, second) = (report.delivery.id, delivery(tenant));
    store.record().write(&batch(vec![], vec![], vec![report])).await.unwrap();
    for (of, id) in [(tenant, sent), (tenant, second), (other, delivery(other))] {
        store.history().keep_test_data(of, id, now, "{\"secret\":1}").await.unwrap();
    }

    let foreign = store.expunge_event(other, &tested.id).await;
    assert!(matches!(foreign, Err(StoreError::NotFound { what: "event" })), "{foreign:?}");
    assert_eq!(store.history().test_data(sent).await.unwrap(), TestData::Edited("{\"secret\":1}".into()));
    store.expunge_event(tenant, &tested.id).await.unwrap();
    assert_eq!(store.history().test_data(sent).await.unwrap(), TestData::Dropped);
    assert_eq!(store.history().test_data(second).await.unwrap(), TestData::Edited("{\"secret\":1}".into()));

    store.config().delete_tenant(tenant, None).await.unwrap();
    assert_eq!(fixture.number("SELECT count(*) FROM test_data").await, 1, "the other tenant's");
}
