//! Sentences about deliveries and attempts, and notices.

use postrider_model::attempt::{Outcome, StatusVerdict};
use postrider_model::delivery::{DeliveryStatus, DiscardReason, HeldReason, Trigger};
use postrider_operations::deliveries::{Attempt, Delivery, DeliveryPhase, NextAttemptReason};

use crate::format::{duration, plural, status_line};

macro_rules! notices {
    ($($variant:ident $name:literal $text:literal)+) => {
        /// What a form did. The page after the form shows the text of the notice. The address of that page contains the notice's
        /// name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Notice { $($variant),+ }

        impl Notice {
            /// The notice with this name.
            pub(crate) fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }

            /// The name in an address.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The text on the page.
            pub(crate) fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

notices! {
    Restored "restored" "Your session had ended, so nothing was saved. Check the form and send it again. Enter secrets and header values again."
    Saved "saved" "Saved. The change is in effect."
    WebhookDeleted "deleted" "The webhook was deleted. Its pending deliveries are discarded when their next attempt is due."
    WebhookActive "active" "The webhook is active and receives new events."
    WebhookInactive "inactive" "The webhook is inactive and receives no events. Tests still work."
    RetryRequested "retried" "An attempt was requested."
    DeliveryCancelled "cancelled" "The delivery was cancelled. There are no further attempts."
    DeliveryAlreadyFinished "already-finished" "The delivery had already finished and was not cancelled."
    ReplayStarted "replaying" "The replay has started."
    RecoveryStarted "recovering" "The recovery has started. What the webhook did not receive is delivered now, oldest first."
    ReplaysStarted "replaying-several" "The replays have started, one for each event."
    ReplayPaused "paused" "The replay is paused. It creates no deliveries until you resume it."
    ReplayResumed "resumed" "The replay was resumed."
    ReplayCancelled "replay-cancelled" "The replay was cancelled. It creates no further deliveries, and its pending deliveries are cancelled."
    ReplayAlreadyEnded "replay-ended" "The replay had already ended."
    DeadLetterRequeued "requeued" "The message was sent back to its queue."
    DeadLetterDiscarded "letter-discarded" "The dead letter was discarded."
    TenantCreated "tenant-created" "The tenant was created. Create a key for it next."
    KeyDeleted "key-deleted" "The key was deleted and no longer works."
    PayloadExpunged "expunged" "The payload was expunged."
    ViewSaved "view-saved" "The view was saved. It appears above the list for everybody in this account."
    ViewDeleted "view-deleted" "The view was deleted."
}

/// How an attempt ended, in a sentence or two.
pub(crate) fn outcome(attempt: &Attempt) -> String {
    let took = duration(attempt.duration_ms);
    let code = attempt.status_code.map(status_line).unwrap_or_default();
    let what = match (attempt.outcome, unanswered(attempt.outcome)) {
        (Outcome::Success, _) => format!("The endpoint answered {code} after {took}."),
        (Outcome::Timeout, Some(words)) => format!("{words} The attempt ended after {took}."),
        (_, Some(words)) => words.to_owned(),
        (_, None) => format!("The endpoint answered {code}{}", advice(attempt.status_code.unwrap_or_default())),
    };
    match &attempt.error {
        Some(error) => format!("{what} ({error})"),
        _ => what,
    }
}

/// Why an attempt got no answer, and what to do about it; `None` if it got an answer.
pub(crate) fn unanswered(outcome: Outcome) -> Option<&'static str> {
    Some(match outcome {
        Outcome::Success | Outcome::HttpStatus => return None,
        Outcome::Timeout => "No answer arrived in time. Answer with 200 at once and do the work afterwards.",
        Outcome::ConnectFailed => "The connection failed. Check that the server is running and publicly reachable.",
        Outcome::DnsFailed => "The host name of the URL could not be resolved. Check it for typing errors.",
        Outcome::TlsFailed => {
            "The TLS connection failed. Check that the certificate is valid, complete and issued for this host name."
        }
        Outcome::AddressBlocked => "The URL leads to an address that is not public, so nothing is sent there.",
        Outcome::ProtocolError => "The connection ended before a complete answer, or the answer was not HTTP.",
    })
}

/// What an unsuccessful status code means, and what to do about it, as the end of the sentence "The endpoint answered …".
pub(crate) fn advice(status_code: u16) -> &'static str {
    match status_code {
        200..300 => ". This code does not count as success: answer with 200.",
        300..400 => ". Redirects are not followed: set the webhook's URL to their target.",
        401 | 403 => ": it refused the request. Check its secret and its access rules.",
        404 | 405 => ". Check the path of the webhook's URL.",
        408 => ": it did not receive the whole request in time.",
        410 => ": it is permanently gone.",
        429 => ": it asks for fewer requests.",
        400..500 => ": it did not accept the request.",
        _ => ": the server failed. Check its logs.",
    }
}

/// Why an attempt failed, in a few words: "503 Service Unavailable" or "No answer in time".
pub(crate) fn cause_name(outcome: Outcome, status_code: Option<u16>) -> String {
    status_code.map_or_else(|| sentence(outcome_name(outcome)), status_line)
}

/// What a failure means, and what to do about it, in a sentence or two.
pub(crate) fn cause_advice(outcome: Outcome, status_code: Option<u16>) -> String {
    match unanswered(outcome) {
        Some(words) => words.to_owned(),
        None => sentence(advice(status_code.unwrap_or_default()).trim_start_matches(['.', ':', ' '])),
    }
}

/// The text with its first letter in upper case.
fn sentence(text: &str) -> String {
    let mut text = text.to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

/// An outcome in a few words.
pub(crate) fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "success",
        Outcome::HttpStatus => "answered with an error",
        Outcome::Timeout => "no answer in time",
        Outcome::ConnectFailed => "connection failed",
        Outcome::DnsFailed => "host name not found",
        Outcome::TlsFailed => "TLS failed",
        Outcome::AddressBlocked => "address blocked",
        Outcome::ProtocolError => "no valid HTTP answer",
    }
}

/// An outcome in one word, for a narrow column.
pub(crate) fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "success",
        Outcome::HttpStatus => "error",
        Outcome::Timeout => "timeout",
        Outcome::ConnectFailed => "connect",
        Outcome::DnsFailed => "DNS",
        Outcome::TlsFailed => "TLS",
        Outcome::AddressBlocked => "blocked",
        Outcome::ProtocolError => "protocol",
    }
}

/// Why the next attempt is due at its time, as the end of a sentence.
pub(crate) fn planned_by(reason: Option<NextAttemptReason>) -> &'static str {
    match reason {
        Some(NextAttemptReason::RetryAfter) => ", because the endpoint asked for this wait (Retry-After)",
        Some(NextAttemptReason::Schedule) => ", by the retry schedule",
        None => "",
    }
}

/// A sentence about what follows for a failed, cancelled or discarded delivery; `None` for a pending or delivered one.
pub(crate) fn after_the_end(delivery: &Delivery, verdict: Option<StatusVerdict>) -> Option<String> {
    let code = delivery.status_code.map(status_line).unwrap_or_default();
    match (delivery.status, verdict) {
        (DeliveryStatus::Pending | DeliveryStatus::Delivered, _) => None,
        (DeliveryStatus::Failed, Some(StatusVerdict::Fail)) => {
            Some(format!("{code} is not retried. When the endpoint is repaired, send the delivery again."))
        }
        (DeliveryStatus::Failed, Some(StatusVerdict::Disable)) => {
            Some(format!("{code} is not retried, and it disables the webhook."))
        }
        (DeliveryStatus::Failed, _) => {
            Some("There is no further attempt. When the endpoint is repaired, send the delivery again.".to_owned())
        }
        (DeliveryStatus::Cancelled | DeliveryStatus::Discarded, _) => Some("There is no further attempt.".to_owned()),
    }
}

/// The state of a delivery, in a sentence.
pub(crate) fn standing(delivery: &Delivery) -> String {
    let attempts = plural(delivery.attempt_count.into(), "attempt", "attempts");
    match delivery.status {
        DeliveryStatus::Pending => pending(delivery, &attempts),
        DeliveryStatus::Delivered => format!("Delivered on attempt {}.", delivery.attempt_count),
        DeliveryStatus::Failed => format!("Failed after {attempts}."),
        DeliveryStatus::Cancelled => "Cancelled.".to_owned(),
        DeliveryStatus::Discarded => {
            format!("Discarded: {}.", delivery.discard_reason.map_or("unknown reason", discarded))
        }
    }
}

/// What a pending delivery waits for.
fn pending(delivery: &Delivery, attempts: &str) -> String {
    let so_far = if delivery.attempt_count == 0 { String::new() } else { format!("{attempts} failed so far. ") };
    let waits = match (delivery.phase, delivery.held_reason) {
        (Some(DeliveryPhase::Retrying), _) => "It will be retried.",
        (Some(DeliveryPhase::Held), Some(HeldReason::Breaker)) => {
            "Its attempt is held back, because the webhook fails and gets one attempt at a time."
        }
        (Some(DeliveryPhase::Held), _) => "Its attempt is held back by the webhook's rate limit.",
        (Some(DeliveryPhase::Waiting), _) => "Its attempt waits behind other deliveries.",
        _ if delivery.attempt_count == 0 => "Waiting for the first attempt.",
        _ => "An attempt is due now.",
    };
    format!("{so_far}{waits}")
}

/// The label of a phase as an option of a filter.
pub(crate) fn phase_option(phase: DeliveryPhase) -> &'static str {
    match phase {
        DeliveryPhase::Queued => "pending: queued",
        DeliveryPhase::Retrying => "pending: retrying",
        DeliveryPhase::Held => "pending: held",
        DeliveryPhase::Waiting => "pending: waiting",
    }
}

fn discarded(reason: DiscardReason) -> &'static str {
    match reason {
        DiscardReason::Expired => "it expired before it could be delivered",
        DiscardReason::EndpointDeleted => "the webhook was deleted",
        DiscardReason::EndpointInactive => "the webhook was inactive when an attempt was due",
        DiscardReason::Expunged => "the event's payload was expunged",
    }
}

/// Why an attempt was made.
pub(crate) fn trigger(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::First => "first attempt",
        Trigger::Retry => "automatic retry",
        Trigger::Manual => "manual retry",
        Trigger::Replay => "replay",
        Trigger::Test => "test",
    }
}

/// Why an attempt was held back.
pub(crate) fn held(reason: HeldReason) -> &'static str {
    match reason {
        HeldReason::Rate => "the webhook's rate limit",
        HeldReason::Concurrency => "too many requests to the endpoint were in flight",
        HeldReason::Breaker => "the endpoint failed too often or asked for a pause",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_has_a_name_and_a_sentence_that_says_what_to_do() {
        let check = |outcome, status_code, name: &str, advice: &str| {
            assert_eq!(cause_name(outcome, status_code), name);
            assert_eq!(cause_advice(outcome, status_code), advice, "{name}");
        };
        check(Outcome::HttpStatus, Some(503), "503 Service Unavailable", "The server failed. Check its logs.");
        check(Outcome::HttpStatus, Some(404), "404 Not Found", "Check the path of the webhook's URL.");
        check(Outcome::HttpStatus, Some(429), "429 Too Many Requests", "It asks for fewer requests.");
        check(
            Outcome::HttpStatus,
            Some(204),
            "204 No Content",
            "This code does not count as success: answer with 200.",
        );
        let timeout = "No answer arrived in time. Answer with 200 at once and do the work afterwards.";
        check(Outcome::Timeout, None, "No answer in time", timeout);
        let dns = "The host name of the URL could not be resolved. Check it for typing errors.";
        check(Outcome::DnsFailed, None, "Host name not found", dns);
    }
}
