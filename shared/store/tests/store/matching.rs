//! Changes of all deliveries that match a filter: the count, one edit for several deliveries, and events that were sent again.

use postrider_ledger::manual_retry::retry_deliveries;
use postrider_model::delivery::{DeliveryStatus, Lane};
use postrider_model::filters::DeliveryFilter;
use postrider_model::ids::DeliveryId;
use postrider_model::time::UnixMillis;
use postrider_store::history::PageRequest;
use postrider_store::manual_retry::Retried;

use crate::support::{Fixture, batch, decision, event, new_endpoint, outcome};

#[tokio::test]
async fn several_deliveries_are_counted_retried_and_cancelled_in_one_edit() {
    let fixture = Fixture::new("matching").await;
    let (store, tenant, other) = (&fixture.store, fixture.tenant().await, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap();
    let mut ids = Vec::new();
    for (offset, status) in
        [DeliveryStatus::Pending, DeliveryStatus::Pending, DeliveryStatus::Failed].into_iter().enumerate()
    {
        let event = event(tenant.id, UnixMillis(UnixMillis::now().0 - 10_000 + offset as i64));
        let mut report = outcome(&event, endpoint.id, 1, status, Some(500));
        report.next_attempt_at =
            (status == DeliveryStatus::Pending).then(|| UnixMillis(UnixMillis::now().0 + 3_600_000));
        let decided = decision(&event, vec![endpoint.id], endpoint.version);
        ids.push(report.delivery.id);
        store.record().write(&batch(vec![event], vec![decided], vec![report])).await.unwrap();
    }
    let all = DeliveryFilter::default();
    let counted = store.history().count_deliveries(tenant.id, &all).await.unwrap();
    let number = |status| counted.by_status.get(&status).copied().unwrap_or_default();
    assert_eq!((number(DeliveryStatus::Pending), number(DeliveryStatus::Failed), counted.is_cut), (2, 1, false));
    let failed = DeliveryFilter { status: Some(DeliveryStatus::Failed), ..DeliveryFilter::default() };
    let counted = store.history().count_deliveries(tenant.id, &failed).await.unwrap();
    assert_eq!((counted.by_status.len(), counted.is_cut), (1, false));
    assert!(store.history().count_deliveries(other.id, &all).await.unwrap().by_status.is_empty());

    let page = PageRequest { limit: 10, cursor: None };
    let rows = store.history().list_deliveries(Some(tenant.id), &all, &page).await.unwrap().items;
    assert!(store.history().sent_again(tenant.id, &rows).await.unwrap().is_empty());

    // A tenant cannot retry another's deliveries, and an id that does not exist does not affect the others.
    let missing = DeliveryId::generate();
    let results = retry_deliveries(store, Some(other.id), &ids, Lane::Bulk).await.unwrap();
    assert!(results.iter().all(Result::is_err), "{results:?}");
    let results = retry_deliveries(store, Some(tenant.id), &[ids[0], missing, ids[2]], Lane::Bulk).await.unwrap();
    let [Ok(Retried::Committed(now)), Err(_), Ok(Retried::Committed(new))] = results.as_slice() else {
        panic!("{results:?}")
    };
    assert_eq!((now.task.delivery.id, now.task.epoch, now.task.lane), (ids[0], 1, Lane::Bulk));
    assert_eq!((new.task.delivery.repeats, new.task.number), (Some(ids[2]), 1));
    assert_eq!(fixture.number("SELECT count(*) FROM outbox").await, 2);
    assert_eq!(fixture.number("SELECT count(*) FROM audit_log WHERE action = 'delivery.retried'").await, 2);
    let again = store.history().sent_again(tenant.id, &rows).await.unwrap();
    assert_eq!(again.into_iter().collect::<Vec<_>>(), [ids[2]]);

    assert!(store.cancel_deliveries(Some(other.id), &ids).await.unwrap().is_empty());
    let mut cancelled = store.cancel_deliveries(Some(tenant.id), &ids).await.unwrap();
    cancelled.sort_unstable();
    let mut pending = vec![ids[0], ids[1]];
    pending.sort_unstable();
    assert_eq!(cancelled, pending);
    for id in &ids[..2] {
        let row = store.history().get_delivery(None, *id).await.unwrap().unwrap();
        assert_eq!(row.status, DeliveryStatus::Cancelled);
    }
    assert_eq!(
        fixture.number("SELECT least_epoch::bigint FROM interventions WHERE reason = 1 ORDER BY 1 DESC LIMIT 1").await,
        2
    );
    assert!(store.cancel_deliveries(Some(tenant.id), &ids).await.unwrap().is_empty());
}
