//! Tests with a broker that accepts no publishes, because of its disk alarm.

use std::sync::Arc;
use std::time::Duration;

use postrider_broker::{Destination, ladder};
use postrider_model::delivery::{DeliveryStatus, Lane};
use postrider_testkit::engines::PrivateRabbit;
use tokio::sync::Notify;

use crate::receiver::{Receiver, Reply};
use crate::world::{World, member};

#[tokio::test(flavor = "multi_thread")]
async fn while_the_broker_is_blocked_no_post_is_made_and_outcomes_wait() {
    let rabbit = PrivateRabbit::start().await.unwrap();
    let mut world = World::on_broker("blocked", "standard", rabbit.amqp_url()).await;
    // The first response arrives during the alarm, so its outcome cannot be published.
    let alarm = Arc::new(Notify::new());
    let on = Arc::clone(&alarm);
    let receiver =
        Receiver::start(move |n| if n == 0 { Reply::Once(Arc::clone(&on), 200) } else { Reply::Status(200) }).await;
    let endpoint = world.endpoint(&receiver.url(), |draft| draft.document.timeout_seconds = Some(60)).await;
    world.dispatch().await;
    let (out, later, last) = (world.task(&endpoint), world.task(&endpoint), world.task(&endpoint));
    world.publish(std::slice::from_ref(&out)).await;
    // During the alarm, the parked deliveries return to the lane, 5 s apart.
    for (seconds, task) in [(30, &later), (35, &last)] {
        let to = Destination::Rung { rung: ladder::rung_at_least(Duration::from_secs(seconds)), lane: Lane::Live };
        world.broker.delay_publisher().publish(to, member(task)).await.unwrap();
    }
    receiver.wait_for(1).await;
    rabbit.ctl(&["set_disk_free_limit", "1000000GB"]).await.unwrap();
    alarm.notify_one();
    for rung in ["postrider.delay.30000", "postrider.delay.35000"] {
        world.wait_for_depth(rung, 0).await;
        world.wait_for_depth("postrider.lane.live", 0).await;
    }
    assert_eq!(receiver.received().len(), 1, "a POST was made whose outcome could not be published");

    rabbit.ctl(&["set_disk_free_limit", "50MB"]).await.unwrap();
    for task in [&out, &later, &last] {
        assert_eq!(world.report_of(task).await.status, DeliveryStatus::Delivered);
    }
    assert_eq!(receiver.received().len(), 3);
    world.finish().await;
}
