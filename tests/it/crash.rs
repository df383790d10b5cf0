//! `kill -9`, of any process, while deliveries are outstanding: nothing accepted is lost, nothing is recorded twice, and
//! duplicates can be recognised.
//!
//! Guarantee (Faults and isolation): Nothing accepted is lost when a service is killed or restarted, or RabbitMQ or PostgreSQL
//! dies, is cut off or has no disk left ([measured](faults.md)).

use postrider_testkit::engines::{PrivateRabbit, Scope};

use crate::harness::{Expected, Load, PATIENCE, Run, Urls, survive};

/// Kills a process while deliveries are outstanding and starts it again.
async fn survive_the_death_of(process: &'static str) {
    survive(&format!("kill -9 of {process}"), async |run| {
        if process == "dispatcher" {
            run.ledger.wait_for_unanswered(PATIENCE).await;
        }
        run.cluster.kill9(process).await;
        run.cluster.restart(process).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_fanout_loses_nothing() {
    survive_the_death_of("fanout").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_a_dispatcher_in_the_middle_of_posts_loses_nothing() {
    survive_the_death_of("dispatcher").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_recorder_loses_nothing() {
    survive_the_death_of("recorder").await;
}

/// Guarantee (Publishing): 202, and a confirm of the exchange, mean safe.
#[tokio::test(flavor = "multi_thread")]
async fn killing_ingest_loses_nothing_that_was_accepted() {
    survive_the_death_of("ingest").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_api_loses_nothing() {
    survive_the_death_of("api").await;
}

/// Guarantee: as `crash::killing_ingest_loses_nothing_that_was_accepted`.
#[tokio::test(flavor = "multi_thread")]
async fn killing_rabbitmq_loses_nothing() {
    let mut rabbit = PrivateRabbit::start().await.expect("RabbitMQ starts");
    let scope = Scope::new("crash-rabbitmq").await;
    let urls = Urls { amqp: rabbit.amqp_url(), database: scope.database_url.clone() };
    let mut run = Run::start(urls, Load::FULL).await;
    run.until_outstanding().await;
    rabbit.kill9();
    rabbit.restart().await.expect("RabbitMQ starts again");
    run.check("kill -9 of RabbitMQ", Expected::Everything).await;
}
