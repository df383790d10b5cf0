//! Retries or cancels all deliveries that match a filter, in steps of one page.

use std::str::FromStr;

use postrider_ledger::manual_retry::{RetryError, retry_deliveries};
use postrider_model::delivery::{DeliveryStatus, Lane};
use postrider_model::filters::{DeliveryFilter, ListOrder};
use postrider_model::ids::{DeliveryId, TenantId};
use postrider_model::limits::DELIVERIES_CHANGED_AT_ONCE;
use postrider_model::scope::Scope;
use postrider_store::StoreError;
use postrider_store::history::DeliveryRow;
use postrider_store::manual_retry::Retried;
use postrider_store::outbox::PendingDelivery;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::SeveralAction;
use crate::error::Mistakes;
use crate::page::{PageQuery, cursor_of};
use crate::{CONFIRM_TIMEOUT, Caller, Error, Operations};

/// The name of the list of deliveries in cursors.
const LIST: &str = "deliveries";

/// A filter of deliveries, with the parameters of `GET /v1/deliveries`. Each field narrows the selection.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeliverySelection {
    /// Only deliveries to this endpoint.
    #[schema(example = "ep_0197e7a1b2c37d4e8f90a1b2c3d4e5f6")]
    pub endpoint_id: Option<String>,
    /// Only deliveries of this event.
    pub event_id: Option<String>,
    /// Only deliveries that this replay created.
    pub replay_id: Option<String>,
    /// Only deliveries with this status.
    #[schema(example = "failed")]
    pub status: Option<String>,
    /// Only pending deliveries in this phase.
    pub phase: Option<String>,
    /// Only deliveries whose last attempt got this status code: a code, or a class of codes such as `5xx`.
    #[schema(example = "5xx")]
    pub status_code: Option<String>,
    /// Only deliveries whose last attempt ended in this way.
    pub outcome: Option<String>,
    /// Only deliveries of events of this type; `email.*` is a pattern.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// `true`: only deliveries with at least one failed attempt. `false`: only deliveries without one.
    pub failed_attempts: Option<bool>,
    /// Only deliveries created at or after this time.
    #[schema(format = DateTime, example = "2026-01-02T00:00:00Z")]
    pub from: Option<String>,
    /// Only deliveries created before this time.
    #[schema(format = DateTime, example = "2026-01-03T00:00:00Z")]
    pub to: Option<String>,
    /// `true`: only deliveries of test calls. If absent, there are none among them.
    pub test: Option<bool>,
}

/// Which deliveries to retry or cancel.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"filter": {"status": "failed", "status_code": "5xx", "from": "2026-01-02T00:00:00Z"}}))]
pub struct ChangeDeliveries {
    /// The filter; `{}` selects all deliveries.
    pub filter: DeliverySelection,
    /// The `next_cursor` of the previous call with the same filter.
    pub cursor: Option<String>,
    /// Whether to count the deliveries without changing any.
    pub dry_run: Option<bool>,
}

/// What was done with the deliveries that match a filter.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct DeliveriesChanged {
    /// The number of deliveries that were retried or cancelled.
    pub changed: u64,
    /// The deliveries of this step that were not changed, each with the reason.
    pub refused: Vec<DeliveryRefused>,
    /// The `cursor` of the next call; `null` if no more deliveries match, and in the answer to a dry run.
    #[schema(required = true, example = json!(null))]
    pub next_cursor: Option<String>,
    /// The counts of a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matching: Option<MatchingCounts>,
}

/// A delivery that was not changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryRefused {
    /// Its id.
    pub id: DeliveryId,
    /// Why it was not changed.
    #[schema(example = "this event was sent to the endpoint again later")]
    pub detail: String,
}

/// The deliveries that match a filter and that the change concerns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct MatchingCounts {
    /// Pending deliveries: a retry attempts them now, a cancel ends them.
    pub pending: u64,
    /// Deliveries that have ended, which a retry sends again as new deliveries; 0 for a cancel.
    pub ended: u64,
    /// Deliveries in `ended` that had reached their endpoint. A retry leaves them out unless the filter's status is `delivered`.
    pub delivered: u64,
    /// Whether the count stopped at its limit, so that more deliveries may match.
    pub more: bool,
}

impl DeliverySelection {
    /// The filter of lists with these conditions.
    ///
    /// # Errors
    /// [`Error::Invalid`] names each wrong field.
    pub fn filter(&self) -> Result<DeliveryFilter, Error> {
        let mut mistakes = Mistakes::default();
        let filter = DeliveryFilter {
            endpoint: parse(&self.endpoint_id, "endpoint_id", &mut mistakes),
            event: parse(&self.event_id, "event_id", &mut mistakes),
            replay: parse(&self.replay_id, "replay_id", &mut mistakes),
            status: parse(&self.status, "status", &mut mistakes),
            phase: parse(&self.phase, "phase", &mut mistakes),
            status_code: parse(&self.status_code, "status_code", &mut mistakes),
            outcome: parse(&self.outcome, "outcome", &mut mistakes),
            event_type: parse(&self.event_type, "type", &mut mistakes),
            from: parse(&self.from, "from", &mut mistakes),
            to: parse(&self.to, "to", &mut mistakes),
            failed_attempts: self.failed_attempts,
            test: self.test,
            ..DeliveryFilter::default()
        };
        if filter.from.zip(filter.to).is_some_and(|(from, to)| from >= to) {
            mistakes.add("/filter/from", "must lie before `to`");
        }
        mistakes.finish()?;
        Ok(filter)
    }
}

fn parse<T: FromStr<Err: std::fmt::Display>>(text: &Option<String>, field: &str, mistakes: &mut Mistakes) -> Option<T> {
    let read = text.as_deref()?.parse();
    read.map_err(|error| mistakes.add(format!("/filter/{field}"), format!("{error}"))).ok()
}

/// The filter of the deliveries that an action can concern.
///
/// # Errors
/// [`Error::Invalid`] if the filter selects only deliveries that cannot be cancelled.
fn concerned(filter: &DeliveryFilter, action: SeveralAction) -> Result<DeliveryFilter, Error> {
    // Newest first: a retry creates newer deliveries, which the next steps do not reach.
    let order = Some(ListOrder::Newest);
    let filter = DeliveryFilter { order, test: filter.test.or(Some(false)), ..filter.clone() };
    match (action, filter.status) {
        (SeveralAction::Cancel, Some(status)) if status != DeliveryStatus::Pending => Err(Error::invalid(
            "/filter/status",
            format!("only pending deliveries can be cancelled, not {status} ones"),
        )),
        (SeveralAction::Cancel, _) if filter.phase.is_none() => {
            Ok(DeliveryFilter { status: Some(DeliveryStatus::Pending), ..filter })
        }
        _ => Ok(filter),
    }
}

impl Operations {
    /// Counts the deliveries that a change of all that match the filter would concern.
    ///
    /// # Errors
    /// Requires the scope `manage`. [`Error::Invalid`] for an operator without a tenant, or a filter that contradicts the action;
    /// [`Error::TooMany`] while the tenant's other searches run.
    pub async fn count_matching(
        &self,
        caller: Caller,
        action: SeveralAction,
        filter: &DeliveryFilter,
    ) -> Result<MatchingCounts, Error> {
        let tenant = caller.tenant(Scope::Manage)?;
        let filter = concerned(filter, action)?;
        let _slot = self.heavy.search(Some(tenant)).await?;
        let filter = self.with_holding(Some(tenant), &filter).await?;
        let found = self.store.history().count_deliveries(tenant, &filter).await?;
        let mut counts = MatchingCounts { more: found.is_cut, ..MatchingCounts::default() };
        for (status, number) in found.by_status {
            match status {
                DeliveryStatus::Pending => counts.pending += number,
                DeliveryStatus::Delivered if filter.status != Some(DeliveryStatus::Delivered) => {}
                _ => {
                    counts.ended += number;
                    counts.delivered += if status == DeliveryStatus::Delivered { number } else { 0 };
                }
            }
        }
        Ok(counts)
    }

    /// Retries or cancels up to [`DELIVERIES_CHANGED_AT_ONCE`] deliveries that match the filter, newest first, as one change. The
    /// next call with the returned cursor continues. A retry leaves out delivered deliveries, unless the filter's status is
    /// `delivered`, and refuses deliveries whose event was sent to the endpoint again later, so that repeated calls send nothing
    /// twice. Deliveries of test calls are left out unless the filter names them.
    ///
    /// # Errors
    /// See [`Operations::count_matching`]; [`Error::TooMany`] also if the tenant's changes are used up.
    pub async fn change_matching(
        &self,
        caller: Caller,
        action: SeveralAction,
        filter: &DeliveryFilter,
        cursor: Option<&str>,
    ) -> Result<DeliveriesChanged, Error> {
        let tenant = caller.tenant(Scope::Manage)?;
        let filter = concerned(filter, action)?;
        let _slot = self.heavy.search(Some(tenant)).await?;
        let filter = self.with_holding(Some(tenant), &filter).await?;
        let page = PageQuery { limit: DELIVERIES_CHANGED_AT_ONCE, cursor: cursor.map(str::to_owned) };
        let page = self.store.history().list_deliveries(Some(tenant), &filter, &page.request(LIST)?).await?;
        let next_cursor = page.next_cursor.map(|place| cursor_of(LIST, &place));
        let mut rows = page.items;
        if filter.status != Some(DeliveryStatus::Delivered) {
            rows.retain(|row| row.status != DeliveryStatus::Delivered);
        }
        // Recorders lock the rows of a batch in this order.
        rows.sort_by_key(|row| (row.delivery.delivery_day, row.delivery.id));
        if rows.is_empty() {
            return Ok(DeliveriesChanged { next_cursor, ..DeliveriesChanged::default() });
        }
        let (changed, refused) = match action {
            SeveralAction::Cancel => self.cancel_rows(caller, tenant, &rows).await?,
            SeveralAction::Retry => self.retry_rows(caller, tenant, rows).await?,
        };
        Ok(DeliveriesChanged { changed, refused, next_cursor, matching: None })
    }

    async fn cancel_rows(
        &self,
        caller: Caller,
        tenant: TenantId,
        rows: &[DeliveryRow],
    ) -> Result<(u64, Vec<DeliveryRefused>), Error> {
        let ids: Vec<DeliveryId> = rows.iter().map(|row| row.delivery.id).collect();
        let cancelled = self.edits_of(caller)?.cancel_deliveries(Some(tenant), &ids).await?;
        let detail = || "it ended before it could be cancelled".to_owned();
        let refused = ids.into_iter().filter(|id| !cancelled.contains(id));
        Ok((cancelled.len() as u64, refused.map(|id| DeliveryRefused { id, detail: detail() }).collect()))
    }

    async fn retry_rows(
        &self,
        caller: Caller,
        tenant: TenantId,
        rows: Vec<DeliveryRow>,
    ) -> Result<(u64, Vec<DeliveryRefused>), Error> {
        let again = self.store.history().sent_again(tenant, &rows).await?;
        let (superseded, rows): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row.status.is_terminal() && again.contains(&row.delivery.id));
        let detail = || "this event was sent to the endpoint again later".to_owned();
        let mut refused: Vec<_> =
            superseded.iter().map(|row| DeliveryRefused { id: row.delivery.id, detail: detail() }).collect();
        let ids: Vec<DeliveryId> = rows.iter().map(|row| row.delivery.id).collect();
        if ids.is_empty() {
            return Ok((0, refused));
        }
        let results = retry_deliveries(&self.edits_of(caller)?, Some(tenant), &ids, Lane::Bulk).await?;
        let (mut changed, mut pending) = (0, Vec::new());
        for (id, result) in ids.into_iter().zip(results) {
            match result {
                Ok(retried) => {
                    changed += 1;
                    pending.extend(Retried::committed(retried));
                }
                Err(RetryError::Store(StoreError::NotFound { what })) => {
                    refused.push(DeliveryRefused { id, detail: Error::NotFound(what).to_string() });
                }
                Err(error) => refused.push(DeliveryRefused { id, detail: error.to_string() }),
            }
        }
        self.publish_retries(pending).await;
        Ok((changed, refused))
    }

    /// Publishes committed retries. Waits at most [`CONFIRM_TIMEOUT`]; after that, publishing continues in the background.
    async fn publish_retries(&self, pending: Vec<PendingDelivery>) {
        let relay = self.relay.clone();
        // The publishing runs in a task, so that it continues if the client disconnects.
        let publishing = tokio::spawn(async move {
            for one in pending {
                if let Err(error) = relay.publish_delivery(&one).await {
                    let id = one.task.delivery.id;
                    tracing::warn!(delivery.id = %id, %error, "cannot publish a retry; the outbox relay publishes it and the following ones");
                    return;
                }
            }
        });
        if tokio::time::timeout(CONFIRM_TIMEOUT, publishing).await.is_err() {
            tracing::warn!("retries are committed, but not all are confirmed in time; publishing continues");
        }
    }
}
