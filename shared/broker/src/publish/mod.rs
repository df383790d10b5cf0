//! Publishing with confirms: three publishers over one [`confirm_channel`].
//!
//! | publisher | for |
//! |---|---|
//! | [`batch::BatchPublisher`] | hops between services: members that are published together share bundles |
//! | [`delay::DelayPublisher`] | deliveries that wait on the ladder or change lanes |
//! | [`message::MessagePublisher`] | messages that travel alone: dead letters, requeued messages, answers to calls |

pub(crate) mod batch;
pub(crate) mod confirm_channel;
pub(crate) mod delay;
pub(crate) mod message;
