//! Components that several pages share.

mod attempt;
mod cause;
mod changes;
mod chart;
mod delivery;
mod figures;
mod filter;
mod form;
mod json;
mod payload;
mod secret;
mod trouble;
mod verify;
mod webhook;

use maud::{Markup, html};
use postrider_model::timestamp::Timestamp;

pub(crate) use self::attempt::{attempt_detail, can_be_curl, timeline};
pub(crate) use self::cause::{cause_table, top_causes};
use self::changes::changes;
pub(crate) use self::chart::{Axis, Chart, Kind, Series, spark};
pub(crate) use self::delivery::{delivery_badge, delivery_table, latest_deliveries, selectable_deliveries};
pub(crate) use self::figures::{DAY, RANGES, Range, Tile, failures_query, latency, success_tile, tile_list, tiles};
pub(crate) use self::filter::{
    RANGE, choice_filter, filter_bar, is_filtered, is_oldest_first, kept_range, list_or_errors, more_filters,
    name_filter, order_filter, quick_ranges, read_times, read_type, text_filter, time_filters, type_filter,
};
pub(crate) use self::form::{Form, field_errors, options};
pub(crate) use self::payload::{Payload, json_or_text};
pub(crate) use self::secret::{NewSecret, public_key};
pub(crate) use self::trouble::{
    cause, failed_deliveries, is_severe, state, state_badge, trouble_banner, trouble_line, trouble_of_delivery,
};
pub(crate) use self::verify::verification;
pub(crate) use self::webhook::{WebhookOptions, target, webhook_link, webhook_name};

use crate::csrf::FormTokens;
use crate::language::{Text, t, text};
use crate::page::Page;
use crate::session::Visitor;
use crate::texts::status_word;

/// A time in UTC. `time.js` converts it to the visitor's time zone.
pub(crate) fn time(at: Timestamp) -> Markup {
    let text = at.0.to_rfc3339_seconds().replace('T', " ").replace('Z', " UTC");
    html! { time datetime=(at) { (text) } }
}

/// A time in a list. `time.js` replaces it with the time that has passed, such as "3 min ago". The exact time is the title, and
/// screen readers read it.
pub(crate) fn ago(at: Timestamp) -> Markup {
    let text = at.0.to_rfc3339_seconds();
    let short = text.get(5..19).unwrap_or(&text).replace('T', " ");
    html! { time datetime=(at) data-ago title={ (text.replace('T', " ").replace('Z', " UTC")) } { (short) " UTC" } }
}

/// A time in a list that may be absent.
pub(crate) fn ago_if(at: Option<Timestamp>) -> Markup {
    html! { @if let Some(at) = at { (ago(at)) } @else { (absent()) } }
}

/// A time that may be absent.
pub(crate) fn time_if(at: Option<Timestamp>) -> Markup {
    html! { @if let Some(at) = at { (time(at)) } @else { (absent()) } }
}

/// A dash that stands for an absent value.
pub(crate) fn absent() -> Markup {
    html! { span.faint { "–" } }
}

/// A status as a coloured word.
pub(crate) fn badge(status: &str) -> Markup {
    let kind = match status {
        "delivered" | "active" | "finished" | "success" | "closed" => "good",
        "failed" | "failing" | "disabled" | "open" => "bad",
        "pending" | "scheduled" | "queued" | "waiting" | "running" | "half_open" | "recovering" => "busy",
        "paused" | "retrying" | "held" | "unsteady" => "warn",
        _ => "quiet",
    };
    html! { span class={ "badge " (kind) } { (status_word(status)) } }
}

/// A coloured status code.
pub(crate) fn code(code: Option<u16>) -> Markup {
    let kind = match code {
        Some(200..300) => "good",
        Some(300..500) => "warn",
        _ => "bad",
    };
    html! { @if let Some(code) = code { span class={ "badge " (kind) } { (code) } } @else { (absent()) } }
}

/// A column of a table.
#[derive(Clone, Copy)]
pub(crate) enum Column {
    Text(&'static str),
    /// Aligned to the right.
    Number(&'static str),
    /// Like [`Column::Number`], but hidden in windows of medium width. Its cells must have the class `optional`.
    OptionalNumber(&'static str),
    /// With a name that only screen readers can read.
    Unnamed(&'static str),
}

/// The head of a table.
pub(crate) fn head(columns: &[Column]) -> Markup {
    html! { thead { tr { @for column in columns { @match column {
        Column::Text(name) => th scope="col" { (text(name)) },
        Column::Number(name) => th.number scope="col" { (text(name)) },
        Column::OptionalNumber(name) => th.number.optional scope="col" { (text(name)) },
        Column::Unnamed(name) => th scope="col" { span.unseen { (text(name)) } },
    } } } } }
}

/// The links below a list: to its first page and to its next page.
pub(crate) fn pager(visitor: &Visitor, next_cursor: Option<&String>) -> Markup {
    let oldest_first = is_oldest_first(&visitor.query);
    pager_with(
        visitor,
        next_cursor,
        if oldest_first { [t!("Oldest"), t!("Newer")] } else { [t!("Newest"), t!("Older")] },
    )
}

/// Like [`pager`], with these labels for the links to the first page and to the next page.
pub(crate) fn pager_with(visitor: &Visitor, next_cursor: Option<&String>, [first, next]: [Text; 2]) -> Markup {
    let path = &visitor.path;
    let to = |cursor| {
        let query = visitor.query.query_with("cursor", cursor);
        if query.is_empty() { path.clone() } else { format!("{path}?{query}") }
    };
    let paged = visitor.query.optional("cursor").is_some();
    html! { @if paged || next_cursor.is_some() {
        nav.pager aria-label=(t!("Pages")) {
            @if paged { a.button href=(to(None)) { (first) } }
            @if let Some(cursor) = next_cursor { a.button href=(to(Some(cursor))) rel="next" { (next) } }
        }
    } }
}

/// The text of an empty page of a filtered list: the title, which says that no item matches, or that the search stopped before
/// the end of the list.
pub(crate) fn no_match(title: &str, all: &str, next_cursor: Option<&String>) -> Markup {
    let more = html! { p { (t!("A page searches 20,000 rows, and none of these match. Continue below, or choose a shorter time.")) } };
    html! { @if next_cursor.is_some() { (empty(&t!("Nothing found yet"), more)) } @else {
        (empty(title, html! { p { a href=(all) { (t!("Show all")) } } }))
    } }
}

/// A page that asks the visitor to confirm an action.
pub(crate) struct Confirmation<'a> {
    /// The question, such as "Delete Billing?"
    pub(crate) title: &'a str,
    /// The consequences of the action, such as what is lost.
    pub(crate) consequences: Markup,
    /// The address to which the form is sent.
    pub(crate) action: &'a str,
    /// The label of the button.
    pub(crate) button: &'a str,
    /// The address of the page to return to.
    pub(crate) back: &'a str,
}

impl Confirmation<'_> {
    /// The question as a page of a tenant.
    pub(crate) fn page(&self, page: &Page) -> Markup {
        page.show(self.title, self.ask(&page.visitor.tokens, &html! {}))
    }

    /// The question, with a form that contains the `hidden` fields.
    pub(crate) fn ask(&self, tokens: &FormTokens, hidden: &Markup) -> Markup {
        html! {
            h1.long { (self.title) }
            (self.consequences)
            form.buttons method="post" action=(self.action) {
                (tokens)
                (hidden)
                button.danger type="submit" { (self.button) }
                a.button href=(self.back) { (t!("Back")) }
            }
        }
    }
}

/// A form that consists of one button.
pub(crate) fn action(tokens: &FormTokens, path: &str, label: &str, class: &str) -> Markup {
    html! { form.inline method="post" action=(path) { (tokens) button class=(class) type="submit" { (label) } } }
}

/// The text in place of an empty list. `next` says how to fill the list.
pub(crate) fn empty(title: &str, next: Markup) -> Markup {
    html! { div.empty { p.empty-title { (title) } (next) } }
}

/// Text of several lines, such as a body.
pub(crate) fn listing(label: &str, text: &str) -> Markup {
    html! { pre.listing tabindex="0" role="region" aria-label=(label) { code { (text) } } }
}

/// A name or an address that may wrap after a dot, a slash or an underscore.
pub(crate) fn breakable(text: &str) -> Markup {
    html! { @for part in text.split_inclusive(['.', '/', '_']) { (part) wbr; } }
}

/// Short texts as tags, each with a border.
pub(crate) fn tags<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Markup {
    html! { @for text in texts { span.tag { (text.as_ref()) } " " } }
}

/// The first three event types, and the number of the others.
pub(crate) fn types(all: &[String]) -> Markup {
    const SHOWN: usize = 3;
    html! {
        @for name in all.iter().take(SHOWN) { span.tag { @if name == "*" { (t!("all events")) } @else { (breakable(name)) } } " " }
        @if all.len() > SHOWN { span.faint title=(all[SHOWN..].join(", ")) { (t!("+{number} more", number = all.len() - SHOWN)) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Readers who cannot see colours need the status as a word.
    #[test]
    fn a_badge_names_its_status() {
        assert_eq!(badge("half_open").0, "<span class=\"badge busy\">half open</span>");
    }
}
