//! Sentences about deliveries and attempts, and notices.

use maud::{Markup, html};
use postrider_model::attempt::{Outcome, StatusVerdict};
use postrider_model::delivery::{DeliveryStatus, DiscardReason, HeldReason, Trigger};
use postrider_operations::deliveries::{Attempt, Delivery, DeliveryPhase, NextAttemptReason};

use crate::format::{attribute, capitalised, duration, status_line};
use crate::language::{Text, english, key, t, text};

macro_rules! notices {
    ($($variant:ident $name:literal $text:expr,)+) => {
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
            pub(crate) fn text(self) -> Text {
                text(match self { $(Self::$variant => $text),+ })
            }
        }
    };
}

notices! {
    Restored "restored" key!(
        "Your session had ended, so nothing was saved. Check the form and send it again. Enter secrets and header values again."
    ),
    Saved "saved" key!("Saved. The change is in effect."),
    WebhookDeleted "deleted" key!("The {webhook} was deleted. Its pending deliveries are discarded when their next attempt is due."),
    WebhookActive "active" key!("The {webhook} is active and receives new events."),
    WebhookInactive "inactive" key!("The {webhook} is inactive and receives no events. Tests still work."),
    WebhookPaused "webhook-paused" key!("The {webhook} is paused. Its deliveries wait until you resume it. Tests still work."),
    WebhookResumed "webhook-resumed" key!("The {webhook} is active again. What waited is sent now, beginning with the oldest. New events may overtake it."),
    PausedSkipped "skipped" key!("What waited is discarded now."),
    HeldKeyReleased "released" key!("The deliveries behind it go on."),
    RetryRequested "retried" key!("An attempt was requested."),
    DeliveryCancelled "cancelled" key!("The delivery was cancelled. There are no further attempts."),
    DeliveryAlreadyFinished "already-finished" key!("The delivery had already finished and was not cancelled."),
    ReplayStarted "replaying" key!("The replay has started."),
    RecoveryStarted "recovering" key!("The recovery has started. What the {webhook} did not receive is delivered now, oldest first."),
    ReplaysStarted "replaying-several" key!("The replays have started, one for each event."),
    ReplayPaused "paused" key!("The replay is paused. It creates no deliveries until you resume it."),
    ReplayResumed "resumed" key!("The replay was resumed."),
    ReplayCancelled "replay-cancelled" key!(
        "The replay was cancelled. It creates no further deliveries, and its pending deliveries are cancelled."
    ),
    ReplayAlreadyEnded "replay-ended" key!("The replay had already ended."),
    ErasureCounting "erasure-counting" key!("Counting what holds the value. Nothing is erased yet."),
    ErasureStarted "erasing" key!("The erasure has started. It cannot be undone."),
    ErasureCancelled "erasure-cancelled" key!("The erasure was cancelled. What it had erased stays erased."),
    ErasureAlreadyEnded "erasure-ended" key!("The erasure had already ended."),
    DeadLetterRequeued "requeued" "The message was sent back to its queue.",
    DeadLetterDiscarded "letter-discarded" "The dead letter was discarded.",
    TenantCreated "tenant-created" "The tenant was created. Create a key for it next.",
    KeyDeleted "key-deleted" "The key was deleted and no longer works.",
    PayloadExpunged "expunged" key!("The payload was expunged."),
    ViewSaved "view-saved" key!("The view was saved. It appears above the list for everybody in this account."),
    ViewDeleted "view-deleted" key!("The view was deleted."),
}

/// How an attempt ended, in a sentence or two.
pub(crate) fn outcome(attempt: &Attempt) -> Markup {
    let took = duration(attempt.duration_ms);
    let code = attempt.status_code.map(status_line).unwrap_or_default();
    let what = match (attempt.outcome, unanswered(attempt.outcome)) {
        (Outcome::Success, _) => t!("The {endpoint} answered {code} after {duration}.", code = code, duration = took),
        (Outcome::Timeout, Some(words)) => {
            t!("{words} The attempt ended after {duration}.", words = words, duration = took)
        }
        (_, Some(words)) => words,
        (_, None) => {
            let advice = advice(attempt.status_code.unwrap_or_default());
            t!("The {endpoint} answered {code}{advice}", code = code, advice = advice)
        }
    };
    html! { (what) @if let Some(error) = &attempt.error { " (" (english(error)) ")" } }
}

/// Why an attempt got no answer, and what to do about it; `None` if it got an answer.
pub(crate) fn unanswered(outcome: Outcome) -> Option<Text> {
    Some(match outcome {
        Outcome::Success | Outcome::HttpStatus => return None,
        Outcome::Timeout => t!("No answer arrived in time. Answer with 200 at once and do the work afterwards."),
        Outcome::ConnectFailed => t!("The connection failed. Check that the server is running and publicly reachable."),
        Outcome::DnsFailed => t!("The host name of the URL could not be resolved. Check it for typing errors."),
        Outcome::TlsFailed => {
            t!(
                "The TLS connection failed. Check that the certificate is valid, complete and issued for this host name."
            )
        }
        Outcome::AddressBlocked => t!("The URL leads to an address that is not public, so nothing is sent there."),
        Outcome::ProtocolError => t!("The connection ended before a complete answer, or the answer was not HTTP."),
    })
}

/// What an unsuccessful status code means, and what to do about it, as the end of the sentence "The endpoint answered …".
pub(crate) fn advice(status_code: u16) -> Text {
    match status_code {
        200..300 => t!(". This code does not count as success: answer with 200."),
        300..400 => t!(". Redirects are not followed: set the {webhook}'s URL to their target."),
        401 | 403 => t!(": it refused the request. Check its secret and its access rules."),
        404 | 405 => t!(". Check the path of the {webhook}'s URL."),
        408 => t!(": it did not receive the whole request in time."),
        410 => t!(": it is permanently gone."),
        429 => t!(": it asks for fewer requests."),
        400..500 => t!(": it did not accept the request."),
        _ => t!(": the server failed. Check its logs."),
    }
}

/// Why an attempt failed, in a few words: "503 Service Unavailable" or "No answer in time".
pub(crate) fn cause_name(outcome: Outcome, status_code: Option<u16>) -> String {
    match status_code {
        Some(code) if outcome == Outcome::HttpStatus => status_line(code),
        Some(code) => format!("{} ({code})", capitalised(&outcome_name(outcome))),
        None => capitalised(&outcome_name(outcome)),
    }
}

/// What a failure means, and what to do about it, in a sentence or two.
pub(crate) fn cause_advice(outcome: Outcome, status_code: Option<u16>) -> String {
    match unanswered(outcome) {
        Some(words) => words.into_owned(),
        None => capitalised(advice(status_code.unwrap_or_default()).trim_start_matches(['.', ':', ' '])),
    }
}

/// An outcome in a few words.
pub(crate) fn outcome_name(outcome: Outcome) -> Text {
    match outcome {
        Outcome::Success => t!("success"),
        Outcome::HttpStatus => t!("answered with an error"),
        Outcome::Timeout => t!("no answer in time"),
        Outcome::ConnectFailed => t!("connection failed"),
        Outcome::DnsFailed => t!("host name not found"),
        Outcome::TlsFailed => t!("TLS failed"),
        Outcome::AddressBlocked => t!("address blocked"),
        Outcome::ProtocolError => t!("no valid HTTP answer"),
    }
}

/// An outcome in one word, for a narrow column.
pub(crate) fn outcome_word(outcome: Outcome) -> Text {
    match outcome {
        Outcome::Success => t!("success"),
        Outcome::HttpStatus => t!("error"),
        Outcome::Timeout => t!("timeout"),
        Outcome::ConnectFailed => t!("connect"),
        Outcome::DnsFailed => t!("DNS"),
        Outcome::TlsFailed => t!("TLS"),
        Outcome::AddressBlocked => t!("blocked"),
        Outcome::ProtocolError => t!("protocol"),
    }
}

/// Why the next attempt is due at its time, as the end of a sentence.
pub(crate) fn planned_by(reason: Option<NextAttemptReason>) -> Text {
    match reason {
        Some(NextAttemptReason::RetryAfter) => t!(", because the {endpoint} asked for this wait (Retry-After)"),
        Some(NextAttemptReason::Schedule) => t!(", by the retry schedule"),
        None => Text::default(),
    }
}

/// A sentence about what follows for a failed, cancelled or discarded delivery; `None` for a pending or delivered one.
pub(crate) fn after_the_end(delivery: &Delivery, verdict: Option<StatusVerdict>) -> Option<Text> {
    let code = delivery.status_code.map(status_line).unwrap_or_default();
    match (delivery.status, verdict) {
        (DeliveryStatus::Pending | DeliveryStatus::Delivered, _) => None,
        (DeliveryStatus::Failed, Some(StatusVerdict::Fail)) => {
            Some(t!("{code} is not retried. When the {endpoint} is repaired, send the delivery again.", code = code))
        }
        (DeliveryStatus::Failed, Some(StatusVerdict::Disable)) => {
            Some(t!("{code} is not retried, and it disables the {webhook}.", code = code))
        }
        (DeliveryStatus::Failed, _) => {
            Some(t!("There is no further attempt. When the {endpoint} is repaired, send the delivery again."))
        }
        (DeliveryStatus::Cancelled | DeliveryStatus::Discarded, _) => Some(t!("There is no further attempt.")),
    }
}

/// The state of a delivery, in a sentence.
pub(crate) fn standing(delivery: &Delivery) -> Text {
    let attempts: u64 = delivery.attempt_count.into();
    match delivery.status {
        DeliveryStatus::Pending => pending(delivery),
        DeliveryStatus::Delivered => t!("Delivered on attempt {number}.", number = attempts),
        DeliveryStatus::Failed => t!(attempts, "Failed after {count} attempt.", "Failed after {count} attempts."),
        DeliveryStatus::Cancelled => t!("Cancelled."),
        DeliveryStatus::Discarded => {
            let reason = delivery.discard_reason.map_or_else(|| t!("unknown reason"), discarded);
            t!("Discarded: {reason}.", reason = reason)
        }
    }
}

/// What a pending delivery waits for.
fn pending(delivery: &Delivery) -> Text {
    let waits = match (delivery.phase, delivery.held_reason) {
        (Some(DeliveryPhase::Scheduled), _) => t!("Scheduled: its event asked for a later delivery."),
        (Some(DeliveryPhase::Retrying), _) => t!("It will be retried."),
        (Some(DeliveryPhase::Held), Some(HeldReason::Breaker)) => {
            t!("Its attempt is held back, because the {webhook} fails and gets one attempt at a time.")
        }
        (Some(DeliveryPhase::Held), _) => t!("Its attempt is held back by the {webhook}'s rate limit."),
        (Some(DeliveryPhase::Waiting), _) => t!("Its attempt waits behind other deliveries."),
        (Some(DeliveryPhase::Paused), _) => {
            t!("It waits because the {webhook} was paused, and is sent after you resume it.")
        }
        (Some(DeliveryPhase::InLine), _) => t!("It is attempted when the deliveries before it have ended."),
        _ if delivery.attempt_count == 0 => t!("Waiting for the first attempt."),
        _ => t!("An attempt is due now."),
    };
    match delivery.attempt_count {
        0 => waits,
        attempts => t!(
            attempts.into(),
            "{count} attempt failed so far. {waits}",
            "{count} attempts failed so far. {waits}",
            waits = waits
        ),
    }
}

/// The label of a phase as an option of a filter.
pub(crate) fn phase_option(phase: DeliveryPhase) -> Text {
    match phase {
        DeliveryPhase::Scheduled => t!("pending: scheduled"),
        DeliveryPhase::Queued => t!("pending: queued"),
        DeliveryPhase::Retrying => t!("pending: retrying"),
        DeliveryPhase::Held => t!("pending: held"),
        DeliveryPhase::Waiting => t!("pending: waiting"),
        DeliveryPhase::Paused => t!("pending: paused"),
        DeliveryPhase::InLine => t!("pending: in line"),
    }
}

fn discarded(reason: DiscardReason) -> Text {
    match reason {
        DiscardReason::Expired => t!("it expired before it could be delivered"),
        DiscardReason::EndpointDeleted => t!("the {webhook} was deleted"),
        DiscardReason::EndpointInactive => t!("the {webhook} was inactive when an attempt was due"),
        DiscardReason::Expunged => t!("the event's payload was expunged"),
        DiscardReason::Skipped => t!("it was skipped while the {webhook} was paused"),
        DiscardReason::PauseLimit => t!("it waited for the paused {webhook} beyond the limit"),
        DiscardReason::LinesFull => t!("too many deliveries waited for their turn"),
    }
}

/// Why an attempt was made.
pub(crate) fn trigger(trigger: Trigger) -> Text {
    match trigger {
        Trigger::First => t!("first attempt"),
        Trigger::Retry => t!("automatic retry"),
        Trigger::Manual => t!("manual retry"),
        Trigger::Replay => t!("replay"),
        Trigger::Test => t!("test"),
    }
}

/// Why an attempt was held back.
pub(crate) fn held(reason: HeldReason) -> Text {
    match reason {
        HeldReason::Rate => t!("the {webhook}'s rate limit"),
        HeldReason::Concurrency => t!("too many requests to the {endpoint} were in flight"),
        HeldReason::Breaker => t!("the {endpoint} failed too often or asked for a pause"),
    }
}

/// The word for a status, a phase, or the state of a webhook. A word that is not in the list is shown as it is.
pub(crate) fn status_word(status: &str) -> Text {
    match status {
        "active" => t!("active"),
        "cancelled" => t!("cancelled"),
        "closed" => t!("closed"),
        "delivered" => t!("delivered"),
        "disabled" => t!("disabled"),
        "discarded" => t!("discarded"),
        "failed" => t!("failed"),
        "failing" => t!("failing"),
        "finished" => t!("finished"),
        "half_open" => t!("half open"),
        "held" => t!("held"),
        "inactive" => t!("inactive"),
        "in_line" => t!("in line"),
        "open" => t!("open"),
        "paused" => t!("paused"),
        "pending" => t!("pending"),
        "queued" => t!("queued"),
        "recovering" => t!("recovering"),
        "retrying" => t!("retrying"),
        "running" => t!("running"),
        "scheduled" => t!("scheduled"),
        "success" => t!("success"),
        "unsteady" => t!("unsteady"),
        "waiting" => t!("waiting"),
        other => other.replace('_', " ").into(),
    }
}

/// The label of a form's field in the list of errors. `id` is the last part of the error's pointer.
pub(crate) fn field_label(id: &str) -> Text {
    match id {
        "name" => t!("Name"),
        "attributes" => t!("Attributes"),
        "data" => t!("Data"),
        "failed_attempts" => t!("Attempts"),
        "phase" => t!("Status"),
        "query" => t!("Filter"),
        "test" => t!("test"),
        "description" => t!("Description"),
        "url" => t!("Url"),
        "event_types" => t!("Event types"),
        "filters" => t!("Filters"),
        "payload" => t!("Payload"),
        "payload_filter" => t!("Payload filter"),
        "headers" => t!("Headers"),
        "secret" => t!("Secret"),
        "token_header" => t!("Token header"),
        "signature_key" => t!("Signature key"),
        "user_key" => t!("User key"),
        "api_token" => t!("Api token"),
        "sound" => t!("Sound"),
        "webhook_url" => t!("Webhook URL"),
        "bot_token" => t!("Bot token"),
        "chat_id" => t!("Chat"),
        "recipients" => t!("Recipients"),
        "retry_schedule_seconds" => t!("Retry schedule seconds"),
        "timeout_seconds" => t!("Timeout seconds"),
        "ordering" => t!("Deliver"),
        "key" => t!("Order by"),
        "batch" => t!("Send"),
        "events_max" => t!("Events in a request"),
        "bytes_max" => t!("Bytes of a request"),
        "wait_ms_max" => t!("Wait for more events, in milliseconds"),
        "endpoint" => t!("Tell"),
        "on" => t!("Tell when it fails"),
        "rate_per_second" => t!("Rate per second"),
        "overlap_seconds" => t!("Overlap seconds"),
        "effective_at" => t!("Effective at"),
        "since" => t!("Since"),
        "until" => t!("Until"),
        "field" => t!("Field"),
        "value" => t!("Value"),
        "from" => t!("From"),
        "to" => t!("To"),
        "endpoint_id" => t!("Endpoint id"),
        "event_id" => t!("Event id"),
        "event_type" => t!("Event type"),
        "mode" => t!("Mode"),
        "status" => t!("Status"),
        "status_code" => t!("Status code"),
        "outcome" => t!("Outcome"),
        "replay_id" => t!("Replay id"),
        "type" => t!("Type"),
        "order" => t!("Order"),
        other => attribute(other).into(),
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
