//! What can go wrong, as far as a caller can do something about it.

use std::path::PathBuf;

/// Connecting, declaring or asking failed.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The URL is no AMQP URL. The URL itself is not shown, since it holds the password.
    #[error("the AMQP URL is not valid: {0}")]
    Url(String),
    /// The file of certificate authorities cannot be read.
    #[error("cannot read the CA file {path}: {source}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A queue or exchange exists with other arguments than this build needs.
    #[error(
        "{kind} {name} exists with another {argument} than Postrider needs ({detail}); stop every Postrider process, let \
         the {kind} run empty, delete it and start again, or give Postrider a virtual host of its own"
    )]
    Inequivalent {
        /// `queue` or `exchange`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The argument that differs.
        argument: String,
        /// The broker's words: the value needed and the value in force.
        detail: String,
    },
    /// Stopped while waiting for the broker.
    #[error("stopped while waiting for the broker")]
    Stopped,
    /// The broker refused or the connection broke.
    #[error("the broker: {0}")]
    Broker(#[from] lapin::Error),
    /// The broker did not answer in time.
    #[error("the broker did not answer within {0:?}")]
    Timeout(std::time::Duration),
}

/// A publish that was not confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Too much waits already. Nothing was sent.
    #[error("too many messages wait to be published")]
    Overloaded,
    /// The broker blocks publishers (memory or disk alarm). Nothing was sent.
    #[error("the broker blocks publishers")]
    Blocked,
    /// No confirm in time. It may have been published, or may still be.
    #[error("the broker did not confirm in time")]
    Timeout,
    /// The broker refused or could not route it (a full queue, for instance). Some of its queues may have taken it.
    #[error("the broker refused the message")]
    Refused,
    /// The publisher has ended; only while the process is shutting down.
    #[error("the publisher has ended")]
    Stopped,
}
