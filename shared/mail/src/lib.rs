//! E-mail: sends the deliveries of the channel `email` through the operator's SMTP server.
//!
//! Owns the SMTP client ([`Mailer`]), the messages, the addresses that endpoints may have ([`Recipients`]), and the limits of
//! recipients per tenant, hour and day.
//!
//! Promises:
//! - The connection is encrypted, by TLS or STARTTLS, and the server's certificate is verified.
//! - [`Mailer::send`] returns within its timeout. A refusal of the server is an outcome, never an error.
//! - No connection serves two messages, so an answer that comes late is never that of another message.
//! - No message goes to a domain that the operator does not allow, even if an endpoint has such an address.
//! - A text of an event cannot add headers, recipients or markup.
//! - Each message of a delivery has the same `Message-ID`, so that a repeated message can be recognised.
//!
//! It does not retry, sign with DKIM (the SMTP server does), read replies, or ask recipients for their consent: the operator
//! allows domains.

mod budget;
mod mailer;
mod message;
mod recipients;
mod server;
mod settings;

pub use mailer::{Mail, MailError, Mailer, MailerConfig, Sent};
pub use recipients::{RecipientRefused, Recipients};
pub use settings::Settings;
