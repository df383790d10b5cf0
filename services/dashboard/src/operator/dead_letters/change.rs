//! Sends back or discards several dead letters: the chosen letters of the list, or all letters that match the list's filter.
//!
//! The checkboxes of the list are outside the form; their attribute `form` has the form's id, as in [`crate::several`]. The
//! letters that match a filter are changed in steps of one page: the result of a step has a button for the next step.

use std::collections::BTreeMap;

use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use postrider_model::time::UnixMillis;
use postrider_operations::dead_letters::{
    ChangeDeadLetters, DeadLetter, DeadLetterAction, DeadLetterFilter, DeadLettersChanged,
};

use super::{AT, read_filter};
use crate::components::{Confirmation, time};
use crate::failure::Answer;
use crate::fields::{Fields, NOTICE, RESULT, Sent};
use crate::format::plural;
use crate::page::OperatorPage;

/// The id of the form.
const FORM: &str = "letters";
const CHANGE: &str = "/dashboard/operator/several-dead-letters";
/// The field of a checkbox; its value is the id of a dead letter.
const CHOSEN: &str = "ids";
/// The field that confirms a change.
const CONFIRMED: &str = "confirmed";
/// The field with the query of the list, for the link back to the list.
const BACK: &str = "back";

/// The change that a form requests.
struct Asked {
    action: DeadLetterAction,
    /// Whether to change all letters that match the filter, instead of the chosen letters.
    all: bool,
}

impl Asked {
    fn of(fields: &Fields) -> Self {
        let (action, all) = match fields.get("action") {
            "discard" => (DeadLetterAction::Discard, false),
            "discard-all" => (DeadLetterAction::Discard, true),
            "requeue-all" => (DeadLetterAction::Requeue, true),
            _ => (DeadLetterAction::Requeue, false),
        };
        Self { action, all }
    }

    /// The verb of the action as the start of a question, and its past participle.
    fn verbs(&self) -> (&'static str, &'static str) {
        match self.action {
            DeadLetterAction::Requeue => ("Send back", "sent back"),
            DeadLetterAction::Discard => ("Discard", "discarded"),
        }
    }
}

/// The form with the buttons, above the list.
pub(super) fn buttons(page: &OperatorPage) -> Markup {
    html! { form.buttons id=(FORM) method="post" action=(CHANGE) data-select=(CHOSEN) {
        (page.visitor.tokens)
        input type="hidden" name=(BACK) value=(page.visitor.query.without(&["cursor", NOTICE, RESULT]));
        label.check data-select-all hidden { input type="checkbox"; span { "All on this page" } }
        button type="submit" name="action" value="requeue" { "Send back selected" }
        button.danger type="submit" name="action" value="discard" { "Discard selected" }
        button type="submit" name="action" value="requeue-all" { "Send back all that match" }
        button.danger type="submit" name="action" value="discard-all" { "Discard all that match" }
        span.faint data-select-count role="status" {}
    } }
}

/// The checkbox of a dead letter in the list.
pub(super) fn checkbox(letter: &DeadLetter, reason: &str) -> Markup {
    let label = format!("Select dead letter {}: {reason}", letter.id);
    html! { input type="checkbox" form=(FORM) name=(CHOSEN) value=(letter.id) aria-label=(label); }
}

/// `GET /dashboard/operator/several-dead-letters`. Browsers request this address on a reload after the form's result has expired,
/// and after a sign-in that restores the form. A restored form is not processed at once: the page asks for a confirmation.
pub(super) async fn to_list(page: OperatorPage) -> Answer<Response> {
    let restored = page.visitor.restored().unwrap_or_default();
    let asked = Asked::of(&restored);
    match request(&restored, &asked)? {
        Some(request) => Ok(preview(&page, &restored, &asked, &request).await?.into_response()),
        None => Ok(Redirect::to(AT).into_response()),
    }
}

/// `POST /dashboard/operator/several-dead-letters`
pub(super) async fn change(page: OperatorPage, Sent(fields): Sent) -> Answer {
    let asked = Asked::of(&fields);
    let Some(request) = request(&fields, &asked)? else { return Ok(nothing_chosen(&page, &fields)) };
    let asks = asked.all || asked.action == DeadLetterAction::Discard;
    if asks && !fields.is_checked(CONFIRMED) {
        return preview(&page, &fields, &asked, &request).await;
    }
    let changed = page.operations.change_dead_letters(page.visitor.caller, asked.action, &request).await?;
    Ok(result(&page, &fields, &asked, &request, &changed))
}

/// The request of a form; `None` if no letter was chosen.
fn request(fields: &Fields, asked: &Asked) -> Answer<Option<ChangeDeadLetters>> {
    let chosen = fields.all(CHOSEN);
    Ok(if !asked.all {
        (!chosen.is_empty()).then(|| ChangeDeadLetters { ids: Some(chosen), ..ChangeDeadLetters::default() })
    } else if fields.is_checked(CONFIRMED) {
        Some(of_filter(read_filter(fields)?, fields.optional("cursor")))
    } else {
        let mut filter = read_filter(&Fields::read(fields.get(BACK).as_bytes()))?;
        // Excludes letters that arrive from now on, because the preview does not count them.
        filter.to = Some(filter.to.unwrap_or_else(UnixMillis::now));
        Some(of_filter(filter, None))
    })
}

/// Asks for a confirmation, with the number of letters.
async fn preview(page: &OperatorPage, fields: &Fields, asked: &Asked, request: &ChangeDeadLetters) -> Answer {
    let dry = ChangeDeadLetters { dry_run: Some(true), ..request.clone() };
    let preview = page.operations.change_dead_letters(page.visitor.caller, asked.action, &dry).await?;
    Ok(ask(page, fields, asked, request, &preview))
}

/// The request to change the open letters that match a filter of the list. The filter's state is left out.
fn of_filter(filter: DeadLetterFilter, cursor: Option<String>) -> ChangeDeadLetters {
    let filter = DeadLetterFilter { state: None, ..filter };
    ChangeDeadLetters { filter: Some(filter), cursor, ..ChangeDeadLetters::default() }
}

/// The address of the list in which the letters were chosen.
fn back(fields: &Fields) -> String {
    // The form contains only the query, so it cannot lead to another site.
    let query = Fields::read(fields.get(BACK).as_bytes()).without(&[]);
    if query.is_empty() { AT.to_owned() } else { format!("{AT}?{query}") }
}

fn nothing_chosen(page: &OperatorPage, fields: &Fields) -> Markup {
    let content = html! {
        h1 { "No dead letter selected" }
        p { "Check the dead letters in the list first." }
        p { a.button href=(back(fields)) { "Back to the list" } }
    };
    page.show("No dead letter selected", content)
}

/// The hidden fields of a form that sends the request again as confirmed.
fn hidden(fields: &Fields, request: &ChangeDeadLetters) -> Markup {
    let filter = request.filter.clone().unwrap_or_default();
    let filter = Fields::default()
        .with_some("reason", filter.reason)
        .with_some("source", filter.source)
        .with_some("from", filter.from.map(UnixMillis::to_rfc3339_millis))
        .with_some("to", filter.to.map(UnixMillis::to_rfc3339_millis))
        .with_some("cursor", request.cursor.clone());
    html! {
        input type="hidden" name="action" value=(fields.get("action"));
        input type="hidden" name=(CONFIRMED) value="yes";
        input type="hidden" name=(BACK) value=(fields.get(BACK));
        @for id in request.ids.iter().flatten() { input type="hidden" name=(CHOSEN) value=(id); }
        @for (name, value) in filter.pairs() { input type="hidden" name=(name) value=(value); }
    }
}

fn letters(number: u64) -> String {
    plural(number, "dead letter", "dead letters")
}

/// The question before letters are discarded, and before all letters that match the filter are sent back.
fn ask(
    page: &OperatorPage,
    fields: &Fields,
    asked: &Asked,
    request: &ChangeDeadLetters,
    preview: &DeadLettersChanged,
) -> Markup {
    let (verb, done) = asked.verbs();
    let more = preview.next_cursor.is_some();
    if preview.changed == 0 && !more {
        return result(page, fields, asked, request, preview);
    }
    let confirmation = Confirmation {
        title: &format!("{verb} {}{}?", if more { "the first " } else { "" }, letters(preview.changed)),
        consequences: html! {
            @if let Some(filter) = &request.filter { (described(filter)) }
            @if more { p { "More may match. They are handled in steps: after each one you can continue with the next." } }
            (refusals(preview, &format!("cannot be {done}")))
            @match asked.action {
                DeadLetterAction::Discard => p { "They stay in the list as discarded and can no longer be sent back." },
                DeadLetterAction::Requeue => p { "Each returns to its queue. One that fails again becomes a new dead letter." },
            }
        },
        action: CHANGE,
        button: verb,
        back: &back(fields),
    };
    page.show(confirmation.title, confirmation.ask(&page.visitor.tokens, &hidden(fields, request)))
}

/// A filter in words.
fn described(filter: &DeadLetterFilter) -> Markup {
    html! { dl.facts {
        @if let Some(reason) = &filter.reason { dt { "Reason contains" } dd.long { (reason) } }
        @if let Some(source) = &filter.source { dt { "Source" } dd.long { code { (source) } } }
        @if let Some(from) = filter.from { dt { "Received from" } dd { (time(from.into())) } }
        @if let Some(to) = filter.to { dt { "Received before" } dd { (time(to.into())) } }
    } }
}

/// The number of changed letters, the refused letters grouped by reason, and a button for the next step.
fn result(
    page: &OperatorPage,
    fields: &Fields,
    asked: &Asked,
    request: &ChangeDeadLetters,
    changed: &DeadLettersChanged,
) -> Markup {
    let (verb, done) = asked.verbs();
    let title = format!("{} {done}", letters(changed.changed));
    let content = html! {
        h1 { (title) }
        (refusals(changed, &format!("not {done}")))
        @if let Some(cursor) = &changed.next_cursor {
            @let next = ChangeDeadLetters { cursor: Some(cursor.clone()), ..request.clone() };
            p { "More may match the filter." }
            form.buttons method="post" action=(CHANGE) {
                (page.visitor.tokens)
                (hidden(fields, &next))
                button.primary type="submit" { (verb) " the next ones" }
            }
        }
        p { a.button href=(back(fields)) { "Back to the list" } }
    };
    page.show(&title, content)
}

/// The letters that were refused, grouped by reason. `what` is the text after the number of letters, such as "not discarded".
fn refusals(changed: &DeadLettersChanged, what: &str) -> Markup {
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for refused in &changed.refused {
        // A reason that contains a time differs for each letter, so the time is cut off.
        let reason = refused.detail.split(" at 2").next().unwrap_or_default();
        by_reason.entry(reason).or_default().push(&refused.id);
    }
    html! { @for (reason, ids) in &by_reason {
        section.panel {
            p.long { strong { (letters(ids.len() as u64)) " " (what) ": " } (reason) "." }
            details { summary { "Which" } ul { @for id in ids { li { a href={ (AT) "/" (id) } { "Dead letter " (id) } } } } }
        }
    } }
}
