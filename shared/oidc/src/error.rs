//! Why a sign-in or the client of a provider failed.

use std::path::PathBuf;

/// Why a sign-in failed. The text is for the log: it names details that are not for the visitor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// The provider did not answer, or its answer cannot be used.
    #[error("the identity provider is not available: {0}")]
    Unavailable(String),
    /// The provider refuses this client: the settings here and at the provider do not agree.
    #[error("the identity provider refuses this client: {0}")]
    Misconfigured(String),
    /// The provider refuses the code, or its ID token is not valid.
    #[error("the sign-in is not valid: {0}")]
    Invalid(String),
    /// This process is completing too many sign-ins.
    #[error("too many sign-ins at the same time")]
    Busy,
}

/// Why the client of a provider cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The file of root certificates cannot be used.
    #[error("the file {}: {reason}", .path.display())]
    CaFile {
        /// The path.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("{0}")]
    Tls(String),
}

/// Returns text from outside for a log line or an error: its beginning, without control characters.
pub(crate) fn shown(text: &str) -> String {
    postrider_settings::cut(text)
}
