//! Retries or cancels several deliveries, such as the ones chosen on a page of the dashboard.

use std::collections::BTreeSet;

use postrider_model::delivery::DeliveryStatus;
use postrider_model::limits::PAGE_MAX;
use postrider_model::scope::Scope;

use crate::{Caller, Error, Operations};

/// What to do with several deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeveralAction {
    /// Attempt each delivery now, see [`Operations::retry_delivery`].
    Retry,
    /// Cancel each delivery, see [`Operations::cancel_delivery`].
    Cancel,
}

/// What was done with several deliveries.
#[derive(Debug, Default)]
pub struct SeveralDone {
    /// The number of deliveries that were retried or cancelled.
    pub done: u64,
    /// The other deliveries, each with the reason.
    pub refused: Vec<(String, Error)>,
}

/// The numbers of deliveries that a retry would attempt. Deliveries that do not exist are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetryPreview {
    /// Pending deliveries, which would be attempted now.
    pub pending: u64,
    /// Deliveries that have ended, which would be sent again as new deliveries.
    pub ended: u64,
    /// Deliveries in `ended` that had already reached their endpoint.
    pub delivered: u64,
}

/// Requires 1 to [`PAGE_MAX`] ids.
fn check_number(ids: &[String]) -> Result<(), Error> {
    if (1..=PAGE_MAX as usize).contains(&ids.len()) {
        return Ok(());
    }
    Err(Error::invalid("/delivery_id", format!("choose 1 to {PAGE_MAX} deliveries, got {}", ids.len())))
}

impl Operations {
    /// Counts what a retry of these deliveries would do.
    ///
    /// # Errors
    /// Requires the scope `manage`. [`Error::Invalid`] for fewer than 1 or more than [`PAGE_MAX`] deliveries.
    pub async fn preview_retry(&self, caller: Caller, ids: &[String]) -> Result<RetryPreview, Error> {
        let visible = caller.visible(Scope::Manage)?;
        check_number(ids)?;
        let mut preview = RetryPreview::default();
        for id in ids.iter().filter_map(|id| id.parse().ok()) {
            match self.store.history().get_delivery(visible, id).await?.map(|row| row.status) {
                None => {}
                Some(DeliveryStatus::Pending) => preview.pending += 1,
                Some(status) => {
                    preview.ended += 1;
                    preview.delivered += u64::from(status == DeliveryStatus::Delivered);
                }
            }
        }
        Ok(preview)
    }

    /// Retries or cancels these deliveries, one after the other. A repeated id is used once. If one delivery is refused, the
    /// others are still changed. Each delivery counts as one change.
    ///
    /// # Errors
    /// Requires the scope `manage`. [`Error::Invalid`] for fewer than 1 or more than [`PAGE_MAX`] deliveries.
    /// [`Error::Unavailable`] and [`Error::Internal`] end the work; deliveries that were changed before the error remain changed.
    pub async fn change_deliveries(
        &self,
        caller: Caller,
        ids: &[String],
        action: SeveralAction,
    ) -> Result<SeveralDone, Error> {
        caller.visible(Scope::Manage)?;
        check_number(ids)?;
        let mut result = SeveralDone::default();
        for id in ids.iter().collect::<BTreeSet<_>>() {
            let done = match action {
                SeveralAction::Retry => self.retry_delivery(caller, id).await.map(|_| ()),
                SeveralAction::Cancel => self.cancel_delivery(caller, id).await.map(|_| ()),
            };
            match done {
                Ok(()) => result.done += 1,
                Err(error @ (Error::Unavailable { .. } | Error::Internal)) => return Err(error),
                Err(error) => result.refused.push((id.clone(), error)),
            }
        }
        Ok(result)
    }
}
