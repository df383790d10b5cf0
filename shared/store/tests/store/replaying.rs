//! Replays are fed by one replayer at a time, with the same ids in every repeat, and one replay does not block another.

use std::convert::Infallible;

use postrider_ledger::replay::{self, FeedError, PageLimits, Rendition};
use postrider_model::delivery::DeliveryStatus;
use postrider_model::ids::{DeliveryId, EndpointId, ReplayId, TenantId};
use postrider_model::replay::{ReplaySelection, ReplayStatus};
use postrider_model::time::UnixMillis;
use postrider_profiles::Profiles;
use postrider_store::Store;
use postrider_store::replay::{ReplayAction, ReplayRequest};

use crate::support::{Fixture, batch, decision, event, new_endpoint, outcome};

const LIMITS: PageLimits = PageLimits { events: 2, deliveries: 100 };

/// A replay of all events up to now.
pub(crate) fn asked() -> ReplayRequest {
    let selection = ReplaySelection {
        endpoint: None,
        event: None,
        from: None,
        to: UnixMillis(UnixMillis::now().0 + 1),
        event_types: Vec::new(),
        attributes: Default::default(),
        only_failed: false,
        mode: Default::default(),
    };
    ReplayRequest { selection, text: "all".into(), idempotency_key: None }
}

/// Records `count` delivered events.
async fn delivered(store: &Store, tenant: TenantId, endpoint: EndpointId, count: usize) {
    let at = UnixMillis(UnixMillis::now().0 - 1_000);
    let events: Vec<_> = (0..count).map(|_| event(tenant, at)).collect();
    let decisions = events.iter().map(|event| decision(event, vec![endpoint], 1)).collect();
    let outcomes = events.iter().map(|event| outcome(event, endpoint, 1, DeliveryStatus::Delivered, Some(200)));
    let outcomes = outcomes.collect();
    store.record().write(&batch(events, decisions, outcomes)).await.unwrap();
}

fn ids(page: &Rendition) -> Vec<DeliveryId> {
    page.events.iter().flat_map(|event| &event.tasks).map(|(task, _)| task.delivery.id).collect()
}

/// Feeds a page. Returns the replay and the ids of the deliveries in the page.
async fn feed(store: &Store) -> Option<(ReplayId, Vec<DeliveryId>)> {
    let mut seen = Vec::new();
    let publish = |page: Rendition| {
        seen = ids(&page);
        async { Ok::<_, Infallible>(()) }
    };
    let fed = replay::feed(store, &Profiles::builtin(), LIMITS, publish).await.unwrap();
    fed.map(|fed| (fed.replay, seen))
}

#[tokio::test]
async fn an_unpublished_page_is_fed_again_under_the_same_ids() {
    let fixture = Fixture::new("refeed").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap();
    delivered(store, tenant.id, endpoint.id, 3).await;
    let first = store.create_replay(tenant.id, &asked()).await.unwrap();
    let mut seen = Vec::new();
    let refuse = |page: Rendition| {
        seen = ids(&page);
        async { Err(()) }
    };
    let refused = replay::feed(store, &Profiles::builtin(), LIMITS, refuse).await;
    assert!(matches!(refused, Err(FeedError::Publish(()))));
    assert_eq!(seen.len(), 2);
    assert_eq!(fixture.number("SELECT count(*) FROM deliveries WHERE generation IS NOT NULL").await, 0);

    assert_eq!(feed(store).await, Some((first, seen)), "the same page, the same ids");
    let replay = store.get_replay(Some(tenant.id), first).await.unwrap().unwrap();
    assert_eq!((replay.status, replay.progress.walked, replay.progress.deliveries), (ReplayStatus::Running, 2, 2));
    assert_eq!(feed(store).await.unwrap().1.len(), 1);
    let replay = store.get_replay(None, first).await.unwrap().unwrap();
    assert_eq!((replay.status, replay.progress.events), (ReplayStatus::Finished, 3));
    assert!(replay.finished_at.is_some());
    assert_eq!(feed(store).await, None);

    // A replay whose page cannot be published does not block the next replay.
    store.steer_replay(None, first, ReplayAction::Cancel).await.unwrap();
    let stuck = store.create_replay(tenant.id, &asked()).await.unwrap();
    let next = store.create_replay(tenant.id, &asked()).await.unwrap();
    let refused = replay::feed(store, &Profiles::builtin(), LIMITS, |_| async { Err(()) }).await;
    assert!(refused.is_err());
    assert_eq!(feed(store).await.unwrap().0, next);
    assert_ne!(stuck, next);
}

#[tokio::test]
async fn two_replayers_never_feed_one_replay_at_once() {
    let fixture = Fixture::new("twofeeders").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap();
    delivered(store, tenant.id, endpoint.id, 1).await;
    let id = store.create_replay(tenant.id, &asked()).await.unwrap();
    let beside = |_| async {
        assert_eq!(feed(store).await, None, "another has it in hand");
        Ok::<_, Infallible>(())
    };
    let fed = replay::feed(store, &Profiles::builtin(), LIMITS, beside).await.unwrap().unwrap();
    assert_eq!((fed.replay, fed.deliveries, fed.finished), (id, 1, true));
}

#[tokio::test]
async fn cancelling_ends_the_rows_of_what_a_replay_made() {
    let fixture = Fixture::new("unreplay").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap();
    delivered(store, tenant.id, endpoint.id, 2).await;
    let id = store.create_replay(tenant.id, &asked()).await.unwrap();
    let (_, made) = feed(store).await.unwrap();
    assert_eq!(made.len(), 2);
    store.steer_replay(Some(tenant.id), id, ReplayAction::Cancel).await.unwrap();
    for delivery in made {
        let row = store.history().get_delivery(None, delivery).await.unwrap().unwrap();
        assert_eq!((row.status, row.next_attempt_at), (DeliveryStatus::Cancelled, None));
    }
    assert_eq!(fixture.number("SELECT count(*) FROM deliveries WHERE status = 4").await, 2, "what arrived stays so");
}

#[tokio::test]
async fn a_tenant_has_five_replays_that_have_not_ended() {
    let fixture = Fixture::new("replaylimit").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let asked = |n: usize| ReplayRequest { idempotency_key: Some(format!("key-{n}")), ..asked() };
    let mut made = Vec::new();
    for n in 0..5 {
        made.push(store.create_replay(tenant.id, &asked(n)).await.unwrap());
    }
    store.steer_replay(None, made[0], ReplayAction::Pause).await.unwrap();
    let refused = store.create_replay(tenant.id, &asked(5)).await.unwrap_err().to_string();
    assert!(refused.contains("at most 5"), "{refused}");
    assert_eq!(store.create_replay(tenant.id, &asked(1)).await.unwrap(), made[1], "a repeat makes none");
    let other = fixture.tenant().await;
    store.create_replay(other.id, &asked(5)).await.unwrap();
    store.steer_replay(None, made[0], ReplayAction::Cancel).await.unwrap();
    let (one, another) = (asked(5), asked(6));
    let both = tokio::join!(store.create_replay(tenant.id, &one), store.create_replay(tenant.id, &another));
    assert!(both.0.is_ok() != both.1.is_ok(), "{both:?}");
}

#[tokio::test]
async fn tenants_take_turns_however_many_replays_each_has() {
    let fixture = Fixture::new("replayturns").await;
    let (store, many, one) = (&fixture.store, fixture.tenant().await, fixture.tenant().await);
    for tenant in [many.id, one.id] {
        let endpoint = store.config().create_endpoint(tenant, &new_endpoint("e")).await.unwrap();
        delivered(store, tenant, endpoint.id, 12).await;
    }
    let mut of_many = Vec::new();
    for _ in 0..4 {
        of_many.push(store.create_replay(many.id, &asked()).await.unwrap());
    }
    let of_one = store.create_replay(one.id, &asked()).await.unwrap();
    let mut turns = Vec::new();
    for _ in 0..6 {
        turns.push(feed(store).await.unwrap().0);
    }
    assert_eq!(turns.iter().filter(|replay| **replay == of_one).count(), 3, "{turns:?}");
    assert!(turns.windows(2).all(|two| (two[0] == of_one) != (two[1] == of_one)), "{turns:?}");
    let fed: std::collections::BTreeSet<_> = turns.iter().filter(|replay| **replay != of_one).collect();
    assert_eq!(fed.len(), 3, "its own take turns, too: {turns:?}");
}
