//! Publishing with confirms: three publishers over one kind of [channel](confirm_channel).
//!
//! | publisher | for |
//! |---|---|
//! | [`batch::BatchPublisher`] | hops between services: members submitted together share bundles |
//! | [`delay::DelayPublisher`] | deliveries that wait on the ladder or change lanes |
//! | [`message::MessagePublisher`] | messages that travel alone: dead letters, requeued messages, answers to calls |

pub(crate) mod batch;
mod bundling;
pub(crate) mod confirm_channel;
pub(crate) mod delay;
pub(crate) mod fair_queue;
pub(crate) mod message;
mod outgoing;
mod ticket;

use tokio::sync::oneshot;

use crate::error::PublishError;

/// Completes one call of a publisher.
type Done = oneshot::Sender<Result<(), PublishError>>;
