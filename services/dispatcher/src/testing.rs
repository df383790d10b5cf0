//! Fixtures of this crate's unit tests.

use postrider_model::delivery::{EndpointStatus, Trigger};
use postrider_model::endpoint::Channel;
use postrider_model::ids::{EndpointId, EventId, Generation, TenantId};
use postrider_model::tenant_limits::TenantLimits;
use postrider_model::time::UnixMillis;
use postrider_signature::generate_secret;
use postrider_store::config::{EndpointDocument, EndpointPrivate, EndpointSecrets, PushoverCredentials};
use postrider_store::endpoint::DispatchEndpoint;
use postrider_wire::messages::{DeliveryRef, DeliveryTask, EventRef};

use crate::ServiceUrls;

pub(crate) const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// Creates a delivery whose first attempt is due now.
pub(crate) fn task() -> DeliveryTask {
    let (tenant, endpoint, event) = (TenantId::generate(), EndpointId::generate(), EventId::generate());
    let event = EventRef::new(tenant, event, "lead.created".parse().unwrap(), NOW);
    let delivery = DeliveryRef::new(event, endpoint, Generation::First, NOW);
    DeliveryTask::first_attempt(delivery, Trigger::First, NOW, 7)
}

/// Creates an active endpoint of a tenant with this profile.
pub(crate) fn endpoint(profile: &str) -> DispatchEndpoint {
    let document = EndpointDocument {
        name: "test".into(),
        url: Some("https://hooks.example.com/in".into()),
        event_types: vec!["*".into()],
        ..EndpointDocument::default()
    };
    DispatchEndpoint {
        id: EndpointId::generate(),
        tenant: TenantId::generate(),
        document,
        status: EndpointStatus::Active,
        secrets: EndpointSecrets { current: generate_secret(), previous: Vec::new(), next: None },
        private: EndpointPrivate::default(),
        profile: profile.into(),
        limits: TenantLimits::default(),
        disable_after_days: None,
        version: 5,
        config_version: 7,
    }
}

/// The URLs of the services.
pub(crate) fn service_urls() -> ServiceUrls {
    ServiceUrls {
        pushover: "https://api.pushover.net".parse().unwrap(),
        telegram: "https://api.telegram.org".parse().unwrap(),
    }
}

/// Creates an active endpoint of a chat channel. `secret` is its webhook URL or its bot's token.
pub(crate) fn chat_endpoint(channel: Channel, secret: &str) -> DispatchEndpoint {
    let mut endpoint = endpoint("standard");
    endpoint.document.channel = channel;
    endpoint.document.url = None;
    endpoint.document.webhook_shown = channel.has_webhook_url().then(|| "https://chat.example/********".into());
    endpoint.document.chat_id = (channel == Channel::Telegram).then(|| "-100123".into());
    endpoint.private.chat = Some(secret.into());
    endpoint
}

/// Creates an active Pushover endpoint.
pub(crate) fn pushover_endpoint() -> DispatchEndpoint {
    let mut endpoint = endpoint("mumara");
    endpoint.document.channel = Channel::Pushover;
    endpoint.document.url = None;
    endpoint.document.sound = Some("Tug Boat".into());
    let credentials = PushoverCredentials { user_key: "user-key".into(), api_token: "app-token".into() };
    endpoint.private.pushover = Some(credentials);
    endpoint
}
