//! The rules for what was set aside for a paused endpoint: what is released, in which form, and what is discarded.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use postrider_model::delivery::{BodyKind, DiscardReason, EndpointStatus, Lane};
use postrider_model::ids::Generation;
use postrider_model::limits::DELIVERY_LIFETIME;
use postrider_model::time::UnixMillis;
use postrider_profiles::Profiles;
use postrider_store::pauses::{Fate, PauseState, ReleasePage, SetAsideDelivery, TendLimits, Tended};
use postrider_store::reconcile::LostDelivery;
use postrider_store::{Store, StoreError};
use postrider_wire::messages::DeliveryTask;

use crate::reconcile::next_task;
use crate::replay::{FeedError, Rendition, ReplayedEvent};

/// For this time after its acceptance, an event that is not on record may still be recorded. After it, its row was lost.
const RECORDED_WITHIN: Duration = Duration::from_secs(86_400);

/// Tends one endpoint that is or was paused; see [`Store::tend_paused`]. `publish` returns when the broker has confirmed all
/// deliveries.
///
/// # Errors
/// Nothing was committed. What was published is published again later, with the same ids and epochs.
pub async fn tend<E, F>(
    store: &Store,
    profiles: &Profiles,
    limits: TendLimits,
    publish: impl FnOnce(Rendition) -> F,
) -> Result<Option<Tended>, FeedError<E>>
where
    F: Future<Output = Result<(), E>>,
{
    let render = async |page: ReleasePage| publish(rendition(profiles, page)?).await.map_err(FeedError::Publish);
    store.tend_paused(limits, |state| rate_per_second(profiles, state), fates, render).await
}

/// The rate of the endpoint: its own or the profile's, within the tenant's limit.
fn rate_per_second(profiles: &Profiles, state: &PauseState) -> Option<f64> {
    let rate = state.rate_per_second.or_else(|| profiles.get(&state.profile)?.rate_per_second)?;
    Some(state.rate_per_second_max.map_or(rate, |most| rate.min(most)))
}

/// Decides about deliveries that are set aside, oldest event first.
fn fates(state: &PauseState, page: &[SetAsideDelivery]) -> Vec<Fate> {
    let mut excess = state.excess_bytes;
    let fate = |found: &SetAsideDelivery| {
        let fate = fate(state, &found.delivery, found.set_aside_at, excess);
        if matches!(fate, Fate::Discard(_)) {
            excess = excess.saturating_sub(found.bytes());
        }
        fate
    };
    page.iter().map(fate).collect()
}

/// Decides about one delivery while `excess` bytes are over the tenant's limit.
fn fate(state: &PauseState, found: &LostDelivery, set_aside_at: UnixMillis, excess: u64) -> Fate {
    let delivery = &found.row.delivery;
    // A replay of older events, or of skipped ones, is not what the limit and the order to skip are about.
    let waits_since = if delivery.generation == Generation::First { delivery.accepted_at } else { delivery.created_at };
    let is_skipped = |skip| delivery.accepted_at <= skip && set_aside_at <= skip;
    let is_first = |at: UnixMillis| state.skip_before.is_none_or(|skip| at > skip) && at >= state.oldest_allowed;
    let reason = match state.status {
        None => Some(DiscardReason::EndpointDeleted),
        Some(EndpointStatus::Inactive | EndpointStatus::Disabled) => Some(DiscardReason::EndpointInactive),
        Some(_) if state.skip_before.is_some_and(is_skipped) => Some(DiscardReason::Skipped),
        Some(_) if waits_since < state.oldest_allowed || excess > 0 => Some(DiscardReason::PauseLimit),
        // Deliveries are sorted by the acceptance of their events. Deliveries to skip, or over the limit, may follow this one.
        Some(EndpointStatus::Paused) if !is_first(delivery.accepted_at) => return Fate::Later,
        Some(EndpointStatus::Paused) => return Fate::Keep,
        Some(EndpointStatus::Active) if expires_at(found, state.now) <= state.now => Some(DiscardReason::Expired),
        Some(EndpointStatus::Active) if is_recorded_late(found, state.now) => return Fate::Later,
        Some(EndpointStatus::Active) if found.occurred_at.is_none() => Some(DiscardReason::Expired),
        Some(EndpointStatus::Active) if !found.has_payload => Some(DiscardReason::Expunged),
        Some(EndpointStatus::Active) => None,
    };
    match reason {
        Some(reason) => Fate::Discard(reason),
        None => Fate::Release(Box::new(release(found, state.now))),
    }
}

/// Whether the event of a delivery is not on record, but may be recorded later: its decision was recorded first.
fn is_recorded_late(found: &LostDelivery, now: UnixMillis) -> bool {
    found.occurred_at.is_none() && found.row.delivery.accepted_at.until(now) < RECORDED_WITHIN
}

/// The message of a delivery that is released.
fn release(found: &LostDelivery, now: UnixMillis) -> DeliveryTask {
    // Latency counts from the release: the pause was an order.
    DeliveryTask { expires_at: expires_at(found, now), due_at: Some(now), lane: Lane::Bulk, ..next_task(found) }
}

/// When a delivery that is released at `now` expires. The time for which it was set aside does not use up the lifetime of a
/// delivery. An earlier expiry of the delivery's own stays.
fn expires_at(found: &LostDelivery, now: UnixMillis) -> UnixMillis {
    let row = &found.row;
    let lifetime_ends = row.delivery.created_at.plus(DELIVERY_LIFETIME);
    if row.expires_at < lifetime_ends { row.expires_at } else { row.expires_at.max(now.plus(DELIVERY_LIFETIME)) }
}

/// Chooses the format of each body: the format at the time of the decision for an event's own delivery, as for its earlier
/// attempts; otherwise the current format.
fn rendition(profiles: &Profiles, page: ReleasePage) -> Result<Rendition, StoreError> {
    let ReleasePage { profile: name, document, versions, releases } = page;
    let unreadable = || StoreError::Unreadable { what: "tenants.profile", detail: format!("{name} is not loaded") };
    let profile = Arc::clone(profiles.get(&name).ok_or_else(unreadable)?);
    let format = |task: &DeliveryTask| -> BodyKind {
        let decided = versions.iter().rev().find(|version| version.version <= task.config_version);
        match task.delivery.generation {
            Generation::First => decided.map_or(document.body_kind(), |version| version.document.body_kind()),
            _ => document.body_kind(),
        }
    };
    let events = releases.into_iter().map(|release| {
        let body = format(&release.task);
        ReplayedEvent { event: release.event, tasks: vec![(release.task, body)] }
    });
    // Deliveries that are released are in no line.
    Ok(Rendition { profile, events: events.collect(), orderings: Arc::default() })
}

#[cfg(test)]
mod tests {
    use postrider_model::ids::{EndpointId, EventId, RetryId, TenantId};
    use postrider_store::history::DeliveryRow;
    use postrider_wire::messages::{DeliveryRef, EventRef};

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn ago(ms: i64) -> UnixMillis {
        UnixMillis(NOW.0 - ms)
    }

    fn waiting() -> LostDelivery {
        let event = EventRef::new(TenantId::generate(), EventId::generate(), "a.b".parse().unwrap(), ago(1_000));
        let delivery = DeliveryRef::new(event, EndpointId::generate(), Generation::First, ago(1_000));
        let row = DeliveryRow {
            delivery,
            status: postrider_model::delivery::DeliveryStatus::Pending,
            discard_reason: None,
            epoch: 0,
            number: 0,
            status_code: None,
            outcome: None,
            next_attempt_at: None,
            first_attempt_at: None,
            finished_at: None,
            expires_at: ago(1_000).plus(DELIVERY_LIFETIME),
            set_aside_bytes: Some(10),
        };
        LostDelivery {
            turn: None,
            row,
            has_payload: true,
            has_endpoint: true,
            occurred_at: Some(ago(1_000)),
            lane: None,
            decided_version: Some(1),
            current_version: 2,
            extra: 0,
        }
    }

    fn state(status: Option<EndpointStatus>) -> PauseState {
        PauseState {
            endpoint: EndpointId::generate(),
            tenant: TenantId::generate(),
            status,
            skip_before: None,
            oldest_allowed: UnixMillis(0),
            excess_bytes: 0,
            rate_per_second: None,
            rate_per_second_max: None,
            profile: "standard".into(),
            now: NOW,
        }
    }

    #[test]
    fn the_fate_of_what_waits_follows_from_its_endpoint_and_the_limits() {
        use EndpointStatus::{Active, Disabled, Inactive, Paused};
        let check = |state: &PauseState, found: &LostDelivery, excess, expected: &str| {
            let fate = match fate(state, found, ago(900), excess) {
                Fate::Keep => "keep".to_owned(),
                Fate::Later => "later".to_owned(),
                Fate::Release(task) => format!("release {}", task.epoch),
                Fate::Discard(reason) => reason.to_string(),
            };
            assert_eq!(fate, expected, "{state:?}");
        };
        let found = waiting();
        for (status, expected) in [
            (Some(Paused), "keep"),
            (Some(Active), "release 1"),
            (Some(Inactive), "endpoint_inactive"),
            (Some(Disabled), "endpoint_inactive"),
            (None, "endpoint_deleted"),
        ] {
            check(&state(status), &found, 0, expected);
        }
        for status in [Paused, Active] {
            let skipped = PauseState { skip_before: Some(ago(900)), ..state(Some(status)) };
            check(&skipped, &found, 0, "skipped");
            let set_aside_later = PauseState { skip_before: Some(ago(901)), ..state(Some(status)) };
            check(&set_aside_later, &found, 0, if status == Paused { "later" } else { "release 1" });
            let old = PauseState { oldest_allowed: ago(999), ..state(Some(status)) };
            check(&old, &found, 0, "pause_limit");
            check(&state(Some(status)), &found, 1, "pause_limit");
        }
        let later = PauseState { skip_before: Some(ago(1_001)), oldest_allowed: ago(1_000), ..state(Some(Paused)) };
        check(&later, &found, 0, "keep");
        let mut replayed = waiting();
        replayed.row.delivery.generation = Generation::Retry(RetryId::generate());
        let old = PauseState { oldest_allowed: ago(999), ..state(Some(Paused)) };
        check(&old, &replayed, 0, "pause_limit");
        replayed.row.delivery.created_at = ago(999);
        check(&old, &replayed, 0, "later");
        check(&state(Some(Active)), &LostDelivery { has_payload: false, ..waiting() }, 0, "expunged");
        let unrecorded = LostDelivery { has_payload: false, occurred_at: None, ..waiting() };
        check(&state(Some(Active)), &unrecorded, 0, "later");
        let mut lost = unrecorded.clone();
        lost.row.delivery.accepted_at = ago(86_400_000);
        check(&state(Some(Active)), &lost, 0, "expired");
        let mut short = waiting();
        short.row.expires_at = ago(1);
        check(&state(Some(Active)), &short, 0, "expired");
    }

    #[test]
    fn a_release_extends_the_lifetime_but_not_an_expiry_of_the_deliverys_own() {
        let mut found = waiting();
        assert_eq!(release(&found, NOW).expires_at, NOW.plus(DELIVERY_LIFETIME));
        found.row.expires_at = UnixMillis(NOW.0 + 5);
        assert_eq!(release(&found, NOW).expires_at, UnixMillis(NOW.0 + 5));
    }

    #[test]
    fn a_release_is_as_fast_as_the_endpoint_the_profile_and_the_tenant_allow() {
        let profiles = Profiles::builtin();
        let check = |own, most, expected| {
            let state = PauseState { rate_per_second: own, rate_per_second_max: most, ..state(None) };
            assert_eq!(rate_per_second(&profiles, &state), expected);
        };
        check(None, Some(5.0), profiles.get("standard").unwrap().rate_per_second.map(|rate| rate.min(5.0)));
        check(Some(9.0), Some(5.0), Some(5.0));
        check(Some(2.0), None, Some(2.0));
    }
}
