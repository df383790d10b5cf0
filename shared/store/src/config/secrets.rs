//! The part of an endpoint that is sealed at rest.

use postrider_model::time::UnixMillis;
use secrecy::SecretString;

/// The signing secrets of an endpoint, opened. At most one is previous, at most one is next.
#[derive(Debug, Clone)]
pub struct EndpointSecrets {
    /// Signs now.
    pub current: SecretString,
    /// Signs beside the current one until this time, for schemes that can carry two signatures.
    pub previous: Option<(SecretString, UnixMillis)>,
    /// Replaces the current one from this time on.
    pub next: Option<(SecretString, UnixMillis)>,
}

/// What an endpoint keeps secret beside its signing secrets, opened.
#[derive(Debug, Clone, Default)]
pub struct EndpointPrivate {
    /// Headers of its own, in the customer's order.
    pub headers: Vec<(String, SecretString)>,
    /// The value for its [`token_header`](super::EndpointDocument::token_header).
    pub token: Option<SecretString>,
    /// Credentials of the channel `pushover`.
    pub pushover: Option<PushoverCredentials>,
}

/// What Pushover wants to know.
#[derive(Debug, Clone)]
pub struct PushoverCredentials {
    /// Whom to notify.
    pub user_key: SecretString,
    /// On whose behalf.
    pub api_token: SecretString,
}

/// How a new signing secret replaces the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// At once; the old one signs beside it until then.
    Overlap {
        /// The end of the overlap.
        until: UnixMillis,
    },
    /// From then on (a time that has passed: at once); the old one never signs again after that.
    CutOver {
        /// The moment.
        at: UnixMillis,
    },
}
