//! Reasons why this build and configuration cannot attempt an existing endpoint.

/// The reason why an endpoint cannot be attempted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    /// The operator removed a profile that tenants use.
    #[error("its tenant's profile {0:?} is not loaded")]
    Profile(String),
    /// This version does not support the channel or the kind of key.
    #[error("{0} is not supported by this version")]
    Unsupported(&'static str),
    /// A stored value is invalid. The API validates values when it saves them, so the row was changed by other means.
    #[error("its {0} is not valid")]
    Invalid(&'static str),
}
