//! What a search in payloads examined, and the link that continues it.

use maud::{Markup, html};
use postrider_operations::events::{EventPage, Searched};

use crate::components::{empty, is_oldest_first, pager_with, time};
use crate::fields::Fields;
use crate::format::plural;
use crate::session::Visitor;

/// The sentences above the list: how many events this page searched, up to which time, and whether the search is complete.
pub(super) fn note(query: &Fields, searched: Searched, listed: &EventPage) -> Markup {
    let to = if is_oldest_first(query) { "up to" } else { "back to" };
    let is_complete = listed.next_cursor.is_none();
    let more = if query.optional("cursor").is_some() { "more " } else { "" };
    let searched = html! {
        "This page searched the payloads of "
        (plural(searched.events.into(), &format!("{more}event"), &format!("{more}events")))
        @if let Some(until) = searched.until { ", " (to) " " (time(until)) }
        @if is_complete { ". There are no others in this time." } @else { ". The search is not complete." }
    };
    html! {
        @if !listed.data.is_empty() { p.searched role="status" { (searched) } }
        @else if is_complete { (empty("No events match", html! { p role="status" { (searched) } })) }
        @else { (empty("Nothing found yet", html! { p role="status" { (searched) " Continue below, or choose a shorter time." } })) }
    }
}

/// The links to the first page of the search and to its continuation.
pub(super) fn pager(visitor: &Visitor, next_cursor: Option<&String>) -> Markup {
    let oldest_first = is_oldest_first(&visitor.query);
    let labels = if oldest_first { ["Oldest", "Search newer"] } else { ["Newest", "Search older"] };
    pager_with(visitor, next_cursor, labels)
}
