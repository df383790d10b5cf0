//! Everything that Postrider does with RabbitMQ. This is the only crate that uses lapin.
//!
//! It owns the [topology], the supervised [connections](Broker), [consuming](consumer), the [delay ladder](ladder), [remote
//! calls](rpc) and [hints]. It publishes with confirms: [`BatchPublisher`] for hops between services, [`DelayPublisher`] for
//! deliveries that wait or change lanes, and [`MessagePublisher`] for single messages.
//!
//! # What it promises
//! - A publish that returned `Ok` is confirmed by the broker: on disk on a majority of its nodes.
//! - A message is acked only after its handler settled it. A crash may repeat work and never loses work.
//! - The broker may restart, block or cut connections at any time. Every part reconnects after every fault, redeclares,
//!   republishes unconfirmed messages and subscribes again. Queues with other arguments are an error only at the *start*.
//! - A member that cannot be processed, or whose handler panics, becomes a dead letter without the other members of its bundle.
//!
//! # What it does not promise
//! - Exactly-once delivery. After a nack, a lost connection or a dropped future the message may have been published, so repeats
//!   must be harmless.
//! - Order. A message that is republished or redelivered may arrive after later messages. [`Broker::consume_in_order`] with a
//!   publisher that has one unconfirmed bundle ([`BatchOptions::bundles_max`]) keeps the order; it may repeat messages.

mod applied_versions;
mod breaker_states;
mod broker;
mod budget;
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
pub use breaker_states::BreakerStates;
pub use broker::{Broker, QueueDepth};
pub use config::BrokerConfig;
pub use connection::PublishState;
pub use consumer::{
    BundleOutcome, ConsumeOptions, MemberContext, Poison, RawConsumer, RawHeaders, RawMessage, Unsettled, catch_panic,
};
pub use error::{BrokerError, PublishError};
pub use hints::HintSender;
pub use ladder::Rung;
pub use producer_message::ProducerMessage;
pub use publish::batch::{BatchOptions, BatchPublisher, Resend};
pub use publish::delay::{DelayPublisher, Destination};
pub use publish::message::{MessagePublisher, MessageRoute};
pub use settings::Settings;
pub use topology::{Queue, Route};
