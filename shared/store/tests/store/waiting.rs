//! Numbers of pending deliveries by tenant.

use postrider_model::delivery::DeliveryStatus;
use postrider_model::ids::EndpointId;
use postrider_model::time::UnixMillis;

use crate::support::{Fixture, batch, decision, event, outcome};

#[tokio::test]
async fn pending_deliveries_are_counted_by_tenant() {
    let fixture = Fixture::new("waiting").await;
    let store = &fixture.store;
    let (one, other) = (fixture.tenant().await.id, fixture.tenant().await.id);
    let endpoints: Vec<_> = (0..3).map(|_| EndpointId::generate()).collect();
    let (of_one, of_other) = (event(one, UnixMillis::now()), event(other, UnixMillis::now()));
    let decisions = vec![decision(&of_one, endpoints.clone(), 1), decision(&of_other, endpoints[..2].to_vec(), 1)];
    // One of the deliveries has failed once and waits for its retry.
    let failed = outcome(&of_one, endpoints[0], 1, DeliveryStatus::Pending, Some(500));
    store.record().write(&batch(vec![of_one.clone(), of_other], decisions, vec![failed])).await.unwrap();
    assert_eq!(store.history().waiting(10).await.unwrap(), Default::default(), "before the first count");
    store.record().count_waiting().await.unwrap();
    let waiting = store.history().waiting(10).await.unwrap();
    assert_eq!((waiting.deliveries, waiting.tenants), (5, vec![(one, 3), (other, 2)]));
    assert!(waiting.counted_at.is_some());
    let most = store.history().waiting(1).await.unwrap();
    assert_eq!((most.deliveries, most.tenants), (5, vec![(one, 3)]));

    let ended = [(0, DeliveryStatus::Delivered, 2), (1, DeliveryStatus::Cancelled, 1), (2, DeliveryStatus::Failed, 1)];
    let ended = ended.map(|(at, status, number)| outcome(&of_one, endpoints[at], number, status, Some(200)));
    store.record().write(&batch(vec![], vec![], ended.to_vec())).await.unwrap();
    store.record().count_waiting().await.unwrap();
    assert_eq!(store.history().waiting(10).await.unwrap().tenants, [(other, 2)]);
    store.config().delete_tenant(other, None).await.unwrap();
    store.record().count_waiting().await.unwrap();
    assert_eq!(store.history().waiting(10).await.unwrap(), Default::default());
}
