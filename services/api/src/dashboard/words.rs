//! Sentences that pages say.

use axum::http::StatusCode;

use crate::deliveries::{Attempt, Delivery};

/// What was just done, told on the page after a form. Addresses carry a name, never the text itself.
pub(super) fn notice_text(name: &str) -> Option<&'static str> {
    Some(match name {
        "deleted" => "The webhook was deleted. Its pending deliveries are discarded when their next attempt is due.",
        "restored" => {
            "Your session had ended, so nothing was saved. Check what you entered and send the form again; enter secrets and header values again, too."
        }
        "saved" => "Saved. It is live.",
        "active" => "The webhook is active: it receives events from now on.",
        "inactive" => "The webhook is inactive: it receives no events. Tests still work.",
        "retried" => "An attempt was requested.",
        "already-finished" => "This delivery had already finished, so there was nothing to cancel.",
        "cancelled" => "Cancelled: no further attempt begins.",
        "replaying" => "The replay has started.",
        "replaying-several" => "The replays have started, one for each event.",
        "paused" => "Paused: no further deliveries are made until it is resumed.",
        "resumed" => "Resumed.",
        "replay-ended" => "This replay had already ended.",
        "replay-cancelled" => "Cancelled: no further deliveries are made, and its pending ones are cancelled.",
        "requeued" => "Sent back to its queue.",
        "tenant-made" => "The tenant was created. Create a key for it next.",
        "key-deleted" => "The key was deleted. It no longer works.",
        "expunged" => "The payload was expunged.",
        _ => return None,
    })
}

/// How an attempt ended, in a sentence or two.
pub(super) fn outcome(attempt: &Attempt) -> String {
    let took = duration(attempt.duration_ms);
    let code = attempt.status_code.map(status_line).unwrap_or_default();
    let what = match attempt.outcome.as_str() {
        "success" => format!("The endpoint answered {code} after {took}."),
        "http_status" => match attempt.status_code.unwrap_or_default() {
            300..400 => format!(
                "The endpoint answered {code}. Redirects are not followed: set the webhook's URL to where it leads."
            ),
            401 | 403 => {
                format!("The endpoint answered {code}: it refused the request. Check its secret and its access rules.")
            }
            404 | 405 => format!("The endpoint answered {code}. Check the path of the webhook's URL."),
            408 => format!("The endpoint answered {code}: it did not get the whole request in time."),
            429 => format!("The endpoint answered {code}: it asks for fewer requests."),
            410 => format!("The endpoint answered {code}: it is gone for good."),
            400..500 => format!("The endpoint answered {code}: it did not accept the request."),
            _ => format!("The endpoint answered {code}: the server failed. Check its logs."),
        },
        "timeout" => format!("No answer came within {took}. Answer with 200 at once and do the work afterwards."),
        "connect_failed" => "No connection could be made. Is the server running, and open to the outside?".to_owned(),
        "dns_failed" => "The name in the URL could not be resolved. Check it for typing errors.".to_owned(),
        "tls_failed" => {
            "The encrypted connection failed. Is the certificate valid, complete and for this name?".to_owned()
        }
        "address_blocked" => "The URL leads to an address that Postrider does not send to.".to_owned(),
        "protocol_error" => "The connection ended before an answer, or what came back is not HTTP.".to_owned(),
        other => format!("It ended as {other}."),
    };
    match &attempt.error {
        Some(error) => format!("{what} ({error})"),
        _ => what,
    }
}

/// Where a delivery stands, in a sentence.
pub(super) fn standing(delivery: &Delivery) -> String {
    let attempts = match delivery.attempt_count {
        1 => "1 attempt".to_owned(),
        n => format!("{n} attempts"),
    };
    match (delivery.status.as_str(), delivery.discard_reason.as_deref()) {
        ("pending", _) if delivery.attempt_count == 0 => "Waiting for the first attempt.".to_owned(),
        ("pending", _) => format!("Failing: {attempts} so far. It will be tried again."),
        ("delivered", _) => format!("Delivered on attempt {}.", delivery.attempt_count),
        ("failed", _) => format!("Failed after {attempts}. No retry is left."),
        ("cancelled", _) => "It was cancelled by hand.".to_owned(),
        (_, Some("expired")) => "It was given up: it could not be attempted in time.".to_owned(),
        (_, Some("endpoint_deleted")) => "It was discarded: the webhook was deleted.".to_owned(),
        (_, Some("endpoint_inactive")) => "It was discarded: the webhook was inactive when it was due.".to_owned(),
        (_, Some("expunged")) => "It was discarded: the event's payload was expunged.".to_owned(),
        (status, _) => format!("It is {status}."),
    }
}

/// Why an attempt was made.
pub(super) fn trigger(name: &str) -> &str {
    match name {
        "first" => "first attempt",
        "retry" => "automatic retry",
        "manual" => "retried by hand",
        "replay" => "replay",
        "test" => "test",
        other => other,
    }
}

/// Why an attempt was held back.
pub(super) fn held(reason: &str) -> &str {
    match reason {
        "rate" => "the webhook's rate",
        "concurrency" => "as many requests as the endpoint can take were open",
        "breaker" => "the endpoint failed too often or asked for a pause, so it got one",
        other => other,
    }
}

/// `503 Service Unavailable`
pub(super) fn status_line(code: u16) -> String {
    let reason = StatusCode::from_u16(code).ok().and_then(|code| code.canonical_reason());
    reason.map_or_else(|| code.to_string(), |reason| format!("{code} {reason}"))
}

/// Milliseconds as people read them.
pub(super) fn duration(ms: f64) -> String {
    match ms {
        ms if ms < 0.05 => "0 ms".to_owned(),
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1_000.0 => format!("{ms:.0} ms"),
        ms if ms < 60_000.0 => format!("{:.1} s", ms / 1_000.0),
        ms if ms < 5_400_000.0 => format!("{:.0} min", ms / 60_000.0),
        ms if ms < 172_800_000.0 => format!("{:.1} h", ms / 3_600_000.0),
        ms => format!("{:.0} days", ms / 86_400_000.0),
    }
}

/// A count with thin groups of three digits.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share of 0 to 1 in percent; it says 100 % only when nothing is missing.
pub(super) fn percent(share: Option<f64>) -> String {
    match share {
        None => "–".to_owned(),
        Some(share) if share >= 1.0 => "100 %".to_owned(),
        Some(share) if share > 0.999 => format!("{:.2} %", (share * 10_000.0).floor() / 100.0),
        Some(share) => format!("{:.1} %", (share * 1_000.0).floor() / 10.0),
    }
}

/// Seconds of a schedule: `1 min`, `30 s`, `2 h`.
pub(super) fn seconds(seconds: u32) -> String {
    match seconds {
        s if s >= 86_400 && s.is_multiple_of(86_400) => format!("{}d", s / 86_400),
        s if s >= 3_600 && s.is_multiple_of(3_600) => format!("{}h", s / 3_600),
        s if s >= 60 && s.is_multiple_of(60) => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// A retry schedule as a form shows and reads it.
pub(super) fn schedule(all: &[u32]) -> String {
    if all.is_empty() { "none".to_owned() } else { all.iter().map(|s| seconds(*s)).collect::<Vec<_>>().join(", ") }
}

/// `sending_domain` as people say it.
pub(super) fn attribute(name: &str) -> String {
    match name {
        "dedicated_ip" => return "Dedicated IP".to_owned(),
        "sending_domain" => return "Sending domain".to_owned(),
        _ => {}
    }
    let mut words = name.replace('_', " ");
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_never_say_more_than_they_know() {
        assert_eq!(percent(Some(0.999_96)), "99.99 %");
        assert_eq!(percent(Some(0.9555)), "95.5 %");
        assert_eq!(percent(Some(1.0)), "100 %");
        assert_eq!(percent(None), "–");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(100), "100");
        assert_eq!(duration(1_530.0), "1.5 s");
        assert_eq!(duration(7_200_000.0), "2.0 h");
        assert_eq!(schedule(&[1, 60, 3_600, 86_400, 90]), "1s, 1m, 1h, 1d, 90s");
        assert_eq!(schedule(&[]), "none");
        assert_eq!(attribute("dedicated_ip"), "Dedicated IP");
        assert_eq!(attribute("sending_node"), "Sending node");
    }
}
