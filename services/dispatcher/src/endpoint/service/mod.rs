//! The services that show deliveries to people: Pushover, the chat services and e-mail.
//!
//! Owns: what a request to each service contains and what its responses mean, one file for each service. [`Messenger`] is what
//! an attempt uses. Fan-out renders the text; the dispatcher adds the markup and the credentials.
//!
//! Promises: no text of an event mentions people of a chat, hides the target of a link, or exceeds a limit of the service.

mod discord;
mod fit;
mod pushover;
mod slack;
mod teams;
mod telegram;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use postrider_egress::{Response, Url};
use postrider_model::attempt::{Outcome, SECRET_MASK, StatusClasses};
use postrider_model::endpoint::Channel;
use postrider_model::event::EventType;
use postrider_model::limits::{PUSHOVER_RETRY_DELAY_MIN, RETRY_DELAY_MAX};
use postrider_model::notification::Notification;
use postrider_model::time::UnixMillis;
use postrider_store::config::{EndpointDocument, EndpointPrivate};
use secrecy::{ExposeSecret, SecretString};

use super::Unusable;
use pushover::Pushover;

/// Maximum number of characters of a service's own words that are shown to the customer.
const SAID_CHARS_MAX: usize = 500;
/// Minimum number of characters of a path segment or query value that counts as a secret of a webhook URL.
const SECRET_PART_CHARS_MIN: usize = 16;

/// The base URLs of the services whose endpoints have no URL of their own.
#[derive(Debug, Clone)]
pub struct ServiceUrls {
    /// Pushover's API.
    pub pushover: Url,
    /// Telegram's Bot API.
    pub telegram: Url,
}

/// The URL of an endpoint's requests. Its `Debug` form is the form that is shown.
pub(crate) struct Target {
    pub(crate) url: Url,
    /// The URL without secrets, for the history.
    pub(crate) shown: String,
}

impl Target {
    /// Creates a target whose URL has no secret.
    pub(crate) fn open(url: Url) -> Self {
        Self { shown: url.as_str().to_owned(), url }
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Sends the deliveries of one endpoint as messages of its service.
#[derive(Debug)]
pub(crate) struct Messenger {
    service: Service,
    /// The meaning of the service's status codes, which replaces that of the profile.
    pub(crate) statuses: StatusClasses,
    /// The parts of the URL that are secret, which responses may repeat.
    pub(crate) secrets: Vec<SecretString>,
}

#[derive(Debug)]
enum Service {
    Pushover(Pushover),
    Slack,
    Discord,
    Teams,
    Telegram { chat_id: String },
    Email { recipients: Vec<String> },
}

impl Messenger {
    /// Returns the messenger of an endpoint and the URL of its requests; `None` for the channel `web`.
    pub(crate) fn new(
        document: &EndpointDocument,
        private: &EndpointPrivate,
        urls: &ServiceUrls,
    ) -> Result<Option<(Self, Target)>, Unusable> {
        let (service, disables): (_, &[u16]) = match document.channel {
            Channel::Web => return Ok(None),
            Channel::Pushover => {
                let service = Service::Pushover(Pushover::new(document, private)?);
                // A 429 means that the application's quota is used up.
                let statuses = StatusClasses { retried_anyway: Vec::new(), ..statuses(&[]) };
                let target = Target::open(pushover::messages_url(&urls.pushover));
                return Ok(Some((Self { service, statuses, secrets: Vec::new() }, target)));
            }
            Channel::Email => return email(document).map(Some),
            Channel::Slack => (Service::Slack, &slack::DISABLING),
            Channel::Discord => (Service::Discord, &discord::DISABLING),
            Channel::Teams => (Service::Teams, &teams::DISABLING),
            Channel::Telegram => {
                let chat_id = document.chat_id.clone().ok_or(Unusable::Invalid("chat id"))?;
                (Service::Telegram { chat_id }, &telegram::DISABLING)
            }
        };
        let secret = private.chat.as_ref().ok_or(Unusable::Invalid("chat secret"))?;
        let (target, secrets) = match service {
            Service::Telegram { .. } => telegram::target(&urls.telegram, secret),
            _ => webhook(secret.expose_secret(), document.webhook_shown.as_deref())?,
        };
        Ok(Some((Self { service, statuses: statuses(disables), secrets }, target)))
    }

    /// The recipients of e-mail; `None` if the service takes HTTP requests.
    pub(crate) fn recipients(&self) -> Option<&[String]> {
        match &self.service {
            Service::Email { recipients } => Some(recipients),
            _ => None,
        }
    }

    /// The content type of the service's requests.
    pub(crate) fn content_type(&self) -> HeaderValue {
        match self.service {
            Service::Pushover(_) => pushover::CONTENT_TYPE,
            _ => HeaderValue::from_static("application/json"),
        }
    }

    /// Minimum delay before a retry.
    pub(crate) fn retry_delay_min(&self) -> Duration {
        match self.service {
            Service::Pushover(_) => PUSHOVER_RETRY_DELAY_MIN,
            _ => Duration::ZERO,
        }
    }

    /// Builds the request's body from the body that fan-out rendered.
    pub(crate) fn payload(&self, body: &[u8], event_type: &EventType) -> Bytes {
        let read = || notification(body, event_type);
        let message = match &self.service {
            Service::Pushover(pushover) => return pushover.form(body, event_type),
            Service::Slack => slack::message(&read()),
            Service::Discord => discord::message(&read()),
            Service::Teams => teams::message(&read()),
            Service::Telegram { chat_id } => telegram::message(&read(), chat_id),
            Service::Email { .. } => return Bytes::copy_from_slice(body),
        };
        message.to_string().into()
    }

    /// Interprets the service's response. A response that is no success gets an error text.
    pub(crate) fn judge(&self, response: &mut Response) {
        match self.service {
            Service::Pushover(_) => pushover::judge(response),
            Service::Slack => slack::judge(response),
            Service::Discord => discord::judge(response),
            Service::Teams => teams::judge(response),
            Service::Telegram { .. } => telegram::judge(response),
            Service::Email { .. } => {}
        }
    }
}

/// Reads the notification that fan-out rendered. If it cannot be read, the event type is sent instead, so that people are
/// notified nevertheless.
pub(crate) fn notification(body: &[u8], event_type: &EventType) -> Notification {
    serde_json::from_slice(body).unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot read a notification; sending its event type");
        Notification::new(event_type.as_str(), "", [], UnixMillis::now())
    })
}

/// Refusals (4xx) are not retried, except 408 and 429. The codes in `disables` mean that the endpoint cannot work until it is
/// edited.
fn statuses(disables: &[u16]) -> StatusClasses {
    StatusClasses {
        success: vec![200..=299],
        not_retried: vec![400..=499],
        retried_anyway: vec![408..=408, 429..=429],
        disables: disables.iter().map(|code| *code..=*code).collect(),
    }
}

/// Returns the messenger and the target of e-mail. A 5xx reply of SMTP is permanent, a 4xx reply is not.
fn email(document: &EndpointDocument) -> Result<(Messenger, Target), Unusable> {
    let recipients = document.recipients.clone();
    let url = format!("mailto:{}", recipients.join(",")).parse().map_err(|_| Unusable::Invalid("recipients"))?;
    let statuses = StatusClasses {
        success: vec![200..=299],
        not_retried: vec![500..=599],
        retried_anyway: Vec::new(),
        disables: Vec::new(),
    };
    Ok((Messenger { service: Service::Email { recipients }, statuses, secrets: Vec::new() }, Target::open(url)))
}

/// Returns the target of a webhook URL, and the parts of the URL that are secret.
fn webhook(url: &str, shown: Option<&str>) -> Result<(Target, Vec<SecretString>), Unusable> {
    let parsed: Url = url.parse().map_err(|_| Unusable::Invalid("webhook URL"))?;
    let segments = parsed.path_segments().into_iter().flatten().map(str::to_owned);
    let values = parsed.query_pairs().map(|(_, value)| value.into_owned());
    let parts = segments.chain(values).filter(|part| part.len() >= SECRET_PART_CHARS_MIN);
    let secrets = std::iter::once(url.to_owned()).chain(parts).map(SecretString::from).collect();
    let shown = shown.unwrap_or(SECRET_MASK).to_owned();
    Ok((Target { url: parsed, shown }, secrets))
}

/// Sets the error of a response that is no success: what happened, and what the service said about it.
fn explain(response: &mut Response, name: &str, said: &str) {
    let Some(code) = response.status_code.filter(|_| response.outcome != Outcome::Success) else { return };
    let what = match code {
        429 => format!("{name} limits the rate of messages"),
        400..=499 => format!("{name} refused the message"),
        500.. => format!("{name} cannot accept messages now"),
        300..=399 => format!("{name} answered with a redirect, which is not followed"),
        _ => format!("{name}'s response does not confirm the message"),
    };
    let said: String = said.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAID_CHARS_MAX).collect();
    let said = Some(said).filter(|said| !said.is_empty()).or(response.error.take());
    response.error = Some(said.map_or_else(|| what.clone(), |said| format!("{what}: {said}")));
}

/// The response's body if it is a short text that is not HTML.
fn short_text(response: &Response) -> String {
    let text = String::from_utf8_lossy(&response.excerpt).trim().to_owned();
    if text.contains('<') || text.chars().count() > SAID_CHARS_MAX { String::new() } else { text }
}

/// Takes the delay that the body of a response requests, if it is longer than that of `Retry-After`.
fn request_delay(response: &mut Response, seconds: Option<f64>) {
    let delay = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    response.retry_after = response.retry_after.max(delay.map(|delay| delay.min(RETRY_DELAY_MAX)));
}
