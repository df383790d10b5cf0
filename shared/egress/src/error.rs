//! Why the client cannot be created.

use std::path::PathBuf;

/// Why the client cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The file of root certificates cannot be used.
    #[error("cannot use the CA file {path}: {reason}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The proxy's URL is invalid. The error does not show the URL, because the URL may contain a password.
    #[error("the forward proxy's URL is not valid")]
    Proxy,
    /// TLS or name resolution cannot be set up.
    #[error("cannot create the HTTP client: {0}")]
    Client(String),
}
