//! Packets between the services and an engine are dropped: no connection ends, but nothing arrives.
//!
//! Guarantee: as `crash::…`.

use std::time::Duration;

use postrider_testkit::engines::Scope;
use postrider_testkit::proxy::Proxy;
use tokio::time::sleep;

use crate::harness::{Expected, Load, Run, Urls};

/// Duration of the fault: longer than the timeout of confirms, so that producers get 503.
const STALLED: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_cannot_be_heard_for_a_while_loses_nothing() {
    let scope = Scope::new("partition-broker").await;
    let (proxy, amqp) = Proxy::before(&scope.amqp_url).await.expect("a proxy");
    let urls = Urls { amqp, database: scope.database_url.clone() };
    let mut run = Run::start(urls, Load::FULL).await;
    run.until_outstanding().await;
    proxy.stall();
    // The duration of the fault, not a wait for an event.
    sleep(STALLED).await;
    proxy.resume();
    run.check("dropped packets to RabbitMQ, 10 s", Expected::Everything).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_heard_for_a_while_loses_nothing() {
    let scope = Scope::new("partition-database").await;
    let (proxy, database) = Proxy::before(&scope.database_url).await.expect("a proxy");
    let direct = Urls { amqp: scope.amqp_url.clone(), database: scope.database_url.clone() };
    let mut run = Run::start_beside(Urls { database, ..direct.clone() }, direct, Load::FULL, Vec::new()).await;
    run.until_outstanding().await;
    proxy.stall();
    sleep(STALLED).await;
    proxy.resume();
    run.check("dropped packets to PostgreSQL, 10 s", Expected::Everything).await;
}
