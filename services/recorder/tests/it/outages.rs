//! Tests that messages wait while the database is unavailable, and that no message is lost or written twice.

use std::time::{Duration, Instant};

use postrider_broker::Queue;
use postrider_model::ids::TenantId;

use crate::harness::{PATIENCE, World, event, member};

impl World {
    /// Allows or refuses connections to the database of the test.
    async fn let_in(&self, allowed: bool) {
        let mut admin = self.scope.database_url.clone();
        admin.truncate(admin.rfind('/').unwrap());
        let admin = admin + "/postgres";
        let name = &self.scope.database;
        self.sql(&admin, &format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS {allowed}")).await;
        if !allowed {
            let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
            self.sql(&admin, &end).await;
        }
    }

    async fn depth(&self) -> postrider_broker::QueueDepth {
        self.broker.queue_depth(Queue::EventLog.name()).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorder_catches_up_when_the_database_is_back() {
    let world = World::new("rec_away").await;
    let recorder = world.recorder();
    world.publish(Queue::EventLog, &[member(&event(TenantId::OPERATOR), b"{}")]).await;
    world.wait_for_rows("events", 1).await;
    world.let_in(false).await;
    for _ in 0..100 {
        world.publish(Queue::EventLog, &[member(&event(TenantId::OPERATOR), b"{}")]).await;
    }
    world.let_in(true).await;
    world.wait_for_rows("events", 101).await;
    recorder.stop().await;
    assert_eq!(world.depth().await.messages, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorder_stopped_while_the_database_is_away_requeues_its_messages() {
    let world = World::new("rec_stopped_away").await;
    let recorder = world.recorder();
    world.publish(Queue::EventLog, &[member(&event(TenantId::OPERATOR), b"{}")]).await;
    world.wait_for_rows("events", 1).await;
    world.let_in(false).await;
    for _ in 0..10 {
        world.publish(Queue::EventLog, &[member(&event(TenantId::OPERATOR), b"{}")]).await;
    }
    recorder.stop().await;
    let started = Instant::now();
    while world.depth().await.messages < 10 {
        assert!(started.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.let_in(true).await;
    let recorder = world.recorder();
    world.wait_for_rows("events", 11).await;
    recorder.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_partitions_nothing_is_consumed() {
    let world = World::bare("rec_unmigrated").await;
    world.publish(Queue::EventLog, &[member(&event(TenantId::OPERATOR), b"{}")]).await;
    let recorder = world.recorder();
    assert!(!world.health.is_ready());
    assert_eq!((world.depth().await.messages, world.depth().await.consumers), (1, 0));
    world.store.migrate().await.unwrap();
    world.wait_for_rows("events", 1).await;
    assert!(world.health.is_ready());
    recorder.stop().await;
}
