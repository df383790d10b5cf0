//! Remote calls: a request through a queue, the answer straight back to the caller (RabbitMQ's direct reply-to).

mod client;
mod server;

pub use client::{RpcClient, RpcError};
