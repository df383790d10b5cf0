//! The errors of this crate, as far as callers distinguish them.

use std::path::PathBuf;

/// Why a connection, a declaration or a question to the broker failed.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The URL is not an AMQP URL. The error does not show the URL, because it contains the password.
    #[error("the AMQP URL is not valid: {0}")]
    Url(String),
    /// The file of certificate authorities cannot be read.
    #[error("cannot read the CA file {path}: {source}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// A queue or exchange exists with arguments that differ from this build's declaration.
    #[error(
        "{kind} {name} exists with another {argument} than Postrider declares ({detail}); stop every Postrider process, wait \
         until the {kind} is empty, delete it and start again, or give Postrider a virtual host of its own"
    )]
    Inequivalent {
        /// `queue` or `exchange`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The argument that differs.
        argument: String,
        /// The broker's text, with the declared value and the existing value.
        detail: String,
    },
    /// The process was stopped while it waited for the broker.
    #[error("stopped while waiting for the broker")]
    Stopped,
    /// The broker refused, or the connection broke.
    #[error("the broker: {0}")]
    Broker(#[from] lapin::Error),
    /// The broker did not answer in time.
    #[error("the broker did not answer within {0:?}")]
    Timeout(std::time::Duration),
}

/// Why a publish was not confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Too many members wait to be published. Nothing was sent.
    #[error("too many messages wait to be published")]
    Overloaded,
    /// The broker blocks publishers (memory or disk alarm). Nothing was sent.
    #[error("the broker blocks publishers")]
    Blocked,
    /// No confirm arrived in time. The message may have been published already, or may be published later.
    #[error("the broker did not confirm in time")]
    Timeout,
    /// The broker refused the message or could not route it, for example because a queue is full. Other queues may have
    /// accepted it.
    #[error("the broker refused the message")]
    Refused,
    /// The publisher has ended, because the process is shutting down.
    #[error("the publisher has ended")]
    Stopped,
}
