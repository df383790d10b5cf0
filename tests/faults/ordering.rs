//! 100,000 ordered deliveries to a receiver that fails at random, while processes are killed.

use crate::harness::ordered_receiver::order_survives;

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_100_000_deliveries_survives_the_death_of_every_process() {
    order_survives(&["dispatcher", "recorder", "fanout", "dispatcher-2", "recorder"], 200, 500).await;
}
