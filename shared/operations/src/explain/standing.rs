//! What became of a delivery, in a sentence for people who read the API's answers. The dashboard has translated texts.

use postrider_model::batch::Batch;
use postrider_model::delivery::{DeliveryStatus, DiscardReason, HeldReason};
use postrider_model::delivery_phase::DeliveryPhase;
use postrider_model::timestamp::Timestamp;

use crate::deliveries::{Delivery, PlaceInLine};

/// Returns the sentence. `event_expires_at` is the expiry of the delivery's event, if it has one; `place` is the delivery's place in
/// a line, if it is in one; `batch` is set if the endpoint is batched.
pub(super) fn standing(
    delivery: &Delivery,
    event_expires_at: Option<Timestamp>,
    place: Option<&PlaceInLine>,
    batch: Option<&Batch>,
) -> String {
    let attempts = match delivery.attempt_count {
        1 => "1 attempt".to_owned(),
        count => format!("{count} attempts"),
    };
    match delivery.status {
        DeliveryStatus::Pending => pending(delivery, place, batch),
        DeliveryStatus::Delivered => format!("delivered after {attempts}"),
        DeliveryStatus::Failed => format!("failed after {attempts}{}", holding(delivery, place)),
        DeliveryStatus::Cancelled => format!("cancelled after {attempts}"),
        DeliveryStatus::Discarded => {
            let why = match delivery.discard_reason {
                Some(DiscardReason::Expired) if event_expires_at == Some(delivery.expires_at) => {
                    format!("the event expires at {}, and no attempt may start later", delivery.expires_at)
                }
                Some(DiscardReason::Expired) => {
                    format!("a delivery is pending for at most 7 days, here until {}", delivery.expires_at)
                }
                Some(DiscardReason::EndpointDeleted) => "the endpoint was deleted".to_owned(),
                Some(DiscardReason::EndpointInactive) => "the endpoint was inactive when an attempt was due".to_owned(),
                Some(DiscardReason::Expunged) => "the event's payload was expunged".to_owned(),
                Some(DiscardReason::Skipped) => "it was skipped while the endpoint was paused".to_owned(),
                Some(DiscardReason::PauseLimit) => "it waited for the paused endpoint beyond the limit".to_owned(),
                Some(DiscardReason::LinesFull) => "too many deliveries waited for their turn".to_owned(),
                None => "unknown reason".to_owned(),
            };
            format!("discarded after {attempts}: {why}")
        }
    }
}

/// What follows for the deliveries with the same key, if this failed delivery holds the key.
fn holding(delivery: &Delivery, place: Option<&PlaceInLine>) -> String {
    match place {
        Some(place) if place.held && place.first_delivery_id == delivery.id => {
            format!("; it holds the key {:?} until a person retries or skips it", place.key)
        }
        _ => String::new(),
    }
}

/// For what a delivery waits that is not the first of its key.
fn in_line(place: Option<&PlaceInLine>) -> String {
    let Some(PlaceInLine { key, ahead, first_delivery_id: first, held, .. }) = place else {
        return "waits for its turn: earlier deliveries with its key have not ended".to_owned();
    };
    let position = match ahead {
        0 => format!("waits for its turn with the key {key:?}: deliveries in the order before an edit have not ended"),
        1 => format!("waits behind {first}, which has the same key {key:?}"),
        _ => format!("waits behind {ahead} deliveries with the same key {key:?}, the first of which is {first}"),
    };
    if *held { format!("{position}: it failed, and a person must retry or skip it") } else { position }
}

fn pending(delivery: &Delivery, place: Option<&PlaceInLine>, batch: Option<&Batch>) -> String {
    let due = delivery.next_attempt_at.map(|at| format!(" at {at}")).unwrap_or_default();
    match (delivery.phase, delivery.held_reason) {
        (Some(DeliveryPhase::Scheduled), _) => {
            format!("scheduled: the first attempt is due{due}, the event's deliver_at")
        }
        (Some(DeliveryPhase::Retrying), _) => format!("an attempt failed, the next is due{due}"),
        (Some(DeliveryPhase::Held), Some(HeldReason::Breaker)) => "held back: the endpoint fails".to_owned(),
        (Some(DeliveryPhase::Held), _) => "held back by the endpoint's rate".to_owned(),
        (Some(DeliveryPhase::Waiting), _) => "waits behind other deliveries".to_owned(),
        (Some(DeliveryPhase::Paused), _) => "waits because the endpoint was paused, until it is resumed".to_owned(),
        (Some(DeliveryPhase::InLine), _) => in_line(place),
        _ => match batch {
            Some(batch) => format!(
                "an attempt is due or in progress; the endpoint is batched, so the event may wait up to {} ms for others",
                batch.wait_ms_max
            ),
            None => "an attempt is due or in progress".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use postrider_model::ids::{DeliveryId, EndpointId, EventId, Generation, TenantId};
    use postrider_model::time::UnixMillis;

    use super::*;

    fn delivery(status: DeliveryStatus) -> Delivery {
        let (tenant, event, endpoint) = (TenantId::generate(), EventId::generate(), EndpointId::generate());
        let at = Timestamp(UnixMillis(1_703_123_456_000));
        Delivery {
            id: DeliveryId::derive(tenant, &event, endpoint, &Generation::First),
            tenant_id: tenant,
            event_id: event,
            endpoint_id: endpoint,
            event_type: "a.b".into(),
            status,
            phase: None,
            held_reason: None,
            discard_reason: None,
            created_at: at,
            next_attempt_at: None,
            finished_at: None,
            expires_at: at,
            generation: Generation::First,
            origin_id: None,
            test: false,
            attempt_count: 2,
            status_code: None,
            outcome: None,
        }
    }

    #[test]
    fn an_expired_event_is_told_from_a_delivery_at_the_end_of_its_lifetime() {
        let expired = Delivery { discard_reason: Some(DiscardReason::Expired), ..delivery(DeliveryStatus::Discarded) };
        assert_eq!(
            standing(&expired, Some(expired.expires_at), None, None),
            "discarded after 2 attempts: the event expires at 2023-12-21T01:50:56.000Z, and no attempt may start later"
        );
        assert_eq!(
            standing(&expired, None, None, None),
            "discarded after 2 attempts: a delivery is pending for at most 7 days, here until 2023-12-21T01:50:56.000Z"
        );
    }

    #[test]
    fn a_delivery_of_a_batched_endpoint_may_wait_for_others() {
        let pending = delivery(DeliveryStatus::Pending);
        let sentence = standing(&pending, None, None, Some(&Batch { wait_ms_max: 250, ..Batch::default() }));
        assert!(sentence.ends_with("may wait up to 250 ms for others"), "{sentence}");
    }

    #[test]
    fn a_scheduled_delivery_names_its_time() {
        let at = Some(Timestamp(UnixMillis(1_703_123_456_000)));
        let pending = delivery(DeliveryStatus::Pending);
        let scheduled = Delivery { phase: Some(DeliveryPhase::Scheduled), next_attempt_at: at, ..pending };
        assert_eq!(
            standing(&scheduled, None, None, None),
            "scheduled: the first attempt is due at 2023-12-21T01:50:56.000Z, the event's deliver_at"
        );
    }

    #[test]
    fn a_delivery_in_line_names_the_delivery_that_it_waits_for() {
        let waits = Delivery { phase: Some(DeliveryPhase::InLine), ..delivery(DeliveryStatus::Pending) };
        let first = delivery(DeliveryStatus::Failed);
        let place = |ahead, held| PlaceInLine { key: "17".into(), ahead, behind: 0, first_delivery_id: first.id, held };
        let check = |ahead, held, expected: String| {
            assert_eq!(standing(&waits, None, Some(&place(ahead, held)), None), expected);
        };
        let first_id = first.id;
        check(1, false, format!("waits behind {first_id}, which has the same key \"17\""));
        check(
            2,
            true,
            format!(
                "waits behind 2 deliveries with the same key \"17\", the first of which is {first_id}: it failed, and a person \
                 must retry or skip it"
            ),
        );
        let holds = "failed after 2 attempts; it holds the key \"17\" until a person retries or skips it";
        assert_eq!(standing(&first, None, Some(&place(0, true)), None), holds);
        assert_eq!(standing(&first, None, None, None), "failed after 2 attempts");
    }
}
