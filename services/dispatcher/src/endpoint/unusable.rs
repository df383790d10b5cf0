//! Why this build and configuration cannot attempt an existing endpoint.

/// Why an endpoint cannot be attempted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    /// The operator removed a profile that is in use.
    #[error("its tenant's profile {0:?} is not loaded")]
    Profile(String),
    /// This version does not know the channel or the kind of key.
    #[error("{0} is not supported by this version")]
    Unsupported(&'static str),
    /// A stored value is invalid. The API checks values when it saves them, so the row was changed elsewhere.
    #[error("its {0} is not valid")]
    Invalid(&'static str),
}
