//! Dead letters, which are messages that Postrider could not process: the list with its filters, the page of a letter, and
//! changes.

mod change;
mod detail;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use maud::{Markup, html};
use postrider_model::time::UnixMillis;
use postrider_operations::Error;
use postrider_operations::dead_letters::{DeadLetter, DeadLetterFilter, DeadLetterState, dead_letter_sources};
use postrider_operations::page::List;

use crate::Dashboard;
use crate::components::Column::{OptionalNumber, Text, Unnamed};
use crate::components::{
    absent, ago, badge, choice_filter, empty, filter_bar, head, is_filtered, kept_range, list_or_errors, name_filter,
    no_match, options, pager, quick_ranges, read_times, text_filter, time_filters,
};
use crate::failure::Answer;
use crate::fields::{FieldReader, Fields};
use crate::format::bytes;
use crate::page::OperatorPage;

/// The address of the list.
const AT: &str = "/dashboard/operator/dead-letters";
/// The value of the filter `state` that selects letters in every state.
const ALL: &str = "all";
/// Maximum number of characters of a reason in the list.
const REASON_CHARS_MAX: usize = 200;

pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/dashboard/operator/dead-letters", get(list))
        .route("/dashboard/operator/dead-letters/{id}", get(detail::show))
        .route("/dashboard/operator/dead-letters/{id}/requeue", get(detail::show).post(detail::requeue))
        .route("/dashboard/operator/dead-letters/{id}/discard", get(detail::ask_discard).post(detail::discard))
        .route("/dashboard/operator/several-dead-letters", get(change::to_list).post(change::change))
}

/// Reads the filter from the query of an address. The parameters have the same names as in the API. Without the parameter
/// `state`, the filter selects open letters.
fn read_filter(query: &Fields) -> Result<DeadLetterFilter, Error> {
    let mut reader = FieldReader::new(query);
    let state = match query.get("state") {
        "" => Some(DeadLetterState::Open),
        ALL => None,
        _ => reader.parse("state"),
    };
    let (from, to) = read_times(query, &mut reader, UnixMillis::now());
    reader.finish(DeadLetterFilter {
        state,
        reason: query.optional("reason"),
        source: query.optional("source"),
        from,
        to,
    })
}

/// `GET /dashboard/operator/dead-letters`
async fn list(page: OperatorPage) -> Answer {
    let (caller, query) = (page.visitor.caller, &page.visitor.query);
    let page_query = query.page_query();
    let listed = async { page.operations.list_dead_letters(caller, &read_filter(query)?, &page_query).await }.await;
    let (listed, errors) = list_or_errors(listed)?;
    let content = html! {
        h1 { "Dead letters" }
        p { "Messages that Postrider could not process. Fix the cause, then send them back to their queue, or discard them." }
        (quick_ranges(&page.visitor))
        (filters(&page))
        (errors)
        @if let Some(listed) = &listed { (letters(&page, listed)) }
    };
    Ok(page.show("Dead letters", content))
}

fn filters(page: &OperatorPage) -> Markup {
    let query = &page.visitor.query;
    let states = [("", "open"), ("requeued", "sent back"), ("discarded", "discarded"), (ALL, "all")];
    let filters = html! {
        (text_filter("q-reason", "reason", "Reason contains", query))
        (name_filter("source", "Source", query, dead_letter_sources()))
        (choice_filter("q-state", "state", "State", options(query.get("state"), states)))
        (time_filters(query))
        (kept_range(query))
    };
    filter_bar(&page.visitor, "Dead letters", "Filter", filters)
}

fn letters(page: &OperatorPage, listed: &List<DeadLetter>) -> Markup {
    let selectable = listed.data.iter().any(|letter| letter.state() == DeadLetterState::Open);
    html! {
        @if selectable { (change::buttons(page)) }
        @if !listed.data.is_empty() { (table(&listed.data)) }
        @else if is_filtered(&page.visitor.query) { (no_match("No dead letters match", AT, listed.next_cursor.as_ref())) }
        @else { (empty("No open dead letters", html! {})) }
        (pager(&page.visitor, listed.next_cursor.as_ref()))
    }
}

fn table(letters: &[DeadLetter]) -> Markup {
    let columns = [
        Unnamed("Select"),
        Text("Reason"),
        Text("Source"),
        Text("Routing key"),
        OptionalNumber("Size"),
        Text("Received"),
        Text("State"),
    ];
    html! { table.rows.dense.letters data-rows {
        caption.unseen { "Dead letters, newest first" }
        (head(&columns))
        tbody { @for letter in letters { (row(letter)) } }
    } }
}

fn row(letter: &DeadLetter) -> Markup {
    let reason = shortened(&letter.reason);
    let open = letter.state() == DeadLetterState::Open;
    html! { tr {
        td data-label="Select" { @if open { (change::checkbox(letter, &reason)) } @else { (absent()) } }
        th.cut scope="row" data-label="Reason" title=(reason) { a href={ (AT) "/" (letter.id) } { (reason) } }
        td.cut data-label="Source" title=(letter.source) { (letter.source) }
        td.cut data-label="Routing key" title=(letter.routing_key) {
            @if letter.routing_key.is_empty() { (absent()) } @else { (letter.routing_key) }
        }
        td.number.optional data-label="Size" { (bytes(usize::try_from(letter.body_bytes).unwrap_or(usize::MAX))) }
        td data-label="Received" { (ago(letter.received_at)) }
        td data-label="State" { (state_badge(letter)) }
    } }
}

fn state_badge(letter: &DeadLetter) -> Markup {
    badge(match letter.state() {
        DeadLetterState::Open => "open",
        DeadLetterState::Requeued => "sent back",
        DeadLetterState::Discarded => "discarded",
    })
}

/// The start of a reason, for a list or a title.
fn shortened(reason: &str) -> String {
    let mut chars = reason.chars();
    let mut text: String = chars.by_ref().take(REASON_CHARS_MAX).collect();
    if chars.next().is_some() {
        text.push('…');
    }
    text
}
