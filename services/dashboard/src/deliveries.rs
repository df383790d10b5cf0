//! The delivery history, and the page of a delivery with its attempts.

mod detail;
mod test_data;

use std::sync::Arc;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use maud::{Markup, html};
use postrider_model::attempt::Outcome;
use postrider_model::delivery::DeliveryStatus;
use postrider_model::time::UnixMillis;
use postrider_operations::Error;
use postrider_operations::deliveries::{Delivery, DeliveryFilter, DeliveryPhase};
use postrider_operations::endpoints::{HeldKeyAction, ReleaseHeldKey};
use postrider_operations::page::List;
use postrider_operations::saved_views::SavedViewList;

use crate::Dashboard;
use crate::components::{
    Confirmation, RANGE, WebhookOptions, choice_filter, empty, filter_bar, is_filtered, kept_range, list_or_errors,
    more_filters, no_match, options, order_filter, pager, quick_ranges, read_times, read_type, selectable_deliveries,
    text_filter, time, time_filters, type_filter, webhook_link,
};
use crate::failure::Answer;
use crate::fields::{FieldReader, Fields};
use crate::language::{t, tm};
use crate::page::{EndpointNames, Id, Managed, Page};
use crate::texts::{self, Notice};
use crate::{several, views};

pub(crate) use self::detail::holds_key;

/// The outcomes that the filter of the list offers.
const OUTCOMES: [Outcome; 8] = [
    Outcome::Success,
    Outcome::HttpStatus,
    Outcome::Timeout,
    Outcome::ConnectFailed,
    Outcome::DnsFailed,
    Outcome::TlsFailed,
    Outcome::AddressBlocked,
    Outcome::ProtocolError,
];
const STATUSES: [DeliveryStatus; 5] = [
    DeliveryStatus::Pending,
    DeliveryStatus::Delivered,
    DeliveryStatus::Failed,
    DeliveryStatus::Cancelled,
    DeliveryStatus::Discarded,
];

pub(crate) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/dashboard/{tenant}/deliveries", get(list))
        .route("/dashboard/{tenant}/deliveries/{id}", get(detail::show))
        .route("/dashboard/{tenant}/deliveries/{id}/body", get(detail::whole_body))
        .route("/dashboard/{tenant}/deliveries/{id}/curl", get(detail::as_curl))
        .route("/dashboard/{tenant}/deliveries/{id}/retry", get(detail::show).post(retry))
        .route("/dashboard/{tenant}/deliveries/{id}/skip", get(detail::show).post(skip))
        .route("/dashboard/{tenant}/deliveries/{id}/cancel", get(ask_cancel).post(cancel))
        .route("/dashboard/{tenant}/deliveries/{id}/expunge", get(test_data::ask).post(test_data::expunge))
}

/// The parameters of the list's address that [`read_filter`] reads.
pub(crate) const FILTERS: [&str; 14] = [
    "endpoint_id",
    "event_id",
    "replay_id",
    "status",
    "phase",
    "status_code",
    "outcome",
    "type",
    "failed_attempts",
    "from",
    "to",
    RANGE,
    "test",
    "order",
];

/// Reads the filter from the query of an address. The parameters have the same names as in the API. A quick range ends at `now`.
pub(crate) fn read_filter(query: &Fields, now: UnixMillis) -> Result<DeliveryFilter, Error> {
    let mut reader = FieldReader::new(query);
    // The phases of a pending delivery are choices of the field `status`.
    let phase: Option<DeliveryPhase> = query.get("status").parse().ok().or_else(|| reader.parse("phase"));
    let (from, to) = read_times(query, &mut reader, now);
    let filter = DeliveryFilter {
        endpoint: reader.parse("endpoint_id"),
        event: reader.parse("event_id"),
        status: if phase.is_some() { None } else { reader.parse("status") },
        phase,
        holding: Vec::new(),
        status_code: reader.parse("status_code"),
        outcome: reader.parse("outcome"),
        event_type: read_type(query, &mut reader),
        replay: reader.parse("replay_id"),
        failed_attempts: reader.parse("failed_attempts"),
        from,
        to,
        test: reader.parse("test"),
        order: reader.parse("order"),
    };
    reader.finish(filter)
}

/// `GET …/deliveries`
async fn list(page: Page) -> Answer {
    let query = &page.visitor.query;
    let page_query = query.page_query();
    let listed = async {
        page.operations.list_deliveries(page.caller, &read_filter(query, UnixMillis::now())?, &page_query).await
    }
    .await;
    let (listed, errors) = list_or_errors(listed)?;
    let ids = listed.iter().flat_map(|listed| &listed.data).map(|delivery| delivery.endpoint_id);
    let names = page.endpoint_names(ids).await?;
    let (views, filters) = if page.visitor.live {
        (html! {}, html! {})
    } else {
        (views::bar(&page, SavedViewList::Deliveries).await?, filters(&page).await?)
    };
    let content = html! {
        h1 { (t!("Deliveries")) }
        (views)
        (quick_ranges(&page.visitor))
        (filters)
        (errors)
        @if let Some(listed) = &listed { (history(&page, listed, &names)) }
    };
    Ok(page.show(&t!("Deliveries"), content))
}

fn history(page: &Page, listed: &List<Delivery>, names: &EndpointNames) -> Markup {
    let query = &page.visitor.query;
    let live = if query.optional("cursor").is_some() { "off" } else { "on" };
    html! {
        (several::buttons(page))
        section #deliveries aria-label=(t!("Deliveries")) data-live=(live) {
            @if !listed.data.is_empty() {
                (selectable_deliveries(page, &listed.data, names))
            } @else if is_filtered(query) {
                (no_match(&t!("No deliveries match"), &page.to("/deliveries"), listed.next_cursor.as_ref()))
            } @else {
                (empty(&t!("No deliveries yet"), html! { p {
                    (t!("A delivery appears here when an event matches a {webhook}.")) " "
                    (tm!("{link} to see one now.", link = html! { a href=(page.to("/webhooks")) { (t!("Send a test")) } }))
                } }))
            }
        }
        (pager(&page.visitor, listed.next_cursor.as_ref()))
    }
}

/// The options of the filter `status`: the statuses, with the phases of a pending delivery after `pending`.
fn status_options(chosen: &str) -> Markup {
    let phases = DeliveryPhase::ALL.map(|phase| (phase.as_str(), texts::phase_option(phase)));
    let statuses = STATUSES.map(|status| (status.as_str(), texts::status_word(status.as_str())));
    let [pending, ended @ ..] = statuses;
    options(chosen, [("", t!("all")), pending].into_iter().chain(phases).chain(ended))
}

async fn filters(page: &Page) -> Answer {
    let query = &page.visitor.query;
    let chosen = query.get("endpoint_id");
    let webhooks = WebhookOptions::load(page, chosen).await?;
    let catalog = page.operations.catalog(page.caller).await?;
    let attempts = [("", t!("all")), ("true", t!("with a failed attempt")), ("false", t!("without failed attempts"))];
    let outcomes = OUTCOMES.map(|outcome| (outcome.as_str(), texts::outcome_name(outcome)));
    let outcomes = options(query.get("outcome"), [("", t!("any"))].into_iter().chain(outcomes));
    let more = html! {
        (choice_filter("q-failed", "failed_attempts", &t!("Attempts"), options(query.get("failed_attempts"), attempts)))
        (text_filter("q-event_id", "event_id", &t!("Event id"), query))
        (text_filter("q-replay_id", "replay_id", &t!("Replay id"), query))
        (time_filters(query))
        (order_filter(query))
    };
    let filters = html! {
        (choice_filter("q-endpoint", "endpoint_id", &t!("{Webhook}"), webhooks.show(chosen, &t!("all"))))
        (choice_filter("q-status", "status", &t!("Status"), status_options(query.get("status"))))
        div { label for="q-code" { (t!("Code")) }
            input #q-code type="text" name="status_code" value=(query.get("status_code"))
                autocomplete="off" placeholder=(t!("such as 404 or 5xx")); }
        (choice_filter("q-outcome", "outcome", &t!("Answer"), outcomes))
        (type_filter(query, &catalog))
        (more_filters(query, &["failed_attempts", "event_id", "replay_id", "from", "to", "order"], more))
        (kept_range(query))
        @if let Some(test) = query.optional("test") { input type="hidden" name="test" value=(test); }
    };
    Ok(filter_bar(&page.visitor, &t!("Deliveries"), &t!("Filter"), filters))
}

/// `POST …/deliveries/{id}/retry`
async fn retry(Managed(page): Managed<Page>, Id(id): Id) -> Answer<Redirect> {
    let accepted = page.operations.retry_delivery(page.caller, &id).await?;
    Ok(page.redirect(format!("/deliveries/{}", accepted.id), Notice::RetryRequested))
}

/// `POST …/deliveries/{id}/skip`: lets the deliveries behind a failed one go on.
async fn skip(Managed(page): Managed<Page>, Id(id): Id) -> Answer<Redirect> {
    let found = page.operations.read_delivery(page.caller, &id).await?;
    // Another failed delivery may hold the key by now.
    if !holds_key(&found) {
        return Err(Error::Conflict("this delivery does not hold its key".to_owned()).into());
    }
    let key = found.place.map(|place| place.key).unwrap_or_default();
    let release = ReleaseHeldKey { key, action: HeldKeyAction::Skip };
    page.operations.release_held_key(page.caller, &found.delivery.endpoint_id.to_string(), &release).await?;
    Ok(page.redirect(format!("/deliveries/{id}"), Notice::HeldKeyReleased))
}

/// `GET …/deliveries/{id}/cancel`
async fn ask_cancel(Managed(page): Managed<Page>, Id(id): Id) -> Answer {
    let delivery = page.operations.read_delivery(page.caller, &id).await?.delivery;
    let names = page.endpoint_names([delivery.endpoint_id]).await?;
    let at = page.to(format!("/deliveries/{id}"));
    let confirmation = Confirmation {
        title: &t!("Cancel this delivery of {event}?", event = delivery.event_type),
        consequences: html! {
            p {
                (tm!(
                    delivery.attempt_count.into(),
                    "To {link}, created {time}, {count} attempt so far.",
                    "To {link}, created {time}, {count} attempts so far.",
                    link = webhook_link(&page, delivery.endpoint_id, &names),
                    time = time(delivery.created_at)
                ))
            }
            p { (t!("There will be no further attempts. The {webhook} does not receive this event unless you send it again.")) }
        },
        action: &format!("{at}/cancel"),
        button: &t!("Cancel delivery"),
        back: &at,
    };
    Ok(confirmation.page(&page))
}

/// `POST …/deliveries/{id}/cancel`
async fn cancel(Managed(page): Managed<Page>, Id(id): Id) -> Answer<Redirect> {
    let notice = match page.operations.cancel_delivery(page.caller, &id).await {
        Ok(_) => Notice::DeliveryCancelled,
        Err(Error::Conflict(_)) => Notice::DeliveryAlreadyFinished,
        Err(error) => return Err(error.into()),
    };
    Ok(page.redirect(format!("/deliveries/{id}"), notice))
}
