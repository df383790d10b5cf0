//! The AMQP property `user_id`: the publisher of a message, verified by the broker.
//!
//! RabbitMQ refuses a message if its `user_id` is not the user of the publishing connection, and does not change the property
//! when it dead-letters the message. Headers are not checked: a producer may set any header.

use std::sync::atomic::{AtomicBool, Ordering};

use lapin::BasicProperties;
use lapin::types::ShortString;

/// Maximum number of bytes of an AMQP short string.
const NAME_BYTES_MAX: usize = 255;

/// The user of this process at the broker.
#[derive(Debug)]
pub(crate) struct UserId {
    name: String,
    /// Whether the broker refuses the name: it is not a valid property, or the broker authenticated another user.
    refused: AtomicBool,
}

impl UserId {
    pub(crate) fn new(name: String) -> Self {
        let unusable = name.is_empty() || name.len() > NAME_BYTES_MAX;
        Self { name, refused: AtomicBool::new(unusable) }
    }

    /// The property for messages of this process; `None` if the broker refuses it.
    pub(crate) fn property(&self) -> Option<ShortString> {
        (!self.refused.load(Ordering::Relaxed)).then(|| self.name.as_str().into())
    }

    /// Whether a message was published by a process with this user.
    pub(crate) fn published(&self, properties: &BasicProperties) -> bool {
        !self.name.is_empty() && properties.user_id().as_ref().is_some_and(|user| user.as_str() == self.name)
    }

    /// Checks an error of a publishing channel. If the broker authenticated another user than the user in the URL (OAuth 2,
    /// client certificates), messages have no `user_id` from now on.
    pub(crate) fn note(&self, error: &lapin::Error) {
        if error.to_string().contains("user_id property") && !self.refused.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                user = self.name, %error,
                "the broker authenticated another user than the AMQP URL names; dead letters of this process cannot be verified, \
                 so they can only be requeued to postrider.intake"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_of_the_same_user_count_as_published_by_it() {
        let user = UserId::new("postrider".into());
        let by = |name: &str| BasicProperties::default().with_user_id(name.into());
        assert!(user.published(&by("postrider")));
        assert!(!user.published(&by("producer")) && !user.published(&BasicProperties::default()));
        assert_eq!(user.property().as_ref().map(ShortString::as_str), Some("postrider"));
        let unnamed = UserId::new(String::new());
        assert!(unnamed.property().is_none() && !unnamed.published(&by("")));
    }
}
