//! Remote calls: a request goes through a queue, the answer goes directly to the caller (RabbitMQ's direct reply-to).
//!
//! They serve requests that need an answer immediately, such as test calls. Nothing is persistent: a call without a timely
//! answer fails, and its request expires in its queue. Callers use [`RpcClient`], answering services use
//! [`serve_rpc`](crate::Broker::serve_rpc).

mod client;
mod server;

pub use client::{RpcClient, RpcError};
