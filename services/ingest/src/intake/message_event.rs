//! One event of a message.

use bytes::Bytes;

use crate::event::Event;
use crate::refused::Refused;

/// An event of a message, or why it cannot be read.
pub(super) struct MessageEvent<'a> {
    pub(super) event: Result<Event<'a>, Refused>,
    /// The body of a message with this event alone; `None` if only the body of the whole message has it.
    pub(super) alone: Option<Bytes>,
}
