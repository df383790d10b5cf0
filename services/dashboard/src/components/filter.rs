//! The filters of lists.

use maud::{Markup, html};
use postrider_model::subscription::TypePattern;
use postrider_model::time::UnixMillis;
use postrider_operations::event_types::EventType;
use postrider_operations::{Error, FieldError};

use crate::components::options;
use crate::failure::Failure;
use crate::fields::{FieldReader, Fields, NOTICE, RESULT};
use crate::format::local;
use crate::language::{english, key, t, text};
use crate::session::Visitor;
use crate::texts::field_label;

/// Whether the query of an address contains a filter for the list.
pub(crate) fn is_filtered(query: &Fields) -> bool {
    !query.without(&["cursor", NOTICE, RESULT]).is_empty()
}

/// Reads the filter by event type. `email.` is read as the pattern `email.*`.
pub(crate) fn read_type(query: &Fields, reader: &mut FieldReader<'_>) -> Option<TypePattern> {
    let text = query.get("type");
    let rest = if text.ends_with('.') { "*" } else { "" };
    reader.parse_text("type", &format!("{text}{rest}"))
}

/// Splits the result of reading a list into the list and the errors of its filters, which the page shows. Any other error becomes
/// an error page.
pub(crate) fn list_or_errors<T>(listed: Result<T, Error>) -> Result<(Option<T>, Markup), Failure> {
    match listed {
        Ok(listed) => Ok((Some(listed), html! {})),
        Err(Error::Invalid(errors)) => Ok((None, show_errors(&errors))),
        Err(error) => Err(error.into()),
    }
}

fn show_errors(errors: &[FieldError]) -> Markup {
    html! { div.problem role="alert" {
        @for error in errors { p { strong { (field_label(&error.pointer)) ": " } (english(&error.detail)) } }
    } }
}

/// The form with the filters above a list. Screen readers read `name`.
pub(crate) fn filter_bar(visitor: &Visitor, name: &str, button: &str, filters: Markup) -> Markup {
    html! { form.filter-bar method="get" action=(visitor.path) role="search" aria-label=(name) {
        (filters)
        div.buttons { button type="submit" { (button) } a.quiet href=(visitor.path) { (t!("Clear")) } }
    } }
}

/// A filter with a list of options.
pub(crate) fn choice_filter(id: &str, name: &str, label: &str, options: Markup) -> Markup {
    html! { div { label for=(id) { (label) } select id=(id) name=(name) { (options) } } }
}

/// A filter with a list of names, and an option for all.
pub(crate) fn name_filter(
    name: &str,
    label: &str,
    query: &Fields,
    names: impl IntoIterator<Item = &'static str>,
) -> Markup {
    let all = [("", t!("all"))].into_iter().chain(names.into_iter().map(|name| (name, name.into())));
    choice_filter(&format!("q-{name}"), name, label, options(query.get(name), all))
}

/// The filter by event type. It suggests the types of the catalog.
pub(crate) fn type_filter(query: &Fields, catalog: &[EventType]) -> Markup {
    html! { div { label for="q-type" { (t!("Event type")) }
        input #q-type type="text" name="type" list="known-types" value=(query.get("type"))
            autocomplete="off" placeholder=(t!("such as email.*"));
        datalist #known-types { @for info in catalog { option value=(info.name) {} } }
    } }
}

/// Quick ranges, which end now: the value of the parameter `range`, the length in milliseconds, and the label.
const QUICK: [(&str, i64, &str); 3] = [
    ("hour", 3_600_000, key!("Last hour")),
    ("day", 86_400_000, key!("Last 24 hours")),
    ("week", 604_800_000, key!("Last 7 days")),
];
/// The parameter with a quick range.
pub(crate) const RANGE: &str = "range";

/// Reads the range of time from the query of an address: `from` and `to`, or a quick range if both are absent.
pub(crate) fn read_times(
    query: &Fields,
    reader: &mut FieldReader<'_>,
    now: UnixMillis,
) -> (Option<UnixMillis>, Option<UnixMillis>) {
    let (from, to) = (reader.time("from"), reader.time("to"));
    let quick = QUICK.into_iter().find(|(name, ..)| *name == query.get(RANGE));
    let quick = quick.filter(|_| !has_times(query)).map(|(_, ms, _)| UnixMillis(now.0 - ms));
    (from.or(quick), to)
}

fn has_times(query: &Fields) -> bool {
    query.is_checked("from") || query.is_checked("to")
}

/// Links to the quick ranges of a list. The links keep the list's other filters.
pub(crate) fn quick_ranges(visitor: &Visitor) -> Markup {
    let query = &visitor.query;
    let chosen = if has_times(query) { None } else { Some(query.get(RANGE)) };
    let rest = Fields::read(query.without(&["cursor", "from", "to"]).as_bytes());
    let to = |range: &str| match rest.query_with(RANGE, Some(range).filter(|range| !range.is_empty())) {
        query if query.is_empty() => visitor.path.clone(),
        query => format!("{}?{query}", visitor.path),
    };
    html! { nav.ranges aria-label=(t!("Time")) {
        @for (range, label) in [("", key!("Any time"))].into_iter().chain(QUICK.map(|(range, _, label)| (range, label))) {
            a href=(to(range)) aria-current=[(chosen == Some(range)).then_some("true")] { (text(label)) }
        }
    } }
}

/// A hidden field with the chosen quick range, so that the form with the filters keeps the range.
pub(crate) fn kept_range(query: &Fields) -> Markup {
    html! { @if query.is_checked(RANGE) && !has_times(query) { input type="hidden" name=(RANGE) value=(query.get(RANGE)); } }
}

/// The orders of a list: the value of the parameter `order`, and the label.
const NEWEST: (&str, &str) = ("", key!("newest first"));
const OLDEST: (&str, &str) = ("oldest", key!("oldest first"));

/// Whether the oldest row of a list comes first.
pub(crate) fn is_oldest_first(query: &Fields) -> bool {
    query.get("order") == OLDEST.0
}

/// The filter `order` of a list.
pub(crate) fn order_filter(query: &Fields) -> Markup {
    choice_filter(
        "q-order",
        "order",
        &t!("Order"),
        options(query.get("order"), [NEWEST, OLDEST].map(|(order, label)| (order, text(label)))),
    )
}

/// Filters that are needed less often. They are folded, unless a filter in `names` is set.
pub(crate) fn more_filters(query: &Fields, names: &[&str], filters: Markup) -> Markup {
    html! { details.more open[names.iter().any(|name| query.is_checked(name))] {
        summary { (t!("More filters")) }
        div.filter-fields { (filters) }
    } }
}

/// The filters `from` and `to`. Without scripts, visitors enter times in UTC. With `zone.js`, they enter times in their time
/// zone, and the labels name it.
pub(crate) fn time_filters(query: &Fields) -> Markup {
    html! { @for (name, label) in [("from", key!("From (UTC)")), ("to", key!("To (UTC)"))] {
        @let id = format!("q-{name}");
        div { label for=(id) { (text(label)) } input id=(id) type="datetime-local" name=(name)
            value=(local(query.get(name))) autocomplete="off"; }
    } }
}

pub(crate) fn text_filter(id: &str, name: &str, label: &str, query: &Fields) -> Markup {
    html! { div { label for=(id) { (label) }
    input id=(id) type="text" name=(name) value=(query.get(name)) autocomplete="off" spellcheck="false"; } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_range_ends_now_and_typed_times_replace_it() {
        let check = |query: &str, expected: (Option<i64>, Option<i64>)| {
            let fields = Fields::read(query.as_bytes());
            let mut reader = FieldReader::new(&fields);
            let (from, to) = read_times(&fields, &mut reader, UnixMillis(10_000_000));
            assert_eq!((from.map(|at| at.0), to.map(|at| at.0)), expected, "{query}");
        };
        check("", (None, None));
        check("range=hour", (Some(6_400_000), None));
        check("range=year", (None, None));
        check("range=hour&from=1970-01-01T00:01", (Some(60_000), None));
        check("range=hour&to=1970-01-01T00:01", (None, Some(60_000)));
    }
}
