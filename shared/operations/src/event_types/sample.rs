//! The sample of an event type as an endpoint receives it.

use postrider_model::delivery::BodyKind;
use postrider_model::event::EventType as Name;
use postrider_model::ids::EventId;
use postrider_model::scope::Scope;
use postrider_model::time::UnixMillis;
use postrider_profiles::Profile;
use postrider_store::config::TenantEventType;

use super::EventType;
use crate::error::parse_id;
use crate::test_event::TestBody;
use crate::{Caller, Error, Operations};

/// The id of every sample, so that the same catalog gives the same document.
pub(crate) const SAMPLE_ID: &str = "evt_019b7c8ee34e7d4e8f90a1b2c3d4e5f6";
/// The time of every sample.
pub(crate) const SAMPLED_AT: UnixMillis = UnixMillis(1_767_323_045_006);

/// An event type with the body that an endpoint receives for its sample.
#[derive(Debug)]
pub struct SampledEventType {
    /// The type.
    pub event_type: EventType,
    /// The body of a test call of this type, with a constant id and time; `None` if the type has no sample.
    pub body: Option<String>,
}

impl SampledEventType {
    /// Merges the profile's type with the tenant's definition of it, and renders the sample. `None` if both are missing.
    pub(super) fn of(profile: &Profile, name: &Name, own: Option<TenantEventType>) -> Option<Self> {
        let id: EventId = SAMPLE_ID.parse().ok()?;
        let named = profile.event_type(name.as_str());
        let body = TestBody::of(profile, Some(name), own.as_ref(), &id, SAMPLED_AT, SAMPLED_AT);
        let event_type = EventType::of(named, own)?;
        let body = body.filter(|_| event_type.sample.is_some()).map(|body| body.render(profile, BodyKind::Json));
        Some(Self { event_type, body: body.and_then(|body| String::from_utf8(body).ok()) })
    }
}

impl Operations {
    /// Reads an event type of the catalog with its rendered sample. Requires the scope `read`.
    pub async fn sample_event_type(&self, caller: Caller, name: &str) -> Result<SampledEventType, Error> {
        let (tenant, name): (_, Name) = (caller.tenant(Scope::Read)?, parse_id("event type", name)?);
        let own = self.store.config().get_event_type(tenant, &name).await?;
        let profile = self.profile_of(tenant).await?;
        SampledEventType::of(profile, &name, own).ok_or(Error::NotFound("event type"))
    }
}
