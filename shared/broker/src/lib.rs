//! The broker: everything Postrider does with RabbitMQ, and the only crate that knows lapin.
//!
//! What it owns: the [topology], the supervised [connections](Broker), publishing with confirms ([`BatchPublisher`] for hops
//! between services, [`DelayPublisher`] for deliveries that wait or change lanes, [`MessagePublisher`] for messages that travel alone),
//! [consuming](consumer), the [delay ladder](ladder),
//! [remote calls](rpc) and [hints].
//!
//! # What it promises
//! - A publish that returned `Ok` is confirmed by the broker: on disk on a majority of its nodes.
//! - A message is acked only after its handler settled it; a crash repeats work and loses none.
//! - The broker may restart, block or cut connections at any time: everything reconnects for ever, redeclares,
//!   republishes what was not confirmed and subscribes again. Only *starting* against queues that exist with other
//!   arguments is an error.
//! - One member that cannot be processed, or that panics, goes to the dead letters alone.
//!
//! # What it does not promise
//! - Exactly once. A nack, a lost connection and a dropped future all mean "maybe"; repeats must be harmless.
//! - Order, once anything was republished or redelivered.

mod applied_versions;
mod broker;
mod config;
mod connection;
pub mod consumer;
mod depth;
mod error;
pub mod hints;
mod in_flight;
pub mod ladder;
pub mod metrics;
mod producer_message;
mod publish;
pub mod rpc;
mod settings;
mod tasks;
pub mod topology;
mod user_id;

pub use applied_versions::AppliedVersions;
pub use broker::{Broker, QueueDepth};
pub use config::BrokerConfig;
pub use connection::PublishState;
pub use consumer::{
    BundleOutcome, ConsumeOptions, MemberContext, Poison, RawConsumer, RawHeaders, RawMessage, Unsettled, catch_panic,
};
pub use error::{BrokerError, PublishError};
pub use hints::{BreakerStates, HintSender};
pub use ladder::Rung;
pub use producer_message::ProducerMessage;
pub use publish::batch::{BatchOptions, BatchPublisher, Resend};
pub use publish::delay::{DelayPublisher, Destination};
pub use publish::message::{MessagePublisher, MessageRoute};
pub use settings::Settings;
pub use topology::{Queue, Route};
