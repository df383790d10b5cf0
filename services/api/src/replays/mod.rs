//! `/v1/replays`: past events, delivered again.

pub(crate) mod handlers;
pub(crate) mod model;
