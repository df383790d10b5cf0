//! The Pushover channel: builds its requests and interprets its responses.
//!
//! Fan-out renders the title and the message. The dispatcher adds the credentials to each request.

use bytes::Bytes;
use http::HeaderValue;
use postrider_egress::{Response, Url};
use postrider_model::attempt::Outcome;
use postrider_model::event::EventType;
use postrider_model::pushover::{PushoverMessage, Sound};
use postrider_store::config::{EndpointDocument, EndpointPrivate, PushoverCredentials};
use secrecy::ExposeSecret;
use serde::Deserialize;
use url::form_urlencoded;

use super::SAID_CHARS_MAX;
use crate::endpoint::Unusable;

/// Path for messages, relative to the base URL of the API.
const MESSAGES: &str = "1/messages.json";
/// The content type of a form.
pub(super) const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// The data of an endpoint that is added to each request.
#[derive(Debug)]
pub(super) struct Pushover {
    credentials: PushoverCredentials,
    /// The notification sound. `None` means the sound that the user has chosen in Pushover.
    sound: Option<Sound>,
}

impl Pushover {
    pub(super) fn new(document: &EndpointDocument, private: &EndpointPrivate) -> Result<Self, Unusable> {
        let credentials = private.pushover.clone().ok_or(Unusable::Invalid("Pushover credentials"))?;
        let sound = document.sound.as_deref().map(|name| Sound::named(name).ok_or(Unusable::Invalid("sound")));
        Ok(Self { credentials, sound: sound.transpose()? })
    }

    /// Builds the form for a rendered body.
    pub(super) fn form(&self, body: &[u8], event_type: &EventType) -> Bytes {
        // Fan-out rendered the body. If the body cannot be read, the event type is sent instead, so that the user is notified
        // nevertheless.
        let message = serde_json::from_slice(body).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read a Pushover message; sending its event type");
            PushoverMessage { title: event_type.to_string(), message: event_type.to_string(), timestamp: 0 }
        });
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("token", self.credentials.api_token.expose_secret());
        form.append_pair("user", self.credentials.user_key.expose_secret());
        form.append_pair("title", &message.title);
        form.append_pair("message", &message.message);
        if let Some(sound) = self.sound {
            form.append_pair("sound", sound.wire);
        }
        if message.timestamp > 0 {
            form.append_pair("timestamp", &message.timestamp.to_string());
        }
        form.finish().into()
    }
}

/// Returns the URL for messages of an API with this base URL.
pub(super) fn messages_url(base: &Url) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{MESSAGES}", base.path().trim_end_matches('/')));
    url
}

/// The result in Pushover's response.
#[derive(Default, Deserialize)]
#[serde(default)]
struct PushoverAnswer {
    status: i64,
    errors: Vec<String>,
}

/// Interprets Pushover's response. A 2xx response with `"status": 1` means that Pushover accepted the message. Any other
/// response gets an error text.
///
/// An incomplete 2xx response also counts as accepted: Pushover responds with 200 only to valid requests, and a retry would
/// notify the user a second time.
pub(super) fn judge(response: &mut Response) {
    let Some(code) = response.status_code else { return };
    let answer: PushoverAnswer = serde_json::from_slice(&response.excerpt).unwrap_or_default();
    let what = match code {
        200..=299 if answer.status == 1 || response.incomplete => return,
        200..=299 => {
            response.outcome = Outcome::ProtocolError;
            "Pushover's response does not confirm the message"
        }
        429 => "the Pushover application has used up its quota of messages",
        400..=499 => "Pushover refused the message",
        500.. => "Pushover cannot accept messages now",
        _ => "Pushover answered with a redirect, which is not followed",
    };
    let said: String = answer.errors.join("; ").chars().take(SAID_CHARS_MAX).collect();
    let said = Some(said).filter(|said| !said.is_empty()).or(response.error.take());
    response.error = Some(said.map_or_else(|| what.to_owned(), |said| format!("{what}: {said}")));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CUT: &str = "answer incomplete: the connection was closed within its body";

    #[track_caller]
    fn check(code: u16, body: &str, outcome: Outcome, error: Option<&str>) {
        check_with(code, body, false, outcome, error);
    }

    #[track_caller]
    fn check_with(code: u16, body: &str, incomplete: bool, outcome: Outcome, error: Option<&str>) {
        let sent = if (200..300).contains(&code) { Outcome::Success } else { Outcome::HttpStatus };
        let mut response = Response {
            outcome: sent,
            status_code: Some(code),
            headers: Vec::new(),
            excerpt: Bytes::copy_from_slice(body.as_bytes()),
            retry_after: None,
            first_byte: None,
            duration: Duration::ZERO,
            incomplete,
            error: incomplete.then(|| CUT.to_owned()),
        };
        judge(&mut response);
        assert_eq!((response.outcome, response.error.as_deref()), (outcome, error), "{code} {body}");
    }

    #[test]
    fn responses_mean_what_pushover_documents() {
        check(200, r#"{"status":1,"request":"r"}"#, Outcome::Success, None);
        let unclear = Some("Pushover's response does not confirm the message");
        check(200, r#"{"status":0,"request":"r"}"#, Outcome::ProtocolError, unclear);
        check(200, "<html>", Outcome::ProtocolError, unclear);
        check(
            400,
            r#"{"user":"invalid","errors":["user identifier is not a valid user","no"],"status":0,"request":"r"}"#,
            Outcome::HttpStatus,
            Some("Pushover refused the message: user identifier is not a valid user; no"),
        );
        check(
            429,
            r#"{"errors":["application is over its quota"],"status":0}"#,
            Outcome::HttpStatus,
            Some("the Pushover application has used up its quota of messages: application is over its quota"),
        );
        check(503, "", Outcome::HttpStatus, Some("Pushover cannot accept messages now"));
        check(302, "", Outcome::HttpStatus, Some("Pushover answered with a redirect, which is not followed"));
    }

    #[test]
    fn an_incomplete_response_keeps_its_status() {
        check_with(200, "{\"sta", true, Outcome::Success, Some(CUT));
        let refused = format!("Pushover refused the message: {CUT}");
        check_with(400, "{\"err", true, Outcome::HttpStatus, Some(&refused));
    }

    #[test]
    fn messages_are_posted_below_the_base_url() {
        let check = |base: &str, expected| assert_eq!(messages_url(&base.parse().unwrap()).as_str(), expected);
        check("https://api.pushover.net", "https://api.pushover.net/1/messages.json");
        check("http://127.0.0.1:9/stand-in/", "http://127.0.0.1:9/stand-in/1/messages.json");
    }
}
