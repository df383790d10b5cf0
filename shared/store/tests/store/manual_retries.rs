//! Manual retries make a new generation or a new epoch, through the outbox.

use std::time::Duration;

use postrider_ledger::manual_retry::{RetryError, retry_delivery};
use postrider_model::delivery::{DeliveryStatus, EndpointStatus, Lane, Trigger};
use postrider_model::ids::{DeliveryId, Generation, TenantId};
use postrider_model::time::UnixMillis;
use postrider_store::StoreError;
use postrider_store::config::EndpointDraft;
use postrider_store::feed::FeedScope;
use postrider_store::intervention::{InterventionReason, InterventionTarget};
use postrider_store::manual_retry::Retried;
use postrider_store::outbox::{OutboxEntry, SourceMissing};

use crate::support::{Fixture, batch, decision, event, new_endpoint, outcome, snapshot};

#[tokio::test]
async fn retrying_an_ended_delivery_creates_another_with_the_decided_version() {
    let fixture = Fixture::new("retry").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &new_endpoint("then")).await.unwrap();
    let event = event(tenant.id, UnixMillis::now());
    let failed = outcome(&event, endpoint.id, 4, DeliveryStatus::Failed, Some(500));
    let decided = decision(&event, vec![endpoint.id], endpoint.version);
    store.record().write(&batch(vec![event.clone()], vec![decided], vec![failed.clone()])).await.unwrap();
    let rename = |draft: &mut EndpointDraft| {
        draft.document.name = "now".into();
        Ok::<_, ()>(())
    };
    store.config().edit_endpoint(None, endpoint.id, None, rename).await.unwrap();

    let pending = retry_delivery(store, Some(tenant.id), failed.delivery.id, Lane::Live).await.unwrap();
    let again = retry_delivery(store, Some(tenant.id), failed.delivery.id, Lane::Live).await.unwrap();
    assert!(matches!(again, Retried::UnderWay(id) if id == pending.delivery()), "{again:?}");
    let pending = pending.committed().unwrap();
    let task = &pending.task;
    assert_ne!(task.delivery.id, failed.delivery.id);
    assert!(matches!(task.delivery.generation, Generation::Retry(_)));
    assert_eq!((task.number, task.epoch, task.trigger), (1, 0, Trigger::Manual));
    assert_eq!(task.delivery.repeats, Some(failed.delivery.id));
    assert_eq!(pending.source.document.name, "then");
    assert_eq!(pending.source.event.data.as_deref(), Some(&b"{\"a\":1}"[..]));
    let row = store.history().get_delivery(Some(tenant.id), task.delivery.id).await.unwrap().unwrap();
    assert_eq!((row.status, row.delivery.repeats), (DeliveryStatus::Pending, Some(failed.delivery.id)));
    assert_eq!(store.history().deliveries_of_event(tenant.id, &event.id, event.event_day).await.unwrap().len(), 2);

    // If the caller does not publish the delivery, an outbox relay claims it exactly once.
    assert!(store.outbox_claim(10, Duration::from_secs(600)).await.unwrap().is_empty(), "its author still may");
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
    let endpoint = store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap();
    let event = event(tenant.id, UnixMillis::now());
    let waiting = outcome(&event, endpoint.id, 2, DeliveryStatus::Pending, Some(500));
    let decided = decision(&event, vec![endpoint.id], endpoint.version);
    store.record().write(&batch(vec![event.clone()], vec![decided], vec![waiting.clone()])).await.unwrap();

    let id = waiting.delivery.id;
    let retry = || async { retry_delivery(store, None, id, Lane::Live).await.unwrap() };
    let first = retry().await.committed().unwrap().task;
    assert_eq!((first.delivery.id, first.number, first.extra, first.epoch), (id, 3, 1, 1));
    // Another retry while that attempt is due makes no second attempt.
    assert!(matches!(retry().await, Retried::UnderWay(under_way) if under_way == id));
    let overdue = "UPDATE deliveries SET next_attempt_at = now() - interval '61 s'";
    fixture.sql().await.execute(overdue, &[]).await.unwrap();
    let second = retry().await.committed().unwrap().task;
    assert_eq!((second.number, second.extra, second.epoch), (3, 1, 2));
    let changes = snapshot(store, FeedScope::DISPATCHER).await;
    let [intervention] = changes.interventions.as_slice() else { panic!("{changes:?}") };
    assert_eq!(intervention.target, InterventionTarget::Delivery(waiting.delivery.id));
    assert_eq!((intervention.least_epoch, intervention.reason), (2, InterventionReason::Superseded));
    let row = store.history().get_delivery(None, waiting.delivery.id).await.unwrap().unwrap();
    assert_eq!((row.status, row.epoch, row.number), (DeliveryStatus::Pending, 2, 2));
}

#[tokio::test]
async fn attempts_that_people_asked_for_are_counted_apart() {
    let fixture = Fixture::new("retryextra").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap();
    let event = event(tenant.id, UnixMillis::now());
    let failed = |number, trigger| {
        let mut failed = outcome(&event, endpoint.id, number, DeliveryStatus::Pending, Some(500));
        failed.attempt.as_mut().unwrap().trigger = trigger;
        failed.next_attempt_at = Some(UnixMillis(UnixMillis::now().0 + 3_600_000));
        failed
    };
    let attempts = vec![failed(1, Trigger::First), failed(2, Trigger::Manual), failed(3, Trigger::Retry)];
    let id = attempts[0].delivery.id;
    let decided = decision(&event, vec![endpoint.id], endpoint.version);
    store.record().write(&batch(vec![event.clone()], vec![decided], attempts)).await.unwrap();
    let task = retry_delivery(store, None, id, Lane::Live).await.unwrap().committed().unwrap().task;
    assert_eq!((task.number, task.extra), (4, 2));
}

#[tokio::test]
async fn an_endpoint_that_is_off_is_named_and_nothing_is_retried() {
    let fixture = Fixture::new("retryoff").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap();
    let event = event(tenant.id, UnixMillis::now());
    let failed = outcome(&event, endpoint.id, 1, DeliveryStatus::Failed, Some(500));
    let id = failed.delivery.id;
    let decided = decision(&event, vec![endpoint.id], endpoint.version);
    store.record().write(&batch(vec![event], vec![decided], vec![failed])).await.unwrap();
    let switch = |status| {
        store.config().edit_endpoint(None, endpoint.id, None, move |draft: &mut EndpointDraft| {
            draft.status = status;
            Ok::<_, ()>(())
        })
    };
    switch(EndpointStatus::Inactive).await.unwrap();
    let refused = retry_delivery(store, None, id, Lane::Live).await.unwrap_err();
    assert_eq!(refused.to_string(), "the endpoint is inactive: activate it first");
    switch(EndpointStatus::Active).await.unwrap();
    retry_delivery(store, None, id, Lane::Live).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_sent_again_is_refused_and_leaves_nothing_behind() {
    let fixture = Fixture::new("noretry").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap();
    let event = event(tenant.id, UnixMillis::now());
    let failed = outcome(&event, endpoint.id, 1, DeliveryStatus::Failed, Some(500));
    let id = failed.delivery.id;
    let decided = decision(&event, vec![endpoint.id], endpoint.version);
    store.record().write(&batch(vec![], vec![decided], vec![failed])).await.unwrap();
    let retry = |tenant, id| retry_delivery(store, tenant, id, Lane::Live);

    assert!(matches!(retry(Some(tenant.id), id).await, Err(RetryError::Missing(SourceMissing::NoEvent))));
    store.record().write(&batch(vec![event.clone()], vec![], vec![])).await.unwrap();
    let foreign = retry(Some(TenantId::generate()), id).await;
    assert!(matches!(foreign, Err(RetryError::Store(StoreError::NotFound { what: "delivery" }))));
    let unknown = retry(None, DeliveryId(uuid::Uuid::nil())).await;
    assert!(matches!(unknown, Err(RetryError::Store(StoreError::NotFound { .. }))));

    // The endpoint is deleted between the commit and the publish, so the outbox relay removes the entry.
    retry(None, id).await.unwrap();
    store.config().delete_endpoint(None, endpoint.id, None).await.unwrap();
    assert!(store.outbox_claim(10, Duration::ZERO).await.unwrap().is_empty());
    assert_eq!(fixture.number("SELECT count(*) FROM outbox").await, 0);
    assert!(matches!(retry(None, id).await, Err(RetryError::Missing(SourceMissing::EndpointDeleted))));
    fixture.sql().await.execute("UPDATE events SET data = NULL", &[]).await.unwrap();
    assert!(matches!(retry(None, id).await, Err(RetryError::Missing(SourceMissing::Expunged))));
    assert_eq!(fixture.number("SELECT count(*) FROM interventions").await, 0);
}
