//! One event of a message.

use bytes::Bytes;

use crate::event::Event;
use crate::refused::Refused;

/// An event of a message, or the reason why it cannot be read.
pub(super) struct MessageEvent<'a> {
    pub(super) event: Result<Event<'a>, Refused>,
    /// The body of a message that would contain only this event. `None` if the event exists only in the body of the whole
    /// message.
    pub(super) alone: Option<Bytes>,
}
