//! Why the client cannot be created.

use std::path::PathBuf;

/// The client cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The file of root certificates.
    #[error("cannot use the CA file {path}: {reason}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The proxy's URL. It may contain a password, so it is not shown.
    #[error("the forward proxy's URL is not valid")]
    Proxy,
    /// TLS or name resolution.
    #[error("cannot create the HTTP client: {0}")]
    Client(String),
}
