//! Why each webhook got an event, or did not: grouped by the reason, each group a page at a time.

use std::sync::Arc;

use axum::extract::{Path, State};
use maud::{Markup, html};
use serde_json::Value;

use super::super::deliveries::webhook;
use super::super::failure::Failure;
use super::super::page::Page;
use super::super::parts::empty;
use super::super::webhooks::{Named, Names, names};
use super::super::words::attribute;
use crate::Api;
use crate::explain::{self, Explanation, Reason};
use crate::request::Params;

/// Webhooks of a group on the page of the event.
const GLANCE: usize = 10;
/// Webhooks of a group on a page of its own.
const PAGE: usize = 50;

/// What became of the event for a webhook. The variants are in the order of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Fired,
    Undecided,
    FilteredOut,
    NotSubscribed,
    Off,
}

const GROUPS: [Group; 5] = [Group::Fired, Group::Undecided, Group::FilteredOut, Group::NotSubscribed, Group::Off];

impl Group {
    fn of(explanation: &Explanation) -> Self {
        match explanation.matched {
            Some(true) => return Self::Fired,
            None => return Self::Undecided,
            Some(false) => {}
        }
        match explanation.reasons.iter().find(|reason| !reason.passed).map(|reason| reason.check.as_str()) {
            Some("event_types") => Self::NotSubscribed,
            Some(check) if check == "payload_filter" || check.starts_with("filters.") => Self::FilteredOut,
            _ => Self::Off,
        }
    }

    /// Its name in an address.
    fn key(self) -> &'static str {
        match self {
            Self::Fired => "fired",
            Self::Undecided => "undecided",
            Self::FilteredOut => "filtered",
            Self::NotSubscribed => "unsubscribed",
            Self::Off => "off",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Fired => "Fired",
            Self::Undecided => "Not decided yet",
            Self::FilteredOut => "Filtered out",
            Self::NotSubscribed => "Not subscribed",
            Self::Off => "Not active, or not for this origin",
        }
    }
}

/// The section of the event's page. `?why=<group>&skip=<n>` shows a page of one group.
pub(super) async fn section(api: &Arc<Api>, page: &Page, id: &str) -> Result<Markup, Failure> {
    let state = State(Arc::clone(api));
    let explained = explain::explain(state, page.caller, Params::default(), Path(id.to_owned())).await?.0.data;
    let one = GROUPS.into_iter().find(|group| group.key() == page.query.get("why"));
    let (skip, take) = match one {
        Some(_) => (page.query.get("skip").parse().unwrap_or(0), PAGE),
        None => (0, GLANCE),
    };
    let groups: Vec<(Group, usize, Vec<&Explanation>)> = GROUPS
        .into_iter()
        .filter(|group| one.is_none_or(|one| one == *group))
        .map(|group| {
            let members: Vec<_> = explained.iter().filter(|explanation| Group::of(explanation) == group).collect();
            (group, members.len(), members.into_iter().skip(skip).take(take).collect())
        })
        .filter(|(_, all, _)| *all > 0)
        .collect();
    let shown = groups.iter().flat_map(|(.., shown)| shown).map(|explanation| explanation.endpoint_id.as_str());
    let names = names(api, page, shown).await?;
    let at = page.to(format!("/events/{id}"));
    Ok(html! {
        section #why aria-labelledby="why-title" {
            h2 #why-title { "Why it fired, or did not" }
            @if explained.is_empty() { (empty("There are no webhooks", html! { p { a href=(page.to("/webhooks/new")) { "Add one" } } })) }
            @for (group, all, shown) in &groups {
                details.why-group open[one.is_some() || *group != Group::NotSubscribed && *group != Group::Off] {
                    summary { (group.title()) " (" (all) ")" }
                    @for explanation in shown { (why(page, *group, explanation, &names)) }
                    (pager(&at, *group, one.is_some(), skip, *all))
                }
            }
            @if one.is_some() { p { a href={ (at) "#why" } { "All groups" } } }
        }
    })
}

fn pager(at: &str, group: Group, alone: bool, skip: usize, all: usize) -> Markup {
    let to = |skip: usize| format!("{at}?why={}&skip={skip}#why", group.key());
    html! {
        @if !alone && all > GLANCE { p { a href=(to(0)) { "Show all " (all) } } }
        @if alone && all > PAGE {
            nav.pager aria-label=(group.title()) {
                @if skip > 0 { a.button href=(to(skip.saturating_sub(PAGE))) rel="prev" { "Previous" } }
                @if skip + PAGE < all { a.button href=(to(skip + PAGE)) rel="next" { "Next" } }
            }
        }
    }
}

fn why(page: &Page, group: Group, explanation: &Explanation, names: &Names) -> Markup {
    let (word, kind) = match group {
        Group::Fired => ("fired", "good"),
        Group::Undecided => ("not decided yet", "busy"),
        _ => ("did not fire", "quiet"),
    };
    let differs = explanation.matched.is_some_and(|matched| matched != explanation.now.matched);
    let first_failed = explanation.reasons.iter().find(|reason| !reason.passed);
    let name = names.get(&explanation.endpoint_id).map_or(explanation.endpoint_id.clone(), Named::shown);
    html! {
        details.why open[differs] {
            summary {
                span class={ "badge " (kind) } { (word) } " " (name)
                @if let Some(reason) = first_failed { span.faint { " because of " (check_name(&reason.check)) } }
            }
            @if !explanation.reasons.is_empty() { (reasons("As it was decided then", &explanation.reasons)) }
            @if differs || explanation.reasons.is_empty() {
                p { @if explanation.now.matched { "Today it would fire." } @else { "Today it would not fire." } }
                (reasons("As it would be decided now", &explanation.now.reasons))
            }
            p { (webhook(page, &explanation.endpoint_id, names)) }
        }
    }
}

fn check_name(check: &str) -> String {
    match check.strip_prefix("filters.") {
        Some(name) => format!("the filter on {}", attribute(name).to_lowercase()),
        None => match check {
            "status" => "its status".to_owned(),
            "origin" => "where the event came from".to_owned(),
            "event_types" => "its event types".to_owned(),
            "payload_filter" => "its payload filter".to_owned(),
            other => other.replace('_', " "),
        },
    }
}

fn reasons(caption: &str, reasons: &[Reason]) -> Markup {
    html! {
        table.rows.reasons {
            caption { (caption) }
            thead { tr { th scope="col" { "Check" } th scope="col" { "Wanted" } th scope="col" { "Actual" } th scope="col" { "Result" } } }
            tbody { @for reason in reasons { tr {
                th scope="row" data-label="Check" { (check_name(&reason.check)) }
                td.long data-label="Wanted" { (plain(&reason.expected)) }
                td.long data-label="Actual" { (plain(&reason.actual)) }
                td data-label="Result" { span class=(if reason.passed { "badge good" } else { "badge warn" }) { (if reason.passed { "passed" } else { "not met" }) } }
            } } }
        }
    }
}

/// JSON as people read it: text without quotes, lists with commas.
fn plain(value: &Value) -> Markup {
    html! { @match value {
        Value::Null => span.faint { "nothing" },
        Value::String(text) => (text),
        Value::Number(_) | Value::Bool(_) => (value.to_string()),
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            @for (index, item) in items.iter().enumerate() { @if index > 0 { ", " } (plain(item)) }
        }
        other => code { (other.to_string()) },
    } }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_read_as_text_and_never_as_markup() {
        assert_eq!(plain(&json!(["a", 1, "<b>"])).0, "a, 1, &lt;b&gt;");
        assert_eq!(plain(&json!({"a": "<i>"})).0, "<code>{&quot;a&quot;:&quot;&lt;i&gt;&quot;}</code>");
        assert_eq!(check_name("filters.dedicated_ip"), "the filter on dedicated ip");
    }
}
