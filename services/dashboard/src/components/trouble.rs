//! What is wrong with a webhook: since when and why it fails, and a link that recovers the events it did not receive.

use maud::{Markup, html};
use postrider_model::breaker::BreakerState;
use postrider_model::delivery::{DeliveryStatus, EndpointStatus};
use postrider_operations::Error;
use postrider_operations::deliveries::Delivery;
use postrider_operations::endpoints::{Endpoint, Failure, Health, HealthState};

use crate::components::{badge, time};
use crate::document::sender;
use crate::failure::Answer;
use crate::format::status_line;
use crate::language::{Text, english, t, tm};
use crate::page::Page;
use crate::texts::{advice, unanswered};

/// The state of a webhook as a coloured word.
pub(crate) fn state(endpoint: &Endpoint) -> Markup {
    state_badge(endpoint.status, endpoint.health.state, endpoint.breaker.state)
}

/// The state of an endpoint with this status, health and breaker, as a coloured word.
pub(crate) fn state_badge(status: EndpointStatus, health: HealthState, breaker: BreakerState) -> Markup {
    badge(match (status, health) {
        (EndpointStatus::Disabled, _) => "disabled",
        (EndpointStatus::Inactive, _) => "inactive",
        (EndpointStatus::Paused, _) => "paused",
        (EndpointStatus::Active, HealthState::Failing) => "failing",
        (EndpointStatus::Active, HealthState::Unsteady) => "unsteady",
        (EndpointStatus::Active, _) if breaker != BreakerState::Closed => "recovering",
        (EndpointStatus::Active, HealthState::Healthy | HealthState::Unknown) => "active",
    })
}

/// Why the attempts fail, in a sentence or two.
pub(crate) fn cause(failure: &Failure) -> Markup {
    let Some(words) = unanswered(failure.outcome) else {
        let code = failure.status_code.unwrap_or_default();
        return html! { (t!("It answers {code}{advice}", code = status_line(code), advice = advice(code))) };
    };
    html! { (words) @if let Some(error) = &failure.error { " (" (english(error)) ")" } }
}

/// The address of the list of deliveries to a webhook that have a failed attempt.
pub(crate) fn failed_deliveries(page: &Page, endpoint: &Endpoint) -> String {
    page.to(format!("/deliveries?endpoint_id={}&failed_attempts=true&test=false", endpoint.id))
}

/// What is wrong with a webhook in one line, for a list; `None` if nothing is wrong.
pub(crate) fn trouble_line(page: &Page, endpoint: &Endpoint) -> Option<Markup> {
    let said = what(endpoint)?;
    Some(html! {
        (said) @if let Some(why) = why(endpoint) { " " (why) } @if let Some(held) = held(endpoint) { " " (held) }
        @if let Some((label, at)) = recovery(page, endpoint) { " " a href=(at) { (label) span.unseen { " " (endpoint.name) } } }
    })
}

/// A banner for the page of a webhook: what is wrong, and the link that recovers the webhook. Empty if nothing is wrong.
pub(crate) fn trouble_banner(page: &Page, endpoint: &Endpoint) -> Markup {
    banner(page, endpoint, why(endpoint))
}

/// Whether the webhook fails or was stopped because it failed. What else is said about a webhook is a warning.
pub(crate) fn is_severe(endpoint: &Endpoint) -> bool {
    endpoint.status == EndpointStatus::Disabled
        || endpoint.paused_reason.is_some()
        || (endpoint.status == EndpointStatus::Active && endpoint.health.state == HealthState::Failing)
}

fn banner(page: &Page, endpoint: &Endpoint, why: Option<Markup>) -> Markup {
    let severe = is_severe(endpoint);
    html! { @if let Some(said) = what(endpoint) {
        div.trouble.problem[severe].warning[!severe] role="note" aria-label=(t!("Problem")) {
            p { strong { (said) } }
            @if let Some(why) = why { p { (why) } }
            @if let Some(held) = held(endpoint) { p { (held) } }
            div.buttons {
                @if endpoint.status == EndpointStatus::Paused && page.can_manage() { (paused_buttons(page, endpoint)) }
                @if let Some((label, at)) = recovery(page, endpoint) { a.button.primary href=(at) { (label) } }
                @if endpoint.health.last_failure.is_some() {
                    a href=(failed_deliveries(page, endpoint)) { (t!("Show deliveries with failures")) }
                }
            }
        }
    } }
}

/// The buttons that resume a paused webhook, and that skip what waits for it.
fn paused_buttons(page: &Page, endpoint: &Endpoint) -> Markup {
    let at = page.to(format!("/webhooks/{}", endpoint.id));
    html! {
        form.inline method="post" action={ (at) "/status" } {
            (page.visitor.tokens)
            input type="hidden" name="back" value="webhook";
            input type="hidden" name="status" value="active";
            button.primary type="submit" { (t!("Resume")) }
        }
        a.button href={ (at) "/skip" } { (t!("Skip what waits")) }
    }
}

/// Why a webhook is paused, and how much waits for it.
fn paused(endpoint: &Endpoint) -> Markup {
    let since = endpoint.paused_at.map_or_else(|| html! { "–" }, time);
    let said = match endpoint.paused_reason.as_deref() {
        Some(reason) => tm!(
            "{sender} paused this {webhook} on {time}: {reason}.",
            sender = sender(),
            time = since,
            reason = english(reason)
        ),
        None => tm!("Paused since {time}.", time = since),
    };
    html! { (said) " " (match endpoint.set_aside {
        None => t!("Nothing waits yet."),
        Some(waits) => t!(
            waits.deliveries,
            "{count} delivery waits until it is resumed.",
            "{count} deliveries wait until it is resumed."
        ),
    }) }
}

/// The banner of a delivery's webhook, for a delivery that did not arrive. Empty if the webhook was deleted or nothing is wrong.
pub(crate) async fn trouble_of_delivery(page: &Page, delivery: &Delivery) -> Answer {
    if delivery.test
        || !matches!(delivery.status, DeliveryStatus::Pending | DeliveryStatus::Failed | DeliveryStatus::Discarded)
    {
        return Ok(html! {});
    }
    match page.operations.read_endpoint(page.caller, &delivery.endpoint_id.to_string()).await {
        Ok(endpoint) => {
            // The page of the delivery has its own cause. Only another cause of the webhook is news.
            let is_same =
                |last: &Failure| (Some(last.outcome), last.status_code) == (delivery.outcome, delivery.status_code);
            let known = endpoint.health.last_failure.as_ref().is_some_and(is_same);
            Ok(banner(page, &endpoint, why(&endpoint).filter(|_| !known)))
        }
        Err(Error::NotFound(_)) => Ok(html! {}),
        Err(error) => Err(error.into()),
    }
}

/// What is wrong with a webhook, and since when; `None` if nothing is wrong.
fn what(endpoint: &Endpoint) -> Option<Markup> {
    let Health { failures_in_a_row: failures, failing_since, last_outage, last_off, recover_since, .. } =
        &endpoint.health;
    let failures: u64 = (*failures).into();
    match (endpoint.status, endpoint.health.state) {
        (EndpointStatus::Inactive, _) => None,
        (EndpointStatus::Paused, _) => Some(paused(endpoint)),
        (EndpointStatus::Disabled, _) => {
            let reason = endpoint.disabled_reason.as_deref();
            let reason = reason.map_or_else(|| html! { (t!("it kept failing")) }, english);
            let sender = sender();
            Some(match endpoint.disabled_at.map(time) {
                Some(at) => tm!(
                    "{sender} switched this {webhook} off on {time}: {reason}. It receives nothing.",
                    sender = sender,
                    time = at,
                    reason = reason
                ),
                None => {
                    tm!(
                        "{sender} switched this {webhook} off: {reason}. It receives nothing.",
                        sender = sender,
                        reason = reason
                    )
                }
            })
        }
        (EndpointStatus::Active, HealthState::Failing) => Some(match failing_since {
            Some(since) => tm!(
                failures,
                "Failing since {time}, {count} failed attempt in a row.",
                "Failing since {time}, {count} failed attempts in a row.",
                time = time(*since)
            ),
            None => html! { (t!("Failing.")) },
        }),
        (EndpointStatus::Active, HealthState::Unsteady) => Some(match failing_since {
            Some(since) => tm!(
                failures,
                "{count} failed attempt since {time}.",
                "{count} failed attempts since {time}.",
                time = time(*since)
            ),
            None => html! { (t!(failures, "{count} failed attempt.", "{count} failed attempts.")) },
        }),
        (EndpointStatus::Active, HealthState::Healthy | HealthState::Unknown) => {
            if let Some(waits) = endpoint.set_aside {
                return Some(html! { (t!(
                    waits.deliveries,
                    "{count} delivery that waited is sent now.",
                    "{count} deliveries that waited are sent now, oldest first."
                )) });
            }
            (*recover_since)?;
            // The text names the later of the two outages. The recovery covers both.
            let failed = last_outage.map(|outage| (t!("It failed"), outage));
            let off = last_off.map(|outage| (t!("It was off"), outage));
            let (was, outage) = failed.into_iter().chain(off).max_by_key(|(_, outage)| outage.until)?;
            let from = time(outage.from);
            Some(match outage.until.map(time) {
                Some(to) => tm!(
                    "{was} from {from} to {to} and works again. Events of that time may be missing.",
                    was = was,
                    from = from,
                    to = to
                ),
                None => {
                    tm!(
                        "{was} from {from} and works again. Events of that time may be missing.",
                        was = was,
                        from = from
                    )
                }
            })
        }
    }
}

/// Why the attempts fail; `None` if the webhook is active and does not fail, or if no failure is known.
fn why(endpoint: &Endpoint) -> Option<Markup> {
    // A webhook that a person paused may be healthy: its last failure is not why it is paused.
    let off = match endpoint.status {
        EndpointStatus::Active => false,
        EndpointStatus::Paused => endpoint.paused_reason.is_some(),
        EndpointStatus::Inactive | EndpointStatus::Disabled => true,
    };
    let fails = matches!(endpoint.health.state, HealthState::Failing | HealthState::Unsteady);
    // The reason of a webhook that was switched off usually is its last answer.
    let is_said = |last: &&Failure| match (
        endpoint.disabled_reason.as_ref().or(endpoint.paused_reason.as_ref()),
        last.status_code,
    ) {
        (Some(reason), Some(code)) if off => reason.contains(&code.to_string()),
        _ => false,
    };
    endpoint.health.last_failure.as_ref().filter(|last| (off || fails) && !is_said(last)).map(cause)
}

/// How the breaker limits the attempts; `None` if it does not.
fn held(endpoint: &Endpoint) -> Option<Text> {
    match endpoint.breaker.state {
        _ if endpoint.status != EndpointStatus::Active => None,
        BreakerState::Closed => None,
        BreakerState::Open => Some(t!("One attempt is made at a time until one succeeds. No delivery is skipped.")),
        BreakerState::HalfOpen => {
            Some(t!("It succeeds again: one attempt is made at a time until a few in a row have succeeded."))
        }
    }
}

/// The label and the address of the link to the recovery; `None` if there is nothing to recover, or the visitor may not start it.
fn recovery(page: &Page, endpoint: &Endpoint) -> Option<(Text, String)> {
    let paused = endpoint.status == EndpointStatus::Paused;
    endpoint.health.recover_since.filter(|_| page.can_manage() && !paused)?;
    let label = if endpoint.status == EndpointStatus::Active { t!("Recover") } else { t!("Switch on and recover") };
    Some((label, page.to(format!("/webhooks/{}/recover", endpoint.id))))
}
