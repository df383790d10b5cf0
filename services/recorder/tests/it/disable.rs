//! Tests that an endpoint that responded with 410 is disabled, unless it was edited after the response.

use std::time::Duration;

use postrider_broker::Queue;
use postrider_model::delivery::{EndpointStatus, Trigger};
use postrider_model::ids::TenantId;
use postrider_model::time::UnixMillis;

use crate::harness::{World, event, member, outcome};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_410_disables_the_endpoint_and_emits_an_operational_event() {
    let world = World::new("rec_gone").await;
    let endpoint = world.endpoint().await;
    let recorder = world.recorder();
    let gone = outcome(&event(endpoint.tenant), endpoint.id, 410);
    world.publish(Queue::Outcomes, &[member(&gone, b"")]).await;
    // The operational event belongs to the operator's own tenant and is recorded like any other event.
    world.wait_for_rows("events", 1).await;
    let events = world
        .store
        .history()
        .list_events(Some(TenantId::OPERATOR), &Default::default(), &Default::default())
        .await
        .unwrap();
    assert_eq!(events.items[0].event_type.as_str(), "endpoint.disabled");
    let disabled = world.store.config().get_endpoint(None, endpoint.id).await.unwrap().unwrap();
    assert_eq!(disabled.status, EndpointStatus::Disabled);
    assert!(disabled.disabled_reason.is_some_and(|reason| reason.contains("410")));

    // If the endpoint was activated again, a duplicate of the message changes nothing.
    let on = |draft: &mut postrider_store::config::EndpointDraft| {
        draft.status = EndpointStatus::Active;
        Ok::<(), ()>(())
    };
    world.store.config().edit_endpoint(None, endpoint.id, None, on).await.unwrap();
    let mut unlike = outcome(&event(endpoint.tenant), endpoint.id, 200);
    unlike.at = UnixMillis::now().plus(Duration::from_secs(1));
    // A test call with a 410 response also changes nothing.
    let mut tested = outcome(&event(endpoint.tenant), endpoint.id, 410);
    tested.at = unlike.at;
    tested.attempt.as_mut().unwrap().trigger = Trigger::Test;
    world.publish(Queue::Outcomes, &[member(&gone, b""), member(&unlike, b""), member(&tested, b"")]).await;
    world.wait_for_rows("attempts", 3).await;
    recorder.stop().await;
    assert_eq!(
        world.store.config().get_endpoint(None, endpoint.id).await.unwrap().unwrap().status,
        EndpointStatus::Active
    );
}
