//! Why each webhook received an event or not. The webhooks are grouped by reason, and large groups have pages.

use maud::{Markup, html};
use postrider_model::explain::Condition;
use postrider_operations::explain::Explanation;
use serde_json::Value;

use crate::components::Column::Text;
use crate::components::{empty, head, webhook_link, webhook_name};
use crate::failure::Answer;
use crate::format::{self, attribute};
use crate::language::{self, filled, key, t, text};
use crate::page::{EndpointNames, Page};
use crate::texts;

/// Maximum number of webhooks of a group on the page of the event.
const PREVIEW: usize = 10;
/// Maximum number of webhooks on a page of one group.
const PAGE: usize = 50;

/// A group of webhooks with the same decision, for the same kind of reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Group {
    /// The name of the group in an address.
    key: &'static str,
    title: &'static str,
    /// The number of webhooks in the summary, such as "2 fired".
    noun: &'static str,
    /// Whether the group is open when the page is loaded.
    is_open: bool,
    /// The text of the decision, and the CSS class of its badge.
    decision: (&'static str, &'static str),
}

const MATCHED: Group = Group {
    key: "matched",
    title: key!("Fired"),
    noun: key!("{number} fired"),
    is_open: false,
    decision: (key!("matched"), "good"),
};
const UNDECIDED: Group = Group {
    key: "undecided",
    title: key!("Not decided yet"),
    noun: key!("{number} not decided yet"),
    is_open: true,
    decision: (key!("not decided yet"), "busy"),
};
const FILTERED_OUT: Group = Group {
    key: "filtered",
    title: key!("Filtered out"),
    noun: key!("{number} filtered out"),
    is_open: true,
    decision: (key!("not matched"), "quiet"),
};
const NOT_SUBSCRIBED: Group = Group {
    key: "unsubscribed",
    title: key!("Not subscribed"),
    noun: key!("{number} not subscribed"),
    is_open: false,
    decision: (key!("not matched"), "quiet"),
};
const OFF: Group = Group {
    key: "off",
    title: key!("Not active, or not for events of this origin"),
    noun: key!("{number} not active or not for this origin"),
    is_open: false,
    decision: (key!("not matched"), "quiet"),
};
/// The groups in the order of the page.
const GROUPS: [Group; 5] = [MATCHED, UNDECIDED, FILTERED_OUT, NOT_SUBSCRIBED, OFF];

impl Group {
    fn of(explanation: &Explanation) -> Self {
        let failed = explanation.reasons.iter().find(|reason| !reason.passed).map(|reason| reason.check.as_str());
        match (explanation.matched, failed) {
            (Some(true), _) => MATCHED,
            (None, _) => UNDECIDED,
            (_, Some("event_types")) => NOT_SUBSCRIBED,
            (_, Some(check)) if check == "payload_filter" || check.starts_with("filters.") => FILTERED_OUT,
            _ => OFF,
        }
    }
}

/// The webhooks of a group that a page shows.
struct Part<'a> {
    group: Group,
    /// The number of webhooks in the whole group.
    total: usize,
    members: Vec<&'a Explanation>,
}

/// Which part of the groups a page shows. `?why=<group>&skip=<n>` in the address selects a page of one group.
struct Selection {
    only: Option<Group>,
    skip: usize,
}

impl Selection {
    fn of(page: &Page) -> Self {
        let query = &page.visitor.query;
        let only = GROUPS.into_iter().find(|group| group.key == query.get("why"));
        let skip = only.and_then(|_| query.get("skip").parse().ok()).unwrap_or(0);
        Self { only, skip }
    }

    fn parts<'a>(&self, explained: &'a [Explanation]) -> Vec<Part<'a>> {
        let take = if self.only.is_some() { PAGE } else { PREVIEW };
        let groups = GROUPS.into_iter().filter(|group| self.only.is_none_or(|only| only == *group));
        let parts = groups.map(|group| {
            let all: Vec<_> = explained.iter().filter(|explanation| Group::of(explanation) == group).collect();
            Part { group, total: all.len(), members: all.into_iter().skip(self.skip).take(take).collect() }
        });
        parts.filter(|part| part.total > 0).collect()
    }
}

/// The section of the event's page that explains the decisions.
pub(super) async fn section(page: &Page, id: &str) -> Answer {
    let explained = page.operations.explain_event(page.caller, id).await?.data;
    let selection = Selection::of(page);
    let parts = selection.parts(&explained);
    let ids = parts.iter().flat_map(|part| &part.members).map(|explanation| explanation.endpoint_id);
    let names = page.endpoint_names(ids).await?;
    let at = page.to(format!("/events/{id}"));
    let add = html! { p { a href=(page.to("/webhooks/new")) { (t!("Add one")) } } };
    Ok(html! {
        section #why aria-labelledby="why-title" {
            h2 #why-title { (t!("Why each {webhook} matched or not")) }
            @if explained.is_empty() { (empty(&t!("There are no {webhooks}"), add)) } @else { p.lead { (summary(&explained)) "." } }
            @for Part { group, total, members } in &parts {
                details.why-group open[selection.only.is_some() || group.is_open] {
                    summary { (text(group.title)) " (" (total) ")" }
                    @for explanation in members { (explain(page, *group, explanation, &names)) }
                    (pager(&at, *group, &selection, *total))
                }
            }
            @if selection.only.is_some() { p { a href={ (at) "#why" } { (t!("All groups")) } } }
        }
    })
}

/// The number of webhooks in each group: "1 fired, 2 filtered out, 996 not subscribed".
fn summary(explained: &[Explanation]) -> String {
    let count = |group: Group| explained.iter().filter(|explanation| Group::of(explanation) == group).count();
    let counts = GROUPS.into_iter().map(|group| (count(group), group.noun)).filter(|(number, _)| *number > 0);
    counts
        .map(|(number, noun)| filled(noun, &[("number", &format::count(number as u64))]))
        .collect::<Vec<_>>()
        .join(", ")
}

fn pager(at: &str, group: Group, selection: &Selection, total: usize) -> Markup {
    let to = |skip: usize| format!("{at}?why={}&skip={skip}#why", group.key);
    let skip = selection.skip;
    html! {
        @if selection.only.is_none() {
            @if total > PREVIEW { p { a href=(to(0)) { (t!("Show all {total}", total = total)) } } }
        } @else if total > PAGE {
            nav.pager aria-label=(text(group.title)) {
                @if skip > 0 { a.button href=(to(skip.saturating_sub(PAGE))) rel="prev" { (t!("Previous")) } }
                @if skip + PAGE < total { a.button href=(to(skip + PAGE)) rel="next" { (t!("Next")) } }
            }
        }
    }
}

fn explain(page: &Page, group: Group, explanation: &Explanation, names: &EndpointNames) -> Markup {
    let (word, kind) = group.decision;
    let now = &explanation.now;
    let differs = explanation.matched.is_some_and(|matched| matched != now.matched);
    let first_failed = explanation.reasons.iter().find(|reason| !reason.passed);
    html! {
        details.why open[differs] {
            summary {
                span class={ "badge " (kind) } { (text(word)) } " " (webhook_name(explanation.endpoint_id, names))
                @if let Some(reason) = first_failed { span.faint { " " (t!("because of {check}", check = check_name(&reason.check))) } }
            }
            @if !explanation.reasons.is_empty() { (reasons(&t!("The decision when the event arrived"), &explanation.reasons)) }
            @if differs || explanation.reasons.is_empty() {
                p { @if now.matched { (t!("It would match now.")) } @else { (t!("It would not match now.")) } }
                (reasons(&t!("The decision with the settings of now"), &now.reasons))
            }
            @if let Some(delivery) = &explanation.delivery {
                p { a href=(page.to(format!("/deliveries/{}", delivery.id))) { (t!("Delivery")) } ": " (texts::standing(delivery)) }
            }
            p { (webhook_link(page, explanation.endpoint_id, names)) }
        }
    }
}

fn check_name(check: &str) -> language::Text {
    match check.strip_prefix("filters.") {
        Some(name) => t!("the filter on {attribute}", attribute = attribute(name).to_lowercase()),
        None => match check {
            "status" => t!("its status"),
            "origin" => t!("the origin of the event"),
            "event_types" => t!("its event types"),
            "payload_filter" => t!("its payload filter"),
            "addressee" => t!("who gets the notice"),
            other => other.replace('_', " ").into(),
        },
    }
}

fn reasons(caption: &str, reasons: &[Condition]) -> Markup {
    html! {
        table.rows.reasons {
            caption { (caption) }
            (head(&[key!("Check"), key!("Expected"), key!("Actual"), key!("Result")].map(Text)))
            tbody { @for reason in reasons { tr {
                @let (kind, result) = if reason.passed { ("good", t!("passed")) } else { ("warn", t!("not met")) };
                th scope="row" data-label=(t!("Check")) { (check_name(&reason.check)) }
                td.long translate="no" data-label=(t!("Expected")) { (plain(&reason.expected)) }
                td.long translate="no" data-label=(t!("Actual")) { (plain(&reason.actual)) }
                td data-label=(t!("Result")) { span class={ "badge " (kind) } { (result) } }
            } } }
        }
    }
}

/// A JSON value for people to read: text without quotes, lists separated by commas.
fn plain(value: &Value) -> Markup {
    html! { @match value {
        Value::Null => span.faint { (t!("nothing")) },
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
    fn values_are_shown_as_text_and_never_as_markup() {
        assert_eq!(plain(&json!(["a", 1, "<b>"])).0, "a, 1, &lt;b&gt;");
        assert_eq!(plain(&json!({"a": "<i>"})).0, "<code>{&quot;a&quot;:&quot;&lt;i&gt;&quot;}</code>");
        assert_eq!(check_name("filters.dedicated_ip"), "the filter on dedicated ip");
    }
}
