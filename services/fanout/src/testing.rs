//! Configuration for the unit tests of this crate.

use postrider_model::delivery::BodyKind;
use postrider_model::ids::{EndpointId, TenantId};
use postrider_store::feed::{Changes, EndpointSubscription, FeedTenant};

pub(crate) fn tenant(id: TenantId, profile: &str) -> FeedTenant {
    FeedTenant {
        id,
        profile: profile.into(),
        external_id: None,
        limits: Default::default(),
        enforce_catalog: false,
        enforce_schemas: false,
        disable_after_days: None,
        ordered: false,
        version: 1,
    }
}

pub(crate) fn subscription(tenant: TenantId, endpoint: EndpointId, event_type: &str) -> EndpointSubscription {
    EndpointSubscription {
        endpoint,
        tenant,
        event_types: [event_type.to_owned()].into(),
        filters: Box::default(),
        payload_filter: None,
        body_kind: BodyKind::Json,
        paused: false,
        ordering: None,
        version: 1,
    }
}

pub(crate) fn snapshot(tenants: Vec<FeedTenant>, subscriptions: Vec<EndpointSubscription>) -> Changes {
    Changes { version: 1, snapshot: true, tenants, subscriptions, ..Changes::default() }
}
