//! Tests of the engines that all other tests use.

use std::time::Duration;

use futures::StreamExt;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use postrider_testkit::engines::{PrivateRabbit, Scope};

#[tokio::test]
async fn a_scope_is_an_empty_vhost_and_an_empty_database_that_goes_away() {
    let scope = Scope::new("scope").await;
    let connection = Connection::connect(&scope.amqp_url, ConnectionProperties::default()).await.unwrap();
    connection.create_channel().await.unwrap();
    let (client, driver) = tokio_postgres::connect(&scope.database_url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(driver);
    let row = client.query_one("SELECT current_database(), current_setting('fsync')", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), scope.database);
    assert_eq!(row.get::<_, String>(1), "on", "tests must not be faster than the truth");

    let database_url = scope.database_url.clone();
    drop(scope);
    assert!(tokio_postgres::connect(&database_url, tokio_postgres::NoTls).await.is_err());
}

#[tokio::test]
async fn a_private_broker_survives_kill_9_with_what_it_confirmed() {
    let mut rabbit = PrivateRabbit::start().await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), lapin::types::AMQPValue::LongString("quorum".into()));
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    {
        let connection = Connection::connect(&rabbit.amqp_url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        channel.queue_declare("kept".into(), options, arguments.clone()).await.unwrap();
        for _ in 0..10 {
            let properties = BasicProperties::default().with_delivery_mode(2);
            let publish =
                channel.basic_publish("".into(), "kept".into(), BasicPublishOptions::default(), b"x", properties);
            publish.await.unwrap().await.unwrap();
        }
        rabbit.wait_queues_on_disk().await.unwrap();
        rabbit.kill9();
    }
    assert!(Connection::connect(&rabbit.amqp_url(), ConnectionProperties::default()).await.is_err());
    rabbit.restart().await.unwrap();
    let connection = Connection::connect(&rabbit.amqp_url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    // The test consumes the messages, because a quorum queue's message count lags behind its recovery.
    let mut messages =
        channel.basic_consume("kept".into(), "".into(), Default::default(), FieldTable::default()).await.unwrap();
    for _ in 0..10 {
        let next = tokio::time::timeout(Duration::from_secs(60), messages.next()).await;
        assert_eq!(next.expect("a confirmed message is missing").unwrap().unwrap().data, b"x");
    }
}
