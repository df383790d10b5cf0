//! `/v1/replays`: past events, delivered again.

pub(crate) mod handlers;
mod model;
