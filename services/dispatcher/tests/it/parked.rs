//! Tests of large bodies that wait on the ladder as references.

use bytes::Bytes;
use postrider_model::delivery::{BodyKind, DeliveryStatus};
use postrider_model::time::UnixMillis;
use postrider_profiles::{EventView, Profiles};
use postrider_store::record::RecordBatch;
use postrider_wire::bundle::Member;
use postrider_wire::messages::AcceptedEvent;

use crate::receiver::{Receiver, Reply};
use crate::world::{World, event_of};

/// Renders the body as fan-out does.
fn rendered(event: &AcceptedEvent, data: &[u8]) -> Bytes {
    let data = Bytes::copy_from_slice(data);
    let view = EventView {
        id: &event.id,
        event_type: &event.event_type,
        occurred_at: event.occurred_at,
        accepted_at: event.accepted_at,
        attributes: &event.attributes,
        metadata: None,
        data: &data,
    };
    Profiles::builtin().get("standard").unwrap().render(&view, BodyKind::Json).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_is_rendered_again_once_its_event_is_recorded() {
    let mut world = World::new("by_reference", "standard").await;
    let receiver = Receiver::start(|_| Reply::Status(500)).await;
    let schedule = Some(vec![1, 1]);
    let endpoint = world.endpoint(&receiver.url(), |draft| draft.document.retry_schedule_seconds = schedule).await;
    world.store.record().create_partitions(UnixMillis::now().day()).await.unwrap();
    world.dispatch().await;
    let task = world.task(&endpoint);
    let event = event_of(&task);
    let data = format!(r#"{{"text": "{}", "n": 1.50}}"#, "x".repeat(100_000));
    let body = rendered(&event, data.as_bytes());
    world.publish_members(vec![Member::new(&task, body.clone()).unwrap()]).await;
    assert_eq!(receiver.wait_for(1).await[0].body, body);
    let first = world.report_of(&task).await;
    assert_eq!(first.status, DeliveryStatus::Pending);

    // The event is not recorded yet when the retry is due, so the delivery waits again without using up an attempt.
    world.wait_for_depth("postrider.delay.5000", 1).await;
    assert_eq!(receiver.wait_for(1).await.len(), 1);
    let batch = RecordBatch { events: vec![(event, data.into())], ..RecordBatch::default() };
    world.store.record().write(&batch).await.unwrap();
    let received = receiver.wait_for(3).await;
    for (number, received) in (1..).zip(&received) {
        assert_eq!(received.header("postrider-attempt"), number.to_string());
        assert_eq!(received.body, body, "attempt {number}");
    }
    for expected in [DeliveryStatus::Pending, DeliveryStatus::Failed] {
        assert_eq!(world.report_of(&task).await.status, expected);
    }
    world.finish().await;
}
