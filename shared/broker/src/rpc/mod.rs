//! Remote calls: a request through a queue, the answer straight back to the caller (RabbitMQ's direct reply-to).
//!
//! For requests that need an answer now, such as test calls. Nothing is persistent: a call without an answer in time has failed,
//! and its request expires in its queue. Callers use [`RpcClient`], the other side [`Broker::serve_rpc`](crate::Broker::serve_rpc).

mod client;
mod server;

pub use client::{RpcClient, RpcError};
