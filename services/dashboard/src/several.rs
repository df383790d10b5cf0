//! Retries or cancels several deliveries that a visitor chose in a list.
//!
//! The checkboxes of the list are outside the form. Their attribute `form` has the form's id, [`FORM`], so the browser sends them
//! with the form, also without scripts.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::{Markup, html};
use postrider_operations::deliveries::{RetryPreview, SeveralAction, SeveralDone};

use crate::Dashboard;
use crate::components::Confirmation;
use crate::failure::Answer;
use crate::fields::{Fields, NOTICE, RESULT, Sent};
use crate::language::{english, t};
use crate::matching;
use crate::page::{Managed, Page};

/// The id of the form.
pub(crate) const FORM: &str = "several";
/// The field of a checkbox; its value is the id of a delivery.
pub(crate) const CHOSEN: &str = "delivery_id";
/// The field that names the change: [`RETRY`] or [`CANCEL`].
const ACTION: &str = "action";
const RETRY: &str = "retry";
const CANCEL: &str = "cancel";
/// The field that confirms the change.
const CONFIRMED: &str = "confirmed";
/// The field with the query of the list, for the link back to the list.
const BACK: &str = "back";

pub(crate) fn routes() -> Router<Arc<Dashboard>> {
    Router::new().route("/dashboard/{tenant}/several-deliveries", get(to_list).post(change))
}

/// The form with the buttons, above the list. The page contains the form also while the list is empty, because a refresh can add
/// rows; the style sheet hides the form until then. The form is absent for visitors who may change nothing.
pub(crate) fn buttons(page: &Page) -> Markup {
    html! { @if page.can_manage() {
        form.buttons id=(FORM) method="post" action=(page.to("/several-deliveries")) data-select=(CHOSEN) {
            (page.visitor.tokens)
            input type="hidden" name=(BACK) value=(page.visitor.query.without(&[NOTICE, RESULT]));
            // The return key presses the first button of a form, also from a checkbox. This first button does nothing: it closes
            // a dialog, but the form is in no dialog.
            button.unseen type="submit" formmethod="dialog" tabindex="-1" aria-hidden="true" {}
            label.check data-select-all hidden { input type="checkbox"; span { (t!("All on this page")) } }
            button type="submit" name=(ACTION) value=(RETRY) { (t!("Retry selected")) }
            button.danger type="submit" name=(ACTION) value=(CANCEL) { (t!("Cancel selected")) }
            span.faint data-select-count role="status" {}
            (matching::links(page))
        }
    } }
}

/// The change that a form requests.
struct Asked {
    action: SeveralAction,
    /// The ids of the chosen deliveries; at least one.
    chosen: Vec<String>,
}

impl Asked {
    /// `None` if no delivery or no known action was chosen.
    fn read(fields: &Fields) -> Option<Self> {
        let action = match fields.get(ACTION) {
            RETRY => SeveralAction::Retry,
            CANCEL => SeveralAction::Cancel,
            _ => return None,
        };
        let chosen = fields.all(CHOSEN);
        (!chosen.is_empty()).then_some(Self { action, chosen })
    }
}

/// `GET …/several-deliveries`. Browsers request this address on a reload after the form's result has expired, and after a sign-in
/// that restores the form. A restored form is not processed at once: the page asks for a confirmation.
async fn to_list(page: Page) -> Answer<Response> {
    let restored = page.visitor.restored().filter(|_| page.can_manage()).unwrap_or_default();
    let Some(asked) = Asked::read(&restored) else {
        return Ok(Redirect::to(&page.to("/deliveries")).into_response());
    };
    let preview = page.operations.preview_retry(page.caller, &asked.chosen).await?;
    Ok(ask(&page, &restored, &asked, preview).into_response())
}

/// `POST …/several-deliveries`. Asks for a confirmation before deliveries are cancelled, and before finished deliveries are sent
/// again.
async fn change(Managed(page): Managed<Page>, Sent(fields): Sent) -> Answer {
    let Some(asked) = Asked::read(&fields) else { return Ok(nothing_chosen(&page, &fields)) };
    if !fields.is_checked(CONFIRMED) {
        let preview = page.operations.preview_retry(page.caller, &asked.chosen).await?;
        if asked.action == SeveralAction::Cancel || preview.ended > 0 {
            return Ok(ask(&page, &fields, &asked, preview));
        }
    }
    let done = page.operations.change_deliveries(page.caller, &asked.chosen, asked.action).await?;
    Ok(result(&page, &fields, asked.action, &done))
}

/// The address of the list in which the deliveries were chosen.
fn back(page: &Page, fields: &Fields) -> String {
    // The form contains only the query, so it cannot lead to another site.
    let query = Fields::read(fields.get(BACK).as_bytes()).without(&[]);
    page.to(if query.is_empty() { "/deliveries".to_owned() } else { format!("/deliveries?{query}") })
}

fn nothing_chosen(page: &Page, fields: &Fields) -> Markup {
    page.show(
        &t!("Nothing selected"),
        html! {
            h1 { (t!("Nothing selected")) }
            p { (t!("Check deliveries in the list first, then press “Retry selected” or “Cancel selected”.")) }
            p { a.button href=(back(page, fields)) { (t!("Back to the list")) } }
        },
    )
}

/// The question before a change, with the consequences for the chosen deliveries.
fn ask(page: &Page, fields: &Fields, asked: &Asked, preview: RetryPreview) -> Markup {
    let chosen = asked.chosen.len() as u64;
    let (action, title, button, consequences) = match asked.action {
        SeveralAction::Retry => {
            let title = t!(chosen, "Retry {count} delivery?", "Retry {count} deliveries?");
            (RETRY, title, t!("Retry deliveries"), retried(preview))
        }
        SeveralAction::Cancel => {
            let title = t!(chosen, "Cancel {count} delivery?", "Cancel {count} deliveries?");
            (CANCEL, title, t!("Cancel deliveries"), cancelled())
        }
    };
    let at = page.to("/several-deliveries");
    let confirmation =
        Confirmation { title: &title, consequences, action: &at, button: &button, back: &back(page, fields) };
    let hidden = html! {
        input type="hidden" name=(ACTION) value=(action);
        input type="hidden" name=(CONFIRMED) value="yes";
        input type="hidden" name=(BACK) value=(fields.get(BACK));
        @for id in &asked.chosen { input type="hidden" name=(CHOSEN) value=(id); }
    };
    page.show(confirmation.title, confirmation.ask(&page.visitor.tokens, &hidden))
}

fn retried(preview: RetryPreview) -> Markup {
    let RetryPreview { pending, ended, delivered } = preview;
    let now =
        t!(pending, "{count} pending delivery is attempted now.", "{count} pending deliveries are attempted now.");
    let again = t!(
        ended,
        "{count} finished delivery is sent again, as a new delivery.",
        "{count} finished deliveries are sent again, as new deliveries.",
    );
    let twice = t!(
        delivered,
        "{count} of them was delivered: its {webhook} receives the event again.",
        "{count} of them were delivered: their {webhooks} receive these events again.",
    );
    html! { ul {
        @if pending > 0 { li { (now) } }
        @if ended > 0 { li { (again) @if delivered > 0 { " " strong { (twice) } } } }
    } }
}

fn cancelled() -> Markup {
    html! { p {
        (t!("Pending deliveries are not attempted again. Finished deliveries do not change.")) " "
        (t!("The {webhooks} do not receive these events unless you send them again."))
    } }
}

/// The number of changed deliveries, and the deliveries that were not changed, grouped by reason.
fn result(page: &Page, fields: &Fields, action: SeveralAction, done: &SeveralDone) -> Markup {
    let mut refused: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (id, error) in &done.refused {
        refused.entry(error.to_string()).or_default().push(id);
    }
    let title = match action {
        SeveralAction::Retry => t!(done.done, "{count} delivery retried", "{count} deliveries retried"),
        SeveralAction::Cancel => t!(done.done, "{count} delivery cancelled", "{count} deliveries cancelled"),
    };
    let not_done = |number: u64| match action {
        SeveralAction::Retry => t!(number, "{count} delivery not retried:", "{count} deliveries not retried:"),
        SeveralAction::Cancel => t!(number, "{count} delivery not cancelled:", "{count} deliveries not cancelled:"),
    };
    page.show(
        &title,
        html! {
            h1 { (title) }
            @for (reason, ids) in &refused {
                section.panel {
                    p.long { strong { (not_done(ids.len() as u64)) } " " (english(reason)) "." }
                    ul { @for id in ids { li { a href=(page.to(format!("/deliveries/{id}"))) { code { (id) } } } } }
                }
            }
            p { a.button.primary href=(back(page, fields)) { (t!("Back to the list")) } }
        },
    )
}
