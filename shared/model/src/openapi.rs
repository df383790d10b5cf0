//! OpenAPI schemas of the types that serialise as text: ids, timestamps and event types.
//!
//! Enums derive their schemas where they are defined.

use std::borrow::Cow;

use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::ids::{
    BatchId, DeliveryId, EndpointId, ErasureId, EventId, KeyId, PortalLinkId, ReplayId, SendId, TenantId,
};
use crate::timestamp::Timestamp;

macro_rules! text_schemas {
    ($($type:ident: $description:literal, $pattern:literal, $example:literal;)+) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                let text = ObjectBuilder::new().schema_type(Type::String).description(Some($description));
                text.pattern(Some($pattern)).examples([$example]).into()
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($type))
            }
        }
    )+};
}

text_schemas! {
    TenantId: "A tenant's id.", "^ten_([0-9a-f]{32}|operator)$", "ten_0197e7a1b2c37d4e8f90a1b2c3d4e5f6";
    KeyId: "An API key's id.", "^key_[0-9a-f]{32}$", "key_0197e7a1b2c37d4e8f90a1b2c3d4e5f6";
    PortalLinkId: "A portal link's id.", "^plk_[0-9a-f]{32}$", "plk_0197e7a1b2c37d4e8f90a1b2c3d4e5f6";
    EndpointId: "An endpoint's id.", "^ep_[0-9a-f]{32}$", "ep_0197e7a1b2c37d4e8f90a1b2c3d4e5f6";
    EventId: "An event's id, unique in its tenant.", "^[A-Za-z0-9_-]{1,64}$", "evt_0197e7a1b2c37d4e8f90a1b2c3d4e5f6";
    DeliveryId: "A delivery's id.", "^dlv_[0-9a-f]{32}$", "dlv_0197e7a1b2c35d4e8f90a1b2c3d4e5f6";
    ErasureId: "An erasure's id.", "^ers_[0-9a-f]{32}$", "ers_0197e7a1b2c37d4e8f90a1b2c3d4e5f6";
    ReplayId: "A replay's id.", "^rpl_[0-9a-f]{32}$", "rpl_0197e7a1b2c37d4e8f90a1b2c3d4e5f6";
    BatchId: "The id of one HTTP request with several events.", "^bat_[0-9a-f]{32}$", "bat_0197e7a1b2c37d4e8f90a1b2c3d4e5f6";
    SendId: "The id of one HTTP request.", "^snd_[0-9a-f]{32}$", "snd_0197e7a1b2c37d4e8f90a1b2c3d4e5f6";
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String);
        let text = text.format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
        text.description(Some("RFC 3339.")).examples(["2026-01-02T03:04:05.006Z"]).into()
    }
}

impl ToSchema for Timestamp {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Timestamp")
    }
}
