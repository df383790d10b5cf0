//! Planned restarts under load: every service, one after the other, and the database.
//!
//! Guarantee: as `crash::…`.

use postrider_testkit::engines::{PrivatePostgres, Scope};

use crate::harness::{Expected, Load, PROCESSES, Run, Urls, survive};

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_of_every_service_loses_nothing() {
    survive("rolling restart of every service", async |run| {
        for process in PROCESSES {
            run.cluster.terminate(process).await;
            run.cluster.restart(process).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_postgresql_loses_nothing() {
    let mut postgres = PrivatePostgres::start().await.expect("PostgreSQL starts");
    let scope = Scope::new("restart-postgres").await;
    let urls = Urls { amqp: scope.amqp_url.clone(), database: postgres.database_url() };
    let mut run = Run::start(urls, Load::FULL).await;
    run.until_outstanding().await;
    postgres.stop();
    postgres.restart().await.expect("PostgreSQL starts again");
    run.reconnect().await;
    run.check("restart of PostgreSQL", Expected::Everything).await;
}
