//! Retrying or cancelling several deliveries that were chosen in a list.
//!
//! The checkboxes in the list belong to a form at [`FORM`] by their `form` attribute, so that the form and the table can be in
//! different places, and work without scripts.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use maud::{Markup, html};
use postrider_operations::deliveries::{SeveralAction, SeveralDone};

use crate::Dashboard;
use crate::components::Confirmation;
use crate::failure::Answer;
use crate::fields::{Fields, NOTICE, RESULT, Sent};
use crate::format::plural;
use crate::page::{Managed, Page};

/// The id of the form.
pub(crate) const FORM: &str = "several";
/// The field with the id of a chosen delivery.
pub(crate) const CHOSEN: &str = "delivery_id";
/// The field that confirms a cancellation.
const CONFIRMED: &str = "confirmed";
/// The field with the query of the list, to return to it.
const BACK: &str = "back";

pub(crate) fn routes() -> Router<Arc<Dashboard>> {
    Router::new().route("/dashboard/{tenant}/several-deliveries", get(to_list).post(change))
}

/// The form with the buttons, above the list. Empty for visitors who may change nothing.
pub(crate) fn buttons(page: &Page) -> Markup {
    html! { @if page.can_manage() {
        form.buttons id=(FORM) method="post" action=(page.to("/several-deliveries")) data-select=(CHOSEN) {
            (page.visitor.tokens)
            input type="hidden" name=(BACK) value=(page.visitor.query.without(&[NOTICE, RESULT]));
            label.check data-select-all hidden { input type="checkbox"; span { "All on this page" } }
            button type="submit" name="action" value="retry" { "Retry selected" }
            button.danger type="submit" name="action" value="cancel" { "Cancel selected" }
            span.faint data-select-count role="status" {}
        }
    } }
}

/// `GET …/several-deliveries`: an address that a reload may show after the result has expired.
async fn to_list(page: Page) -> Redirect {
    Redirect::to(&page.to("/deliveries"))
}

/// `POST …/several-deliveries`
async fn change(Managed(page): Managed<Page>, Sent(fields): Sent) -> Answer {
    let chosen = fields.all(CHOSEN);
    let action = match fields.get("action") {
        "cancel" => SeveralAction::Cancel,
        _ => SeveralAction::Retry,
    };
    if chosen.is_empty() {
        return Ok(nothing_chosen(&page, &fields));
    }
    if action == SeveralAction::Cancel && !fields.is_checked(CONFIRMED) {
        return Ok(ask_cancel(&page, &fields, &chosen));
    }
    let done = page.operations.change_deliveries(page.caller, &chosen, action).await?;
    Ok(result(&page, &fields, action, &done))
}

/// The address of the list that the form came from.
fn back(page: &Page, fields: &Fields) -> String {
    // Only the query comes from the form.
    let query = Fields::read(fields.get(BACK).as_bytes()).without(&[]);
    page.to(if query.is_empty() { "/deliveries".to_owned() } else { format!("/deliveries?{query}") })
}

fn nothing_chosen(page: &Page, fields: &Fields) -> Markup {
    page.show(
        "No delivery selected",
        html! {
            h1 { "No delivery selected" }
            p { "Check the deliveries in the list first." }
            p { a.button href=(back(page, fields)) { "Back to the list" } }
        },
    )
}

fn ask_cancel(page: &Page, fields: &Fields, chosen: &[String]) -> Markup {
    let confirmation = Confirmation {
        title: &format!("Cancel {}?", plural(chosen.len() as u64, "delivery", "deliveries")),
        consequences: html! { p {
            "There will be no further attempts of those that are pending; finished ones stay as they are. "
            "The webhooks do not receive these events unless you send them again."
        } },
        action: &page.to("/several-deliveries"),
        button: "Cancel deliveries",
        back: &back(page, fields),
    };
    let hidden = html! {
        input type="hidden" name="action" value="cancel";
        input type="hidden" name=(CONFIRMED) value="yes";
        input type="hidden" name=(BACK) value=(fields.get(BACK));
        @for id in chosen { input type="hidden" name=(CHOSEN) value=(id); }
    };
    page.show(confirmation.title, confirmation.ask(&page.visitor.tokens, &hidden))
}

/// How many were changed, and the others by reason.
fn result(page: &Page, fields: &Fields, action: SeveralAction, done: &SeveralDone) -> Markup {
    let verb = match action {
        SeveralAction::Retry => "retried",
        SeveralAction::Cancel => "cancelled",
    };
    let mut refused: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (id, error) in &done.refused {
        refused.entry(error.to_string()).or_default().push(id);
    }
    let title = format!("{} {verb}", plural(done.done, "delivery", "deliveries"));
    page.show(&title, html! {
        h1 { (title) }
        @for (reason, ids) in &refused {
            section.panel {
                p.long { strong { (plural(ids.len() as u64, "delivery", "deliveries")) " not " (verb) ": " } (reason) "." }
                ul { @for id in ids { li { a href=(page.to(format!("/deliveries/{id}"))) { code { (id) } } } } }
            }
        }
        p { a.button.primary href=(back(page, fields)) { "Back to the list" } }
    })
}
