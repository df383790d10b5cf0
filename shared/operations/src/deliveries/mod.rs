//! Deliveries: one event for one endpoint, with its attempts.

mod body;
mod manual_retry;
mod matching;
mod next_attempt;
mod phase;
mod several;
mod view;

use postrider_model::ids::DeliveryId;
use postrider_model::scope::Scope;
use postrider_store::history::Page;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::parse_id;
use crate::page::{List, PageQuery};
use crate::{Caller, Error, Operations};

pub use matching::{ChangeDeliveries, DeliveriesChanged, DeliveryRefused, DeliverySelection, MatchingCounts};
pub use next_attempt::NextAttemptReason;
pub use postrider_model::delivery_phase::DeliveryPhase;
pub use postrider_model::filters::DeliveryFilter;
pub use several::{RetryPreview, SeveralAction, SeveralDone};
pub use view::{Attempt, Delivery, DeliveryDetail, Header, PlaceInLine, Timing};

/// A delivery that will be attempted.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryAccepted {
    /// The id of the delivery: a new delivery if the requested delivery had ended, otherwise the requested delivery.
    pub id: DeliveryId,
}

/// A delivery that was cancelled.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryCancelled {
    /// Its id.
    pub id: DeliveryId,
}

impl Operations {
    /// Lists the deliveries that the caller may see. Requires the scope `read`.
    ///
    /// # Errors
    /// [`Error::TooMany`] while the tenant's other searches run.
    pub async fn list_deliveries(
        &self,
        caller: Caller,
        filter: &DeliveryFilter,
        page: &PageQuery,
    ) -> Result<List<Delivery>, Error> {
        let visible = caller.visible(Scope::Read)?;
        let _slot = if filter.is_search() { Some(self.heavy.search(visible).await?) } else { None };
        let filter = self.with_holding(visible, filter).await?;
        let page = self.store.history().list_deliveries(visible, &filter, &page.request("deliveries")?).await?;
        let Page { items, next_cursor } = page;
        let shown = Page { items: self.show_deliveries(items).await?, next_cursor };
        Ok(List::of("deliveries", shown, |delivery| delivery))
    }

    /// Reads a delivery with its attempts and the body that was sent. Requires the scope `read`.
    pub async fn read_delivery(&self, caller: Caller, id: &str) -> Result<DeliveryDetail, Error> {
        let (visible, id) = (caller.visible(Scope::Read)?, parse_id("delivery", id)?);
        let found = self.store.history().delivery_with_attempts(visible, id).await?;
        let (row, attempts) = found.ok_or(Error::NotFound("delivery"))?;
        let body = self.render_body(&row).await?;
        let place = self.store.lines().places(&[id]).await?.pop().map(PlaceInLine::from);
        let delivery = self.show_deliveries(vec![row]).await?.pop().ok_or(Error::Internal)?;
        Ok(DeliveryDetail {
            delivery,
            place,
            attempts: attempts.into_iter().map(Attempt::from).collect(),
            body: body.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        })
    }

    /// Cancels a pending delivery.
    ///
    /// # Errors
    /// Requires the scope `manage`. [`Error::Conflict`] for a delivery that has ended.
    pub async fn cancel_delivery(&self, caller: Caller, id: &str) -> Result<DeliveryCancelled, Error> {
        let (visible, id) = (caller.visible(Scope::Manage)?, parse_id("delivery", id)?);
        self.edits_of(caller)?.cancel_delivery(visible, id).await?;
        Ok(DeliveryCancelled { id })
    }
}
