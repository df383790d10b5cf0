//! The filters of lists.

use maud::{Markup, html};
use postrider_model::subscription::TypePattern;
use postrider_operations::event_types::EventType;
use postrider_operations::page::List;
use postrider_operations::{Error, FieldError};

use crate::components::options;
use crate::failure::Failure;
use crate::fields::{FieldReader, Fields, NOTICE, RESULT};
use crate::format::{attribute, local};
use crate::session::Visitor;

/// Whether an address has a filter for its list.
pub(crate) fn is_filtered(query: &Fields) -> bool {
    !query.without(&["cursor", NOTICE, RESULT]).is_empty()
}

/// Reads the filter by event type, where `email.` is the pattern `email.*`.
pub(crate) fn read_type(query: &Fields, reader: &mut FieldReader<'_>) -> Option<TypePattern> {
    let text = query.get("type");
    let rest = if text.ends_with('.') { "*" } else { "" };
    reader.parse_text("type", &format!("{text}{rest}"))
}

/// Returns a list, or the errors of its filters. All other errors become an error page.
pub(crate) fn list_or_errors<T>(listed: Result<List<T>, Error>) -> Result<(Option<List<T>>, Markup), Failure> {
    match listed {
        Ok(listed) => Ok((Some(listed), html! {})),
        Err(Error::Invalid(errors)) => Ok((None, show_errors(&errors))),
        Err(error) => Err(error.into()),
    }
}

fn show_errors(errors: &[FieldError]) -> Markup {
    html! { div.problem role="alert" {
        @for error in errors { p { strong { (attribute(&error.pointer)) ": " } (error.detail) } }
    } }
}

/// The form with the filters above a list. Screen readers read its `name`.
pub(crate) fn filter_bar(visitor: &Visitor, name: &str, button: &str, filters: Markup) -> Markup {
    html! { form.filter-bar method="get" action=(visitor.path) role="search" aria-label=(name) {
        (filters)
        div.buttons { button type="submit" { (button) } a.quiet href=(visitor.path) { "Clear" } }
    } }
}

/// A filter as a list of options.
pub(crate) fn choice_filter(id: &str, name: &str, label: &str, options: Markup) -> Markup {
    html! { div { label for=(id) { (label) } select id=(id) name=(name) { (options) } } }
}

/// A filter as a list of names, with an option for all.
pub(crate) fn name_filter(
    name: &str,
    label: &str,
    query: &Fields,
    names: impl IntoIterator<Item = &'static str>,
) -> Markup {
    let all = [("", "all")].into_iter().chain(names.into_iter().map(|name| (name, name)));
    choice_filter(&format!("q-{name}"), name, label, options(query.get(name), all))
}

/// The filter by event type, with the catalog as suggestions.
pub(crate) fn type_filter(query: &Fields, catalog: &[EventType]) -> Markup {
    html! { div { label for="q-type" { "Event type" }
        input #q-type type="text" name="type" list="known-types" value=(query.get("type"))
            autocomplete="off" placeholder="such as email.*";
        datalist #known-types { @for info in catalog { option value=(info.name) {} } }
    } }
}

/// The filters `from` and `to`.
pub(crate) fn time_filters(query: &Fields) -> Markup {
    html! { @for (name, label) in [("from", "From (UTC)"), ("to", "To (UTC)")] {
        @let id = format!("q-{name}");
        div { label for=(id) { (label) } input id=(id) type="datetime-local" name=(name) value=(local(query.get(name))); }
    } }
}

pub(crate) fn text_filter(id: &str, name: &str, label: &str, query: &Fields) -> Markup {
    html! { div { label for=(id) { (label) }
    input id=(id) type="text" name=(name) value=(query.get(name)) autocomplete="off" spellcheck="false"; } }
}
