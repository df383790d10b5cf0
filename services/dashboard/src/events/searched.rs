//! What a search in payloads examined, and the link that continues it.

use maud::{Markup, html};
use postrider_operations::events::{EventPage, Searched};

use crate::components::{empty, is_oldest_first, pager_with, time};
use crate::fields::Fields;
use crate::language::{t, tm};
use crate::session::Visitor;

/// The sentences above the list: how many events this page searched, up to which time, and whether the search is complete.
pub(super) fn note(query: &Fields, searched: Searched, listed: &EventPage) -> Markup {
    let is_complete = listed.next_cursor.is_none();
    let events: u64 = searched.events.into();
    let events = match query.optional("cursor") {
        Some(_) => t!(events, "{count} more event", "{count} more events"),
        None => t!(events, "{count} event", "{count} events"),
    };
    let so_far = match (searched.until, is_oldest_first(query)) {
        (None, _) => tm!("This page searched the payloads of {events}.", events = events),
        (Some(until), true) => {
            tm!("This page searched the payloads of {events}, up to {time}.", events = events, time = time(until))
        }
        (Some(until), false) => {
            tm!("This page searched the payloads of {events}, back to {time}.", events = events, time = time(until))
        }
    };
    let searched = html! {
        (so_far) " "
        @if is_complete { (t!("There are no others in this time.")) } @else { (t!("The search is not complete.")) }
    };
    html! {
        @if !listed.data.is_empty() { p.searched role="status" { (searched) } }
        @else if is_complete { (empty(&t!("No events match"), html! { p role="status" { (searched) } })) }
        @else { (empty(&t!("Nothing found yet"), html! { p role="status" {
            (searched) " " (t!("Continue below, or choose a shorter time."))
        } })) }
    }
}

/// The links to the first page of the search and to its continuation.
pub(super) fn pager(visitor: &Visitor, next_cursor: Option<&String>) -> Markup {
    let oldest_first = is_oldest_first(&visitor.query);
    let labels = if oldest_first { [t!("Oldest"), t!("Search newer")] } else { [t!("Newest"), t!("Search older")] };
    pager_with(visitor, next_cursor, labels)
}
