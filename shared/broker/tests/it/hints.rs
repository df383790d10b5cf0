//! `HintSender`: hints reach every listener, and listeners ask for them again after a fault.

use std::time::Duration;

use postrider_broker::BreakerStates;
use postrider_model::breaker::{BreakerState, BreakerStatement};
use postrider_model::ids::EndpointId;
use postrider_model::time::UnixMillis;
use postrider_wire::messages::Hint;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use crate::support::{PATIENCE, Vhost, eventually};

fn open(endpoint: EndpointId) -> Hint {
    let now = UnixMillis::now();
    Hint::Breakers(vec![BreakerStatement { endpoint, state: BreakerState::Open, since: now, seen_at: now }])
}

async fn hear(heard: &mut Receiver<Hint>, expected: &Hint) {
    let wait = async { while heard.recv().await.expect("the receiver is open") != *expected {} };
    tokio::time::timeout(PATIENCE, wait).await.expect("the hint arrives");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_listener_gets_hints_and_asks_again_after_a_lost_connection() {
    let vhost = Vhost::new("hints").await;
    let (one, other) = (vhost.broker().await, vhost.broker().await);
    let stop = CancellationToken::new();
    let mut hears_one = one.listen_for_hints(one.hint_sender(), stop.clone());
    hear(&mut hears_one, &Hint::Ask).await;
    let mut hears_other = other.listen_for_hints(other.hint_sender(), stop.clone());
    hear(&mut hears_other, &Hint::Ask).await;
    let hint = open(EndpointId::generate());
    other.hint_sender().send(hint.clone());
    hear(&mut hears_one, &hint).await;
    hear(&mut hears_other, &hint).await;

    vhost.cut("consume").await;
    hear(&mut hears_one, &Hint::Ask).await;
    let again = open(EndpointId::generate());
    // Each listener asks for hints once it is connected again. One listener may connect after a hint was sent, so the hint is
    // repeated.
    tokio::time::timeout(PATIENCE, async {
        for heard in [&mut hears_one, &mut hears_other] {
            loop {
                other.hint_sender().send(again.clone());
                let next = tokio::time::timeout(Duration::from_millis(500), heard.recv()).await;
                if next.is_ok_and(|hint| hint.as_ref() == Some(&again)) {
                    break;
                }
            }
        }
    })
    .await
    .expect("both get the hint");
    stop.cancel();
    vhost.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_of_breakers_has_their_latest_states() {
    let vhost = Vhost::new("breakers").await;
    let broker = vhost.broker().await;
    let stop = CancellationToken::new();
    let breakers = BreakerStates::follow(&broker, stop.clone());
    let (hints, endpoint) = (broker.hint_sender(), EndpointId::generate());
    eventually("the breaker to be known", async || {
        hints.send(open(endpoint));
        breakers.is_open(endpoint)
    })
    .await;
    assert_eq!((breakers.count(BreakerState::Open), breakers.is_open(EndpointId::generate())), (1, false));
    stop.cancel();
    vhost.finish().await;
}
