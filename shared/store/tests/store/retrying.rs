//! Manual retries: a new generation, or a new epoch; the outbox behind both.

use std::time::Duration;

use postrider_model::delivery::{DeliveryStatus, Lane, Trigger};
use postrider_model::ids::{DeliveryId, Generation, TenantId};
use postrider_model::time::UnixMillis;
use postrider_store::StoreError;
use postrider_store::config::EndpointDraft;
use postrider_store::feed::FeedScope;
use postrider_store::intervention::{InterventionReason, InterventionTarget};
use postrider_store::outbox::{OutboxEntry, RetryError};

use crate::support::{Fixture, batch, decision, event, new_endpoint, outcome};

#[tokio::test]
async fn retrying_what_has_ended_makes_another_delivery_of_the_event_as_it_was_decided() {
    let fixture = Fixture::new("retry").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.create_endpoint(tenant.id, &new_endpoint("then")).await.unwrap();
    let event = event(tenant.id, UnixMillis::now());
    let failed = outcome(&event, endpoint.id, 4, DeliveryStatus::Failed, Some(500));
    let decided = decision(&event, vec![endpoint.id], endpoint.version);
    store.write(&batch(vec![event.clone()], vec![decided], vec![failed.clone()])).await.unwrap();
    let rename = |draft: &mut EndpointDraft| {
        draft.document.name = "now".into();
        Ok::<_, ()>(())
    };
    store.edit_endpoint(None, endpoint.id, None, rename).await.unwrap();

    let pending = store.retry_delivery(Some(tenant.id), failed.delivery.id, Lane::Live).await.unwrap();
    let task = &pending.task;
    assert_ne!(task.delivery.id, failed.delivery.id);
    assert!(matches!(task.delivery.generation, Generation::Retry(_)));
    assert_eq!((task.number, task.epoch, task.trigger), (1, 0, Trigger::Manual));
    assert_eq!(task.delivery.origin, Some(failed.delivery.id));
    assert_eq!(pending.document.name, "then");
    assert_eq!(pending.event.data.as_deref(), Some(&b"{\"a\":1}"[..]));
    let row = store.get_delivery(Some(tenant.id), task.delivery.id).await.unwrap().unwrap();
    assert_eq!((row.status, row.origin), (DeliveryStatus::Pending, Some(failed.delivery.id)));
    assert_eq!(store.deliveries_of_event(tenant.id, &event.id, event.event_day).await.unwrap().len(), 2);

    // Nobody published it: the sweeper gets the same, once.
    assert!(store.outbox_claim(10, Duration::from_secs(60)).await.unwrap().is_empty(), "its author still may");
    let claimed = store.outbox_claim(10, Duration::ZERO).await.unwrap();
    let [OutboxEntry::Delivery(again)] = claimed.as_slice() else { panic!("{claimed:?}") };
    assert_eq!(again.task, *task);
    assert!(store.outbox_claim(10, Duration::ZERO).await.unwrap().is_empty(), "it is claimed");
    store.outbox_done(&[again.outbox]).await.unwrap();
    assert_eq!(fixture.number("SELECT count(*) FROM outbox").await, 0);
}

#[tokio::test]
async fn retrying_what_is_pending_makes_the_waiting_copy_stale() {
    let fixture = Fixture::new("retrynow").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap();
    let event = event(tenant.id, UnixMillis::now());
    let waiting = outcome(&event, endpoint.id, 2, DeliveryStatus::Pending, Some(500));
    let decided = decision(&event, vec![endpoint.id], endpoint.version);
    store.write(&batch(vec![event.clone()], vec![decided], vec![waiting.clone()])).await.unwrap();
    let before = store.config_version().await.unwrap();

    let first = store.retry_delivery(None, waiting.delivery.id, Lane::Live).await.unwrap().task;
    assert_eq!((first.delivery.id, first.number, first.epoch), (waiting.delivery.id, 3, 1));
    let second = store.retry_delivery(None, waiting.delivery.id, Lane::Live).await.unwrap().task;
    assert_eq!(second.epoch, 2);
    let changes = store.changes_since(FeedScope::DISPATCHER, before).await.unwrap();
    let [intervention] = changes.interventions.as_slice() else { panic!("{changes:?}") };
    assert_eq!(intervention.target, InterventionTarget::Delivery(waiting.delivery.id));
    assert_eq!((intervention.least_epoch, intervention.reason), (2, InterventionReason::Superseded));
    let row = store.get_delivery(None, waiting.delivery.id).await.unwrap().unwrap();
    assert_eq!((row.status, row.epoch, row.number), (DeliveryStatus::Pending, 2, 2));
    let snapshot = store.snapshot(FeedScope::DISPATCHER).await.unwrap();
    assert_eq!(snapshot.interventions.len(), 1, "who starts later hears of it, too");
}

#[tokio::test]
async fn what_cannot_be_sent_again_is_refused_and_leaves_nothing_behind() {
    let fixture = Fixture::new("noretry").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap();
    let event = event(tenant.id, UnixMillis::now());
    let failed = outcome(&event, endpoint.id, 1, DeliveryStatus::Failed, Some(500));
    let id = failed.delivery.id;
    let decided = decision(&event, vec![endpoint.id], endpoint.version);
    store.write(&batch(vec![], vec![decided], vec![failed])).await.unwrap();
    let retry = |tenant, id| store.retry_delivery(tenant, id, Lane::Live);

    assert!(matches!(retry(Some(tenant.id), id).await, Err(RetryError::NoEvent)));
    store.write(&batch(vec![event.clone()], vec![], vec![])).await.unwrap();
    let foreign = retry(Some(TenantId::generate()), id).await;
    assert!(matches!(foreign, Err(RetryError::Store(StoreError::NotFound { what: "delivery" }))));
    let unknown = retry(None, DeliveryId(uuid::Uuid::nil())).await;
    assert!(matches!(unknown, Err(RetryError::Store(StoreError::NotFound { .. }))));

    // Committed, then the endpoint goes before anybody published: the sweeper forgets it.
    retry(None, id).await.unwrap();
    store.delete_endpoint(None, endpoint.id, None).await.unwrap();
    assert!(store.outbox_claim(10, Duration::ZERO).await.unwrap().is_empty());
    assert_eq!(fixture.number("SELECT count(*) FROM outbox").await, 0);
    assert!(matches!(retry(None, id).await, Err(RetryError::EndpointDeleted)));
    fixture.sql().await.execute("UPDATE events SET data = NULL", &[]).await.unwrap();
    assert!(matches!(retry(None, id).await, Err(RetryError::Expunged)));
    assert_eq!(fixture.number("SELECT count(*) FROM interventions").await, 0);
}
