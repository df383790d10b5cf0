//! What can be in the audit log.

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What was done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum AuditAction {
            $($(#[$doc])* $name,)*
        }

        impl AuditAction {
            /// Every action.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name in rows and answers.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

actions! {
    /// A tenant was made.
    TenantCreated = "tenant.created",
    /// A tenant was edited.
    TenantEdited = "tenant.edited",
    /// A tenant was deleted, with its keys, endpoints and event types.
    TenantDeleted = "tenant.deleted",
    /// A key was made.
    KeyCreated = "key.created",
    /// A key was deleted.
    KeyDeleted = "key.deleted",
    /// An endpoint was made.
    EndpointCreated = "endpoint.created",
    /// An endpoint was edited, its status included.
    EndpointEdited = "endpoint.edited",
    /// An endpoint was deleted.
    EndpointDeleted = "endpoint.deleted",
    /// An endpoint was switched off by Postrider.
    EndpointDisabled = "endpoint.disabled",
    /// A signing secret was replaced.
    SecretRotated = "endpoint.secret_rotated",
    /// A tenant's words about an event type were saved.
    EventTypeSaved = "event_type.saved",
    /// A tenant's words about an event type were deleted.
    EventTypeDeleted = "event_type.deleted",
    /// A replay was asked for.
    ReplayCreated = "replay.created",
    /// A replay was paused.
    ReplayPaused = "replay.paused",
    /// A replay was resumed.
    ReplayResumed = "replay.resumed",
    /// A replay was cancelled.
    ReplayCancelled = "replay.cancelled",
    /// A delivery was asked for again.
    DeliveryRetried = "delivery.retried",
    /// A pending delivery was cancelled.
    DeliveryCancelled = "delivery.cancelled",
    /// An event's payload was expunged.
    PayloadExpunged = "event.payload_expunged",
    /// A dead letter was sent back.
    DeadLetterRequeued = "dead_letter.requeued",
    /// A key signed in to the dashboard.
    SignedIn = "session.opened",
    /// Keys that do not exist were tried.
    SignInFailed = "session.refused",
}

impl std::str::FromStr for AuditAction {
    type Err = UnknownAction;

    fn from_str(text: &str) -> Result<Self, UnknownAction> {
        Self::ALL.iter().copied().find(|action| action.as_str() == text).ok_or(UnknownAction)
    }
}

/// The text is no action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such action; there are: {}", names())]
pub struct UnknownAction;

fn names() -> String {
    AuditAction::ALL.iter().map(|action| action.as_str()).collect::<Vec<_>>().join(", ")
}
