//! Claims of event ids.

use std::time::Duration;

use postrider_model::ids::{EventId, TenantId};
use postrider_model::limits::EVENT_ID_DAYS_AFTER_RETENTION;
use postrider_model::time::UnixMillis;
use postrider_store::Store;
use postrider_store::claims::{Claim, Claimed};

use crate::support::{Fixture, batch, decision, event, snapshot};

const PATIENCE: Duration = Duration::from_secs(600);

fn claim(tenant: TenantId, id: &str, content_hash: &str, accepted_at: UnixMillis) -> Claim {
    Claim { tenant, id: id.parse().unwrap(), content_hash: content_hash.into(), accepted_at }
}

async fn one(store: &Store, claim: &Claim, patience: Duration) -> Claimed {
    store.claims().claim(std::slice::from_ref(claim), patience).await.unwrap().remove(0)
}

#[tokio::test]
async fn an_id_belongs_to_the_event_that_claimed_it_first() {
    let fixture = Fixture::new("claims").await;
    let (store, tenant, other) = (&fixture.store, TenantId::generate(), TenantId::generate());
    let (first_at, later) = (UnixMillis::now(), UnixMillis::now().plus(Duration::from_secs(1)));
    let (first, elsewhere) = (claim(tenant, "b", "c1.x", first_at), claim(other, "b", "c1.y", first_at));
    let asked = [first.clone(), elsewhere, claim(tenant, "a", "c1.x", first_at)];
    assert_eq!(store.claims().claim(&asked, PATIENCE).await.unwrap(), vec![Claimed::Ours(first_at); 3]);

    let taken =
        |content_hash: &str, safe| Claimed::Taken { content_hash: content_hash.into(), accepted_at: first_at, safe };
    let repeat = claim(tenant, "b", "c1.x", later);
    assert_eq!(one(store, &repeat, PATIENCE).await, taken("c1.x", false), "somebody may be publishing it");
    assert_eq!(one(store, &claim(tenant, "b", "c1.z", later), Duration::ZERO).await, taken("c1.x", false));
    assert_eq!(
        one(store, &repeat, Duration::ZERO).await,
        Claimed::Ours(first_at),
        "as it was accepted when it was first"
    );

    store.claims().confirm_claims(&[(tenant, "b".parse().unwrap()), (tenant, EventId::generate())]).await.unwrap();
    let mixed = [repeat, claim(tenant, "c", "c1.x", later), claim(tenant, "b", "c1.z", later)];
    let answers = store.claims().claim(&mixed[..2], Duration::ZERO).await.unwrap();
    assert_eq!(answers, [taken("c1.x", true), Claimed::Ours(later)]);
    assert_eq!(one(store, &mixed[2], Duration::ZERO).await, taken("c1.x", true));
}

#[tokio::test]
async fn an_event_with_a_decision_is_safe_without_a_recorded_confirm() {
    let fixture = Fixture::new("claims_decided").await;
    let store = &fixture.store;
    let mut named = event(TenantId::generate(), UnixMillis::now());
    (named.id, named.content_hash, named.claimed) = ("e1".parse().unwrap(), Some("c1.x".into()), true);
    let claim = claim(named.tenant, "e1", "c1.x", named.accepted_at);
    assert_eq!(one(store, &claim, PATIENCE).await, Claimed::Ours(named.accepted_at));
    // An event that is on record but not decided is not safe: fan-out may never have received it.
    store.record().write(&batch(vec![named.clone()], vec![], vec![])).await.unwrap();
    assert_eq!(one(store, &claim, Duration::ZERO).await, Claimed::Ours(named.accepted_at));
    store.record().write(&batch(vec![], vec![decision(&named, vec![], 1)], vec![])).await.unwrap();
    let safe = Claimed::Taken { content_hash: "c1.x".into(), accepted_at: named.accepted_at, safe: true };
    assert_eq!(one(store, &claim, Duration::ZERO).await, safe);
}

#[tokio::test]
async fn of_many_who_claim_an_id_at_once_one_gets_it() {
    let fixture = Fixture::new("claims_race").await;
    let (store, tenant, now) = (&fixture.store, TenantId::generate(), UnixMillis::now());
    // Two processes claim in opposite orders, which would deadlock if claims were not sorted.
    let claims = |hash: &str, reverse: bool| {
        let mut claims: Vec<_> = (0..200).map(|n| claim(tenant, &format!("e{n}"), hash, now)).collect();
        if reverse {
            claims.reverse();
        }
        claims
    };
    for round in 0..5 {
        let (one, other) = (claims(&format!("c1.{round}"), false), claims(&format!("c1.{round}-"), true));
        let (one, mut other) =
            tokio::try_join!(store.claims().claim(&one, PATIENCE), store.claims().claim(&other, PATIENCE)).unwrap();
        other.reverse();
        for (one, other) in one.iter().zip(&other) {
            let ours = |claimed: &Claimed| matches!(claimed, Claimed::Ours(_));
            let won = usize::from(ours(one)) + usize::from(ours(other));
            assert_eq!(won, usize::from(round == 0), "{one:?} {other:?}");
        }
    }
}

#[tokio::test]
async fn a_try_that_nobody_heard_of_for_days_keeps_nothing_of_it() {
    let fixture = Fixture::new("claims_old").await;
    let (store, tenant, now) = (&fixture.store, TenantId::generate(), UnixMillis::now());
    let days_ago = |days: i64| UnixMillis(now.0 - days * 86_400_000);
    for (id, days, expected) in [("yesterday", 1, days_ago(1)), ("long-ago", 20, now)] {
        assert_eq!(
            one(store, &claim(tenant, id, "c1.x", days_ago(days)), PATIENCE).await,
            Claimed::Ours(days_ago(days))
        );
        assert_eq!(one(store, &claim(tenant, id, "c1.x", now), Duration::ZERO).await, Claimed::Ours(expected), "{id}");
    }
}

#[tokio::test]
async fn an_id_is_free_again_when_nothing_is_left_of_its_event() {
    let fixture = Fixture::new("claims_window").await;
    let store = &fixture.store;
    let (tenant, now, retention) = (fixture.tenant().await.id, UnixMillis::now(), 30_u16);
    let mut named = event(tenant, now);
    (named.id, named.content_hash, named.claimed) = ("e1".parse().unwrap(), Some("c1.x".into()), true);
    one(store, &claim(tenant, "e1", "c1.x", now), PATIENCE).await;
    store.record().write(&batch(vec![named.clone()], vec![decision(&named, vec![], 1)], vec![])).await.unwrap();

    // The event is expunged on the last day on which the history has it.
    store.expunge_event(tenant, &named.id).await.unwrap();
    let last_day = UnixMillis(now.0 + i64::from(retention) * 86_400_000);
    let sql = format!("UPDATE interventions SET created_at = timestamptz '{last_day}'");
    fixture.sql().await.execute(&sql, &[]).await.unwrap();
    let interventions = "SELECT count(*) FROM interventions";
    let claims = "SELECT count(*) FROM event_ids";

    let free_on = now.day().plus_days(i32::from(retention) + EVENT_ID_DAYS_AFTER_RETENTION + 1);
    store.record().drop_partitions(free_on.plus_days(-1), retention.into(), PATIENCE).await.unwrap();
    assert_eq!(fixture.number(claims).await, 1);
    let other = claim(tenant, "e1", "c1.y", free_on.start());
    assert!(matches!(one(store, &other, Duration::ZERO).await, Claimed::Taken { .. }));
    store.record().drop_partitions(free_on, retention.into(), PATIENCE).await.unwrap();
    assert_eq!(fixture.number(interventions).await, 0, "no intervention outlives the claim");
    assert_eq!(one(store, &other, PATIENCE).await, Claimed::Ours(free_on.start()));
}

#[tokio::test]
async fn interventions_say_which_event_of_an_id_they_are_about() {
    let fixture = Fixture::new("claims_interventions").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await.id);
    let now = UnixMillis::now();
    let named = |at: UnixMillis| {
        let mut named = event(tenant, at);
        named.id = "e1".parse().unwrap();
        named
    };
    let (earlier, later) = (named(UnixMillis(now.0 - 86_400_000)), named(now));
    store.record().write(&batch(vec![earlier.clone()], vec![], vec![])).await.unwrap();
    store.expunge_event(tenant, &earlier.id).await.unwrap();
    let about = async || {
        let scope = postrider_store::feed::FeedScope::DISPATCHER;
        let interventions = snapshot(store, scope).await.interventions;
        assert_eq!(interventions.len(), 1);
        interventions[0].event_day
    };
    assert_eq!(about().await, Some(earlier.event_day));
    // If two events with this id are on record, the intervention covers both.
    store.record().write(&batch(vec![later], vec![], vec![])).await.unwrap();
    store.expunge_event(tenant, &earlier.id).await.unwrap();
    assert_eq!(about().await, None);
}

#[tokio::test]
async fn only_an_event_whose_id_was_made_here_is_found_as_one() {
    let fixture = Fixture::new("claims_made").await;
    let (store, now) = (&fixture.store, UnixMillis::now());
    let made = event(TenantId::generate(), now);
    let mut named = event(made.tenant, now);
    (named.content_hash, named.claimed) = (Some("c1.x".into()), true);
    store.record().write(&batch(vec![made.clone(), named.clone()], vec![], vec![])).await.unwrap();
    let day = made.id.generated_at().unwrap().day();
    let found = async |tenant, id: &EventId, day| {
        store.claims().event_with_generated_id(tenant, id, day).await.unwrap().is_some()
    };
    assert!(found(made.tenant, &made.id, day).await);
    assert!(
        found(made.tenant, &made.id, day.plus_days(-1)).await,
        "it may be accepted after the midnight that follows"
    );
    assert!(!found(made.tenant, &made.id, day.plus_days(1)).await);
    assert!(!found(TenantId::generate(), &made.id, day).await);
    assert!(!found(named.tenant, &named.id, day).await);
}

#[tokio::test]
async fn the_recorder_finds_events_whose_id_belongs_to_another_one() {
    let fixture = Fixture::new("claims_others").await;
    let (store, tenant, now) = (&fixture.store, TenantId::generate(), UnixMillis::now());
    let mut sequence = 0;
    let mut named = |id: &str, hash: Option<&str>, claimed: bool, days_ago: i64| {
        let mut named = event(tenant, UnixMillis(now.0 - days_ago * 86_400_000));
        sequence += 1;
        (named.id, named.sequence) = (id.parse().unwrap(), sequence);
        (named.content_hash, named.claimed) = (hash.map(str::to_owned), claimed);
        named
    };
    let (made, both, legacy) =
        (named("made", None, false, 0), named("both", Some("c1.x"), false, 1), named("legacy", Some("00ff"), false, 1));
    let others = async |events| store.record().write(&batch(events, vec![], vec![])).await.unwrap().other_events;
    let across = named("across", Some("c1.x"), false, 1);
    assert!(others(vec![made.clone(), both.clone(), legacy.clone(), across]).await.is_empty());
    assert_eq!(
        fixture.number("SELECT count(*) FROM event_ids WHERE confirmed").await,
        3,
        "it claims what ingest could not"
    );

    // The same messages again count as the same event. So do repeats of the same content on the same day and on the next day.
    assert!(others(vec![made, both.clone(), legacy]).await.is_empty());
    let (repeat, next_day) = (named("both", Some("c1.x"), true, 1), named("both", Some("c1.x"), false, 0));
    assert!(others(vec![repeat, next_day]).await.is_empty());

    // Other content with a used id is another event: on the same day, on the next day, and within one batch.
    let others_of_all = vec![
        named("free", Some("c1.a"), true, 0),
        named("made", Some("c1.x"), true, 0),
        named("both", Some("c1.y"), true, 1),
        named("both", Some("c1.z"), false, 0),
        named("twice", Some("c1.a"), false, 0),
        named("twice", Some("c1.b"), false, 0),
        named("across", Some("c1.y"), false, 0),
        named("legacy", Some("c1.x"), false, 0),
    ];
    assert_eq!(others(others_of_all.clone()).await, [1, 2, 3, 5, 6]);
    assert_eq!(others(others_of_all).await, [1, 2, 3, 5, 6], "found again after a crash");
    let kept = fixture.number("SELECT count(*) FROM events WHERE id = 'both' AND content_hash = 'c1.x'").await;
    assert_eq!(kept, 2, "the first stays");
}
