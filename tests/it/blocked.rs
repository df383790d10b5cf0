//! A broker without disk space blocks publishers: they are told in bounded time, consumers go on acking.

use std::time::Duration;

use postrider_broker::{
    Broker, BrokerConfig, BundlerOptions, ConsumeOptions, PublishError, PublishState, Queue, Route,
};
use postrider_testkit::engines::PrivateRabbit;
use postrider_wire::bundle::Member;
use serde_json::json;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn while_the_broker_is_out_of_disk_publishers_are_told_at_once_and_consumers_ack() {
    // More than any disk has: the alarm is on from the start. Such a broker takes what a connection publishes first.
    let rabbit = PrivateRabbit::with_config("disk_free_limit.absolute = 1000TB\n").await.unwrap();
    let broker = Broker::connect(BrokerConfig::new(rabbit.amqp_url(), "blocked test"), CancellationToken::new());
    let broker = tokio::time::timeout(PATIENCE, broker).await.expect("connecting hangs under the alarm").unwrap();
    let options = BundlerOptions { persist_forever: false, ..Default::default() };
    let bundler = broker.bundler(Route::Accepted, options);
    let member = || Member::new(&json!({}), "{}".into()).unwrap();

    let mut state = broker.publish_state();
    let first = bundler.submit_within(vec![member()], Duration::from_secs(2)).await;
    assert!(matches!(first, Ok(()) | Err(PublishError::Timeout)), "{first:?}");
    let blocked = state.wait_for(|state| matches!(state, PublishState::Blocked(_)));
    let reason =
        tokio::time::timeout(PATIENCE, blocked).await.expect("nobody says that it is blocked").unwrap().clone();
    println!("blocked: {reason:?}; the first publish: {first:?}");
    let told = tokio::time::timeout(Duration::from_millis(100), bundler.submit_within(vec![member()], PATIENCE)).await;
    assert_eq!(told, Ok(Err(PublishError::Blocked)));

    let stop = CancellationToken::new();
    let mut consumer = broker.consume_raw(Queue::Fanout, ConsumeOptions::default(), stop.clone());
    let message = tokio::time::timeout(PATIENCE, consumer.recv()).await.expect("consuming is blocked too").unwrap();
    message.ack();
    stop.cancel();
    tokio::time::timeout(PATIENCE, consumer.drained()).await.expect("acks are blocked too");
    assert_eq!(broker.queue_depth(Queue::Fanout.name()).await.unwrap().messages, 0);
    // Saying goodbye to a broker that reads nothing must not take for ever.
    tokio::time::timeout(Duration::from_secs(10), broker.close()).await.expect("closing hangs");
}
