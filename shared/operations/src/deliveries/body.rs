//! The body that a delivery sent, rendered again.

use postrider_ledger::body;
use postrider_model::delivery::BodyKind;
use postrider_model::ids::Generation;
use postrider_model::scope::Scope;
use postrider_profiles::Profile;
use postrider_store::config::EventTypeAt;
use postrider_store::history::{DeliveryRow, TestData};
use postrider_wire::messages::DeliveryRef;
use serde_json::value::RawValue;

use super::Delivery;
use crate::test_event::TestBody;
use crate::{Caller, Error, Operations};

impl Operations {
    /// Renders the body of a delivery again, from its event and from the endpoint at the configuration version of fan-out's
    /// decision. Returns `None` if the payload was expunged or has expired, or for a test call whose data is no longer known.
    pub(super) async fn render_body(&self, row: &DeliveryRow) -> Result<Option<Vec<u8>>, Error> {
        let Some(tenant) = self.store.config().get_tenant(row.delivery.tenant).await? else { return Ok(None) };
        let profile = self.profile(&tenant.draft.profile)?;
        if row.is_test() {
            return self.render_test_body(row, profile).await;
        }
        let event = self.store.history().get_event(row.delivery.tenant, &row.delivery.event).await?;
        let Some(event) = event.filter(|event| event.summary.event_day == row.delivery.event_day) else {
            return Ok(None);
        };
        let Some(view) = body::view(&event) else { return Ok(None) };
        let decision =
            self.store.history().get_decision(row.delivery.tenant, &row.delivery.event, row.delivery.event_day).await?;
        // A replay renders for the current version of the endpoint, which may be newer than the version of the decision.
        let replayed = matches!(row.delivery.generation, Generation::Replay(_));
        let version = decision.filter(|_| !replayed).map(|decision| decision.config_version);
        let kind = self.body_kind(row, version).await?;
        Ok(Some(profile.render(&view, kind)))
    }

    /// Whether the history has data that a caller entered for this test call. [`Operations::expunge_payload`] erases it.
    ///
    /// # Errors
    /// Requires the scope `read`.
    pub async fn has_edited_data(&self, caller: Caller, delivery: &Delivery) -> Result<bool, Error> {
        caller.may(Scope::Read, delivery.tenant_id)?;
        if !delivery.test {
            return Ok(false);
        }
        Ok(matches!(self.store.history().test_data(delivery.id).await?, TestData::Edited(_)))
    }

    /// Renders the body of a test call again. Returns `None` if the catalog's sample changed since, or if the call's own data is
    /// no longer kept.
    async fn render_test_body(&self, row: &DeliveryRow, profile: &Profile) -> Result<Option<Vec<u8>>, Error> {
        let DeliveryRef { tenant, event_type, event, created_at, accepted_at, .. } = &row.delivery;
        let definition = match self.store.config().event_type_at(*tenant, event_type, *created_at).await? {
            EventTypeAt::Known(definition) => Some(definition),
            EventTypeAt::Absent => None,
            EventTypeAt::EditedSince => return Ok(None),
        };
        let sample = TestBody::of(profile, Some(event_type), definition.as_ref(), event, *created_at, *accepted_at);
        let test = match self.store.history().test_data(row.delivery.id).await? {
            TestData::Sample => sample,
            TestData::Edited(data) => {
                sample.zip(RawValue::from_string(data).ok()).map(|(sample, data)| sample.with_data(data))
            }
            TestData::Dropped => None,
        };
        let kind = self.body_kind(row, None).await?;
        Ok(test.map(|test| test.render(profile, kind)))
    }

    /// Returns the format of the endpoint's bodies at a configuration version, or the current format if the endpoint at that
    /// version is not stored.
    async fn body_kind(&self, row: &DeliveryRow, version: Option<i64>) -> Result<BodyKind, Error> {
        if let Some(version) = version
            && let Some(endpoint) = self.store.config().endpoint_at(row.delivery.endpoint, version).await?
        {
            return Ok(endpoint.document.body_kind());
        }
        let endpoint = self.store.config().get_endpoint(None, row.delivery.endpoint).await?;
        Ok(endpoint.map(|endpoint| endpoint.document.body_kind()).unwrap_or_default())
    }
}
