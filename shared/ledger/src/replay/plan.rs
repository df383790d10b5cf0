//! Plans the deliveries of a replay's page: new deliveries, and pending deliveries that a recovery attempts now.

use std::sync::Arc;

use postrider_model::delivery::{BodyKind, Lane, Trigger};
use postrider_model::delivery_phase::ON_ITS_WAY;
use postrider_model::ids::{DeliveryId, EndpointId, Generation, TenantId};
use postrider_model::replay::{DecidedWhile, ReplayChoice, ReplaySelection};
use postrider_model::time::UnixMillis;
use postrider_store::StoreError;
use postrider_store::history::{DeliveryRow, EventRow};
use postrider_store::replay::{PendingRetry, Replay, ReplayCandidate, ReplayPage};
use postrider_wire::messages::{DeliveryRef, DeliveryTask};

use super::targets::{Match, Targets};
use crate::attempt::next_attempt;

/// A delivery of an event to an endpoint.
pub(super) struct Again {
    endpoint: EndpointId,
    pub(super) body: BodyKind,
    /// The delivery that the event itself caused for this endpoint, if there is one.
    repeats: Option<DeliveryId>,
    /// The pending delivery to attempt now; `None` if a new delivery is created.
    hurried: Option<Hurried>,
}

/// A pending delivery to attempt now.
struct Hurried {
    pending: PendingRetry,
    /// The configuration version of its event's decision.
    config_version: i64,
}

/// The deliveries of a page.
#[derive(Default)]
pub(super) struct Planned {
    /// Events with at least one delivery, in order of acceptance.
    pub(super) events: Vec<(EventRow, Vec<Again>)>,
    pub(super) deliveries: u64,
    /// Number of the deliveries whose event was decided while the endpoint was off.
    pub(super) missed: u64,
    /// Number of the deliveries that are pending and attempted now.
    pub(super) hurried: u64,
    /// Number of events that were read for the page.
    pub(super) walked: usize,
    /// Number of bytes of payloads that were read.
    pub(super) bytes: u64,
    /// Number of steps of payload filters.
    pub(super) steps: u64,
}

/// Plans the deliveries of a replay.
pub(super) struct Plan<'a> {
    pub(super) tenant: TenantId,
    pub(super) selection: &'a ReplaySelection,
    pub(super) targets: &'a Arc<Targets>,
    /// Maximum number of pending deliveries that the page attempts now. The other deliveries are attempted by their schedule.
    pub(super) hurried_max: u64,
    pub(super) now: UnixMillis,
}

impl Plan<'_> {
    /// Plans a page. The page ends early once it has `deliveries_max` deliveries. Payload filters run on a blocking thread.
    pub(super) async fn page(&self, page: ReplayPage, deliveries_max: u64) -> Result<Planned, StoreError> {
        let mut planned = Planned::default();
        for (mut candidate, matches) in Targets::match_all(self.targets, page.candidates).await? {
            if planned.deliveries >= deliveries_max {
                break;
            }
            let mut of_event = Vec::new();
            for found in matches.endpoints {
                let Some(again) = self.again(&mut candidate, &found) else { continue };
                if again.hurried.is_some() && planned.hurried >= self.hurried_max {
                    continue;
                }
                planned.missed += u64::from(found.decided_while == DecidedWhile::EndpointOff);
                planned.hurried += u64::from(again.hurried.is_some());
                of_event.push(again);
            }
            let event = candidate.event;
            planned.walked += 1;
            planned.steps += matches.steps;
            planned.bytes += event.data.as_deref().map_or(0, <[u8]>::len) as u64;
            planned.deliveries += of_event.len() as u64;
            if !of_event.is_empty() {
                planned.events.push((event, of_event));
            }
        }
        Ok(planned)
    }

    /// Returns the delivery to make of an event to an endpoint that matches it, if any.
    fn again(&self, candidate: &mut ReplayCandidate, found: &Match) -> Option<Again> {
        let endpoint = found.endpoint;
        let earlier = candidate.earlier.get(&endpoint).map_or(&[][..], Vec::as_slice);
        let id = &candidate.event.summary.id;
        let first = || DeliveryId::derive(self.tenant, id, endpoint, &Generation::First);
        let repeats = candidate.decided.contains(&endpoint).then(first);
        match self.selection.choose(earlier, found.decided_while) {
            ReplayChoice::Skip => None,
            ReplayChoice::Deliver => {
                Some(Again { endpoint, body: self.targets.body(endpoint)?, repeats, hurried: None })
            }
            ReplayChoice::Hurry => {
                let config_version = candidate.config_version?;
                let waits = |pending: &PendingRetry| waits_for_retry(&pending.row, self.now);
                let at = candidate.pending.iter().position(waits)?;
                let pending = candidate.pending.swap_remove(at);
                // A retried delivery has the same bytes, so it has the format at the time of its decision. A delivery of a
                // replay has the current format.
                let body = match pending.row.delivery.generation {
                    Generation::Replay(_) => self.targets.body(endpoint),
                    _ => self.targets.body_at(endpoint, config_version),
                };
                Some(Again { endpoint, body: body?, repeats, hurried: Some(Hurried { pending, config_version }) })
            }
        }
    }
}

/// Whether a pending delivery waits for a retry that is not due soon. False before the first attempt, because the delivery is
/// queued or held and will be attempted anyway. Also false if the retry is due soon, because a dispatcher might attempt the
/// copy in a delay queue before it receives the intervention that makes the copy stale.
fn waits_for_retry(row: &DeliveryRow, now: UnixMillis) -> bool {
    row.number > 0 && row.next_attempt_at.is_some_and(|due| due > now.plus(ON_ITS_WAY))
}

/// The message of a delivery. The id of a new delivery is derived from the replay, so that a repeated page creates no second
/// delivery.
pub(super) fn task(
    replay: &Replay,
    event: &EventRow,
    again: &Again,
    config_version: i64,
    now: UnixMillis,
) -> DeliveryTask {
    let summary = &event.summary;
    if let Some(Hurried { pending, config_version }) = &again.hurried {
        let extra = pending.extra.saturating_add(1);
        let next = next_attempt(&pending.row, extra, Trigger::Manual, Lane::Bulk, *config_version);
        return DeliveryTask { occurred_at: summary.occurred_at, ..next };
    }
    let delivery = DeliveryRef {
        // The day of the replay, not the current day, because a page that is repeated after midnight must refer to the same
        // rows.
        delivery_day: replay.created_at.day(),
        repeats: again.repeats,
        ..DeliveryRef::new(summary.event_ref(), again.endpoint, Generation::Replay(replay.id), now)
    };
    let first = DeliveryTask::first_attempt(delivery, Trigger::Replay, summary.occurred_at, config_version);
    DeliveryTask { lane: Lane::Bulk, ..first }
}
