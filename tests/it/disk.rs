//! Faults of the broker's disk: it is full for a while, or lost.
//!
//! Guarantee: as `crash::…`.

use std::time::Duration;

use postrider_testkit::engines::{PrivateRabbit, Scope};
use tokio::time::sleep;

use crate::harness::{Expected, Load, Run, Urls};

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_alarm_loses_nothing() {
    let rabbit = PrivateRabbit::start().await.expect("RabbitMQ starts");
    let scope = Scope::new("disk-alarm").await;
    let urls = Urls { amqp: rabbit.amqp_url(), database: scope.database_url.clone() };
    let mut run = Run::start(urls, Load::FULL).await;
    run.until_outstanding().await;
    rabbit.ctl(&["set_disk_free_limit", "1000000GB"]).await.expect("an alarm");
    // The duration of the fault, not a wait for an event.
    sleep(Duration::from_secs(8)).await;
    rabbit.ctl(&["set_disk_free_limit", "50MB"]).await.expect("no alarm");
    run.check("disk alarm, 8 s", Expected::Everything).await;
}

/// Guarantee (Faults and isolation): A broker that lost its disk costs no event on record.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_loses_its_disk_costs_no_recorded_event() {
    let mut rabbit = PrivateRabbit::start().await.expect("RabbitMQ starts");
    let scope = Scope::new("disk-lost").await;
    let urls = Urls { amqp: rabbit.amqp_url(), database: scope.database_url.clone() };
    let settings = vec![("POSTRIDER_RECONCILE_AFTER", "3s".to_owned())];
    let mut run = Run::start_with(urls, Load::FULL, settings).await;
    run.until_outstanding().await;
    rabbit.kill9();
    rabbit.lose_disk().expect("deleted");
    rabbit.restart().await.expect("RabbitMQ starts again");
    run.check("RabbitMQ's data folder deleted", Expected::Recorded).await;
}
