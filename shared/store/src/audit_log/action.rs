//! The actions that the audit log records.

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// An action in the audit log.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum AuditAction {
            $($(#[$doc])* $name,)*
        }

        impl AuditAction {
            /// Every action.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The action's name in rows and responses.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

actions! {
    /// A tenant was created.
    TenantCreated = "tenant.created",
    /// A tenant was edited.
    TenantEdited = "tenant.edited",
    /// A tenant was deleted, with its keys, endpoints and event types.
    TenantDeleted = "tenant.deleted",
    /// A key was created.
    KeyCreated = "key.created",
    /// A key was deleted.
    KeyDeleted = "key.deleted",
    /// An endpoint was created.
    EndpointCreated = "endpoint.created",
    /// An endpoint or its status was edited.
    EndpointEdited = "endpoint.edited",
    /// An endpoint was deleted.
    EndpointDeleted = "endpoint.deleted",
    /// Postrider disabled an endpoint.
    EndpointDisabled = "endpoint.disabled",
    /// Postrider paused an endpoint.
    EndpointPaused = "endpoint.paused",
    /// A person skipped what waited for an endpoint that is or was paused.
    PausedSkipped = "endpoint.paused_skipped",
    /// A signing secret was replaced.
    SecretRotated = "endpoint.secret_rotated",
    /// A tenant's definition of an event type was saved.
    EventTypeSaved = "event_type.saved",
    /// A tenant's definition of an event type was deleted.
    EventTypeDeleted = "event_type.deleted",
    /// A replay was created.
    ReplayCreated = "replay.created",
    /// A replay was paused.
    ReplayPaused = "replay.paused",
    /// A replay was resumed.
    ReplayResumed = "replay.resumed",
    /// A replay was cancelled.
    ReplayCancelled = "replay.cancelled",
    /// A held line continued without its failed delivery.
    HeldDeliverySkipped = "delivery.held_skipped",
    /// A delivery was retried on request.
    DeliveryRetried = "delivery.retried",
    /// A pending delivery was cancelled.
    DeliveryCancelled = "delivery.cancelled",
    /// An event's payload was expunged.
    PayloadExpunged = "event.payload_expunged",
    /// An erasure was requested.
    ErasureCreated = "erasure.created",
    /// An erasure was cancelled.
    ErasureCancelled = "erasure.cancelled",
    /// An erasure searched everything.
    ErasureFinished = "erasure.finished",
    /// An erasure ended early.
    ErasureFailed = "erasure.failed",
    /// A dead letter was requeued.
    DeadLetterRequeued = "dead_letter.requeued",
    /// A dead letter was discarded.
    DeadLetterDiscarded = "dead_letter.discarded",
    /// A portal link was created.
    PortalLinkCreated = "portal_link.created",
    /// A tenant's portal links were deleted and their sessions ended.
    PortalSessionsEnded = "portal_sessions.ended",
    /// A view of a list of the dashboard was saved.
    SavedViewCreated = "saved_view.created",
    /// A saved view was renamed.
    SavedViewRenamed = "saved_view.renamed",
    /// A saved view was deleted.
    SavedViewDeleted = "saved_view.deleted",
    /// The holder of a key or of a portal link, or a person with the identity provider, signed in to the dashboard.
    SignedIn = "session.opened",
    /// Sign-ins or requests with unknown keys were refused.
    SignInFailed = "session.refused",
}

impl std::str::FromStr for AuditAction {
    type Err = UnknownAction;

    fn from_str(text: &str) -> Result<Self, UnknownAction> {
        Self::ALL.iter().copied().find(|action| action.as_str() == text).ok_or(UnknownAction)
    }
}

/// An error: the text is not the name of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such action; there are: {}", names())]
pub struct UnknownAction;

fn names() -> String {
    AuditAction::ALL.iter().map(|action| action.as_str()).collect::<Vec<_>>().join(", ")
}
