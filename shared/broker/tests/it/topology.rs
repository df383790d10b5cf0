//! If a queue or exchange exists with other arguments, the error names the queue or exchange.

use postrider_broker::{BrokerError, Queue};
use serde_json::json;

use crate::support::Vhost;

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_arguments_is_an_error_that_names_queue_and_argument() {
    let vhost = Vhost::new("inequivalent").await;
    let arguments = json!({
        "x-queue-type": "quorum", "x-dead-letter-exchange": "postrider.dead", "x-dead-letter-strategy": "at-most-once",
        "x-overflow": "reject-publish", "x-delivery-limit": 100
    });
    let queue = json!({ "durable": true, "arguments": arguments });
    vhost.put(&format!("queues/{}/postrider.outcomes", vhost.name), queue).await;
    let Err(error) = vhost.try_broker().await else { panic!("accepted a queue with other arguments") };
    assert!(matches!(
        &error,
        BrokerError::Inequivalent { kind: "queue", name, argument, .. }
            if name == "postrider.outcomes" && argument == "x-dead-letter-strategy"
    ));
    let text = error.to_string();
    assert!(text.contains("queue postrider.outcomes") && text.contains("delete it"), "{text}");
    vhost.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_of_another_type_is_an_error_too() {
    let vhost = Vhost::new("exchange").await;
    vhost.put(&format!("exchanges/{}/postrider.lanes", vhost.name), json!({ "type": "direct", "durable": true })).await;
    let Err(error) = vhost.try_broker().await else { panic!("accepted an exchange of another type") };
    assert!(matches!(&error, BrokerError::Inequivalent { kind: "exchange", argument, .. } if argument == "type"));
    vhost.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_declarations_succeed_and_depths_can_be_read() {
    let vhost = Vhost::new("twice").await;
    let (one, other) = tokio::join!(vhost.broker(), vhost.broker());
    assert_eq!(one.queue_depth(Queue::Fanout.name()).await.unwrap().messages, 0);
    assert_eq!(other.queue_depth(Queue::Fanout.name()).await.unwrap().consumers, 0);
    assert!(one.queue_depth("no such queue").await.is_err());
    assert!(one.queue_depth(Queue::Fanout.name()).await.is_ok());
    one.close().await;
    vhost.finish().await;
}
