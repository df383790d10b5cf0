//! A broker that runs out of disk space blocks publishers. Publishers with a deadline get an error at once, the others are confirmed
//! afterwards, and consumers keep acking.
//!
//! Guarantee: as `crash::…`.

use std::time::Duration;

use postrider_broker::Resend;
use postrider_broker::{BatchOptions, Broker, BrokerConfig, ConsumeOptions, PublishError, PublishState, Queue, Route};
use postrider_model::ids::TenantId;
use postrider_testkit::engines::PrivateRabbit;
use postrider_wire::bundle::Member;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(120);

fn member() -> Member {
    Member::new(&json!({}), "{}".into()).unwrap()
}

async fn wait_for(state: &mut watch::Receiver<PublishState>, wanted: fn(&PublishState) -> bool) -> PublishState {
    tokio::time::timeout(PATIENCE, state.wait_for(wanted)).await.expect("the state does not change").unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_broker_is_out_of_disk_publishers_wait_and_consumers_ack() {
    let rabbit = PrivateRabbit::start().await.unwrap();
    let config = BrokerConfig::new(rabbit.amqp_url(), "blocked test");
    let broker = Broker::connect(config, CancellationToken::new()).await.unwrap();
    let ingest =
        broker.batch_publisher(Route::Accepted, BatchOptions { resend: Resend::WhileAwaited, ..Default::default() });
    let outcomes = broker.batch_publisher(Route::Outcomes, BatchOptions::default());
    ingest.publish_within(TenantId::generate(), vec![member()], PATIENCE).await.unwrap();
    let stop = CancellationToken::new();
    let mut consumer = broker.consume_raw(Queue::Fanout, ConsumeOptions::default(), stop.clone());
    let message = consumer.recv().await.unwrap();

    rabbit.ctl(&["set_disk_free_limit", "1000000GB"]).await.unwrap();
    let mut state = broker.publish_state();
    // The broker blocks a connection when it publishes: the first message after the alarm is taken but not confirmed.
    let first = ingest.publish_within(TenantId::generate(), vec![member()], Duration::from_secs(1)).await;
    assert!(matches!(first, Ok(()) | Err(PublishError::Timeout | PublishError::Blocked)), "{first:?}");
    let blocked = wait_for(&mut state, |state| matches!(state, PublishState::Blocked(_))).await;
    println!("{blocked:?}; the publish before that: {first:?}");
    // The error comes at once, not after the timeout.
    assert_eq!(ingest.publish_within(TenantId::generate(), vec![member()], PATIENCE).await, Err(PublishError::Blocked));
    let waiting = tokio::spawn(async move { outcomes.publish(vec![member()]).await });
    message.ack();
    stop.cancel();
    tokio::time::timeout(PATIENCE, consumer.drained()).await.expect("draining is blocked too");
    assert!(!waiting.is_finished(), "confirmed under the alarm");

    rabbit.ctl(&["set_disk_free_limit", "50MB"]).await.unwrap();
    wait_for(&mut state, |state| *state == PublishState::Up).await;
    assert_eq!(tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap(), Ok(()));
    ingest.publish_within(TenantId::generate(), vec![member()], PATIENCE).await.unwrap();
    // The two are this message and the one that the alarm caught. A message whose ack was lost would be redelivered.
    assert_eq!(broker.queue_depth(Queue::Fanout.name()).await.unwrap().messages, 2);

    // Closing a connection to a broker that reads nothing must end, too.
    rabbit.ctl(&["set_disk_free_limit", "1000000GB"]).await.unwrap();
    let _ = ingest.publish_within(TenantId::generate(), vec![member()], Duration::from_secs(1)).await;
    wait_for(&mut state, |state| matches!(state, PublishState::Blocked(_))).await;
    tokio::time::timeout(PATIENCE, broker.close()).await.expect("closing hangs");
}
