//! Attempts: a timeline with a row for each attempt, and the details of one attempt.

use maud::{Markup, html};
use postrider_model::attempt::{Outcome, SECRET_MASK};
use postrider_operations::deliveries::{Attempt, DeliveryDetail, Header};

use crate::components::{ago, badge, changes, code, listing, time};
use crate::curl;
use crate::format::{duration, status_line};
use crate::language::{t, tm};
use crate::texts;

/// Holds shorter than this are not shown.
const HELD_SHOWN_MS: u64 = 100;

/// The attempts of a delivery, newest first: a row for each attempt, which unfolds to its details. `at` is the address of the
/// delivery. An attempt is a `curl` command only while the history has the body.
pub(crate) fn timeline(at: &str, found: &DeliveryDetail) -> Markup {
    let attempts = &found.attempts;
    html! { div.timeline {
        @for (index, attempt) in attempts.iter().enumerate().rev() {
            @let before = index.checked_sub(1).and_then(|before| attempts.get(before));
            details.attempt id={ "attempt-" (attempt.send_id) } {
                summary {
                    span.attempt-number { (t!("Attempt {number}", number = attempt.number)) }
                    (result(attempt))
                    span.attempt-answer { (answer(attempt)) }
                    span.faint { (texts::trigger(attempt.trigger)) }
                    span.faint { (ago(attempt.started_at)) }
                    span.faint.number { (duration(attempt.duration_ms)) }
                }
                div.attempt-body {
                    (about(attempt, before))
                    @if found.body.is_some() && can_be_curl(attempt) {
                        p { a.button href={ (at) "/curl?attempt=" (attempt.send_id) } data-copy-url=(t!("Copy as cURL")) {
                            (t!("Show as cURL")) span.unseen { " " (t!("(attempt {number})", number = attempt.number)) }
                        } }
                        @if let Some(remark) = curl::remark(attempt) { p.hint { (remark) } }
                    }
                }
            }
        }
    } }
}

/// One attempt with everything about it.
pub(crate) fn attempt_detail(attempt: &Attempt) -> Markup {
    html! {
        article.panel.attempt aria-label=(t!("Attempt {number}", number = attempt.number)) {
            div.attempt-head {
                h3 { (t!("Attempt {number}", number = attempt.number)) }
                (result(attempt))
                span.faint { (tm!(
                    "{trigger}, {time}, took {duration}",
                    trigger = texts::trigger(attempt.trigger),
                    time = time(attempt.started_at),
                    duration = duration(attempt.duration_ms)
                )) }
            }
            (about(attempt, None))
        }
    }
}

/// Whether the history has the attempt's request as it was sent. `false` for a message to Pushover, which is sent as a form that
/// is not stored, for a message to a chat service, whose URL is secret, for e-mail, and for a batch, of whose body a delivery has only a
/// part.
pub(crate) fn can_be_curl(attempt: &Attempt) -> bool {
    let form = |header: &Header| {
        header.name.eq_ignore_ascii_case("content-type")
            && header.value.starts_with("application/x-www-form-urlencoded")
    };
    attempt.batch.is_none()
        && !attempt.request_headers.iter().any(form)
        && !attempt.url.contains(SECRET_MASK)
        && !attempt.url.starts_with("mailto:")
}

fn result(attempt: &Attempt) -> Markup {
    match attempt.status_code {
        Some(_) => code(attempt.status_code),
        None => badge(if attempt.outcome == Outcome::Success { "success" } else { "failed" }),
    }
}

/// The answer in a few words: the reason phrase of a status code, or why there was no answer.
fn answer(attempt: &Attempt) -> String {
    let phrase = attempt.status_code.map(status_line);
    let phrase = phrase.as_deref().and_then(|line| line.split_once(' ')).map(|(_, phrase)| phrase.to_owned());
    match attempt.outcome {
        Outcome::Success | Outcome::HttpStatus => phrase.unwrap_or_default(),
        outcome => texts::outcome_name(outcome).into_owned(),
    }
}

/// The details of an attempt, and what changed since the attempt before it.
fn about(attempt: &Attempt, before: Option<&Attempt>) -> Markup {
    html! {
        p { (texts::outcome(attempt)) }
        @if let Some(next) = attempt.next_attempt_at {
            p { (tm!(
                "The next attempt was planned for {time}{reason}.",
                time = time(next),
                reason = texts::planned_by(attempt.next_attempt_reason)
            )) }
        }
        @if let Some(before) = before { (changes(before, attempt)) }
        (facts(attempt))
        details { summary { (t!("Request headers")) } (headers(&t!("Request headers"), &attempt.request_headers)) }
        details { summary { (t!("Response")) } (response(attempt)) }
    }
}

fn facts(attempt: &Attempt) -> Markup {
    html! { dl.facts {
        dt { (t!("Sent to")) } dd.long { "POST " (attempt.url) }
        @if let Some(first_byte) = attempt.timing.first_byte_ms {
            dt { (t!("Time to first byte")) } dd { (duration(first_byte)) }
            dt { (t!("Reading the response")) } dd { (duration((attempt.duration_ms - first_byte).max(0.0))) }
        }
        @if let Some(late) = attempt.timing.late_ms { dt { (t!("Started late by")) } dd { (duration(late as f64)) } }
        @if let (Some(ms @ HELD_SHOWN_MS..), Some(reason)) = (attempt.held_ms, attempt.held_reason) {
            dt { (t!("Held back for")) } dd { (duration(ms as f64)) ": " (texts::held(reason)) }
        }
        @if let Some(batch) = attempt.batch {
            dt { (t!("Batch")) }
            dd { (tm!(
                "event {position} of {size} in {batch}",
                position = batch.position,
                size = batch.size,
                batch = html! { code { (batch.id) } }
            )) }
        }
        dt { (t!("Request id")) } dd { code { (attempt.send_id) } }
    } }
}

fn response(attempt: &Attempt) -> Markup {
    html! { @if attempt.status_code.is_none() { p.faint { (t!("There was no response.")) } } @else {
        (headers(&t!("Response headers"), &attempt.response_headers))
        @match &attempt.response_excerpt {
            Some(text) => { (listing(&t!("Response body, the first 4 KiB"), text)) }
            None => { p.faint { (t!("The response had no body.")) } }
        }
    } }
}

fn headers(caption: &str, headers: &[Header]) -> Markup {
    html! { @if headers.is_empty() { p.faint { (t!("None.")) } } @else {
        table.headers {
            colgroup { col.header-name; col; }
            caption.unseen { (caption) }
            thead.unseen { tr { th scope="col" { (t!("Name")) } th scope="col" { (t!("Value")) } } }
            tbody translate="no" { @for header in headers { tr { th scope="row" { (header.name) } td { code { (header.value) } } } } }
        }
    } }
}
