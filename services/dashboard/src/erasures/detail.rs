//! The page of an erasure: its progress, what it found, and the forms that erase what was counted and that cancel it.

use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use postrider_model::erasure::{ErasureStage, ErasureStatus};
use postrider_operations::Error;
use postrider_operations::erasures::Erasure;

use super::searched;
use crate::components::{Confirmation, Form, badge, time};
use crate::failure::Answer;
use crate::fields::Sent;
use crate::format::count;
use crate::language::{Text, english, t};
use crate::page::{Id, Managed, Page};
use crate::texts::Notice;

/// `GET …/erasures/{id}`
pub(super) async fn show(page: Page, Id(id): Id) -> Answer<Response> {
    let erasure = page.operations.read_erasure(page.caller, &id).await?;
    let form = Form::from(page.visitor.restored().unwrap_or_default());
    Ok(erasure_page(&page, &erasure, &form))
}

/// `POST …/erasures/{id}/erase`: erases what a dry run counted.
pub(super) async fn erase(Managed(page): Managed<Page>, Id(id): Id, Sent(fields): Sent) -> Answer<Response> {
    match page.operations.erase_counted(page.caller, &id, fields.get("value")).await {
        Ok(accepted) => Ok(page.redirect(format!("/erasures/{}", accepted.id), Notice::ErasureStarted).into_response()),
        Err(error) => {
            let form = Form::refused(fields, error)?;
            let erasure = page.operations.read_erasure(page.caller, &id).await?;
            Ok(erasure_page(&page, &erasure, &form))
        }
    }
}

/// `GET …/erasures/{id}/cancel`
pub(super) async fn ask_cancel(Managed(page): Managed<Page>, Id(id): Id) -> Answer {
    let erasure = page.operations.read_erasure(page.caller, &id).await?;
    let at = page.to(format!("/erasures/{}", erasure.id));
    let confirmation = Confirmation {
        title: &t!("Cancel this erasure?"),
        consequences: html! { p { (t!("Nothing more is erased. What was erased stays erased.")) } },
        action: &format!("{at}/cancel"),
        button: &t!("Cancel erasure"),
        back: &at,
    };
    Ok(confirmation.page(&page))
}

/// `POST …/erasures/{id}/cancel`
pub(super) async fn cancel(Managed(page): Managed<Page>, Id(id): Id) -> Answer<Redirect> {
    let notice = match page.operations.cancel_erasure(page.caller, &id).await {
        Ok(_) => Notice::ErasureCancelled,
        Err(Error::Conflict(_)) => Notice::ErasureAlreadyEnded,
        Err(error) => return Err(error.into()),
    };
    Ok(page.redirect(format!("/erasures/{id}"), notice))
}

fn erasure_page(page: &Page, erasure: &Erasure, form: &Form) -> Response {
    let open = !erasure.status.has_ended();
    let live = if open { "on" } else { "off" };
    let title = searched(erasure);
    let content = html! {
        h1.long { (title) }
        (form.summary())
        div #erasure data-live=(live) {
            p.lead { (badge(erasure.status.as_str())) @if open { " " (stage(erasure.stage)) } }
            @if let Some(failure) = &erasure.failure { p.warning role="note" { (english(failure)) } }
            (found(page, erasure))
            (facts(erasure))
            @if open && page.can_manage() {
                div.buttons {
                    a.button.danger href=(page.to(format!("/erasures/{}/cancel", erasure.id))) { (t!("Cancel")) }
                }
            }
        }
        @if is_counted(erasure) && page.can_manage() { (erase_form(page, erasure, form)) }
    };
    form.answer(page.show(&form.title(&title), content))
}

/// Whether the page offers to erase what was counted.
fn is_counted(erasure: &Erasure) -> bool {
    let found = &erasure.found;
    let any = found.events + found.deliveries + found.test_calls + found.attempts + found.dead_letters;
    erasure.dry_run && erasure.status == ErasureStatus::Finished && any > 0
}

fn stage(stage: ErasureStage) -> Text {
    match stage {
        ErasureStage::Events => t!("It searches events."),
        ErasureStage::TestCalls => t!("It searches tests."),
        ErasureStage::Attempts => t!("It searches answers to attempts."),
        ErasureStage::DeadLetters => t!("It searches messages that could not be processed."),
    }
}

/// What was found, with links to some of the events.
fn found(page: &Page, erasure: &Erasure) -> Markup {
    let found = &erasure.found;
    html! {
        section.panel aria-labelledby="found" {
            h2 #found { @if erasure.dry_run { (t!("What holds the value")) } @else { (t!("What was erased")) } }
            ul {
                li { (t!(found.events, "{count} event", "{count} events")) }
                li { (t!(found.deliveries, "{count} waiting delivery of them", "{count} waiting deliveries of them")) }
                li { (t!(found.attempts, "{count} answer to an attempt", "{count} answers to attempts")) }
                li { (t!(found.test_calls, "{count} test with edited data", "{count} tests with edited data")) }
                li { (t!(found.dead_letters, "{count} message that could not be processed", "{count} messages that could not be processed")) }
            }
            @if !erasure.example_events.is_empty() {
                p { (t!("The first events:")) }
                ul { @for event in &erasure.example_events { li {
                    a href=(page.to(format!("/events/{event}"))) { code { (event) } }
                } } }
            }
        }
    }
}

fn facts(erasure: &Erasure) -> Markup {
    html! { dl.facts {
        dt { (t!("Events checked")) } dd { (count(erasure.progress.events)) }
        dt { (t!("Deliveries checked")) } dd { (count(erasure.progress.deliveries)) }
        @if let Some(reached) = erasure.progress.reached_at { dt { (t!("Reached")) } dd { (time(reached)) } }
        dt { (t!("Match")) } dd { @if erasure.anywhere { (t!("a part of a text")) } @else { (t!("the whole text")) } }
        @if let Some(since) = erasure.since { dt { (t!("From")) } dd { (time(since)) } }
        dt { (t!("To")) } dd { (time(erasure.until)) }
        dt { (t!("Started")) } dd { (time(erasure.created_at)) }
        @if let Some(end) = erasure.finished_at { dt { (t!("Ended")) } dd { (time(end)) } }
        dt { (t!("Keyed hash of the value")) } dd { code { (erasure.value_hash) } }
        dt { (t!("Id")) } dd { code { (erasure.id) } }
    } }
}

fn erase_form(page: &Page, erasure: &Erasure, form: &Form) -> Markup {
    html! {
        section.panel aria-labelledby="erase" {
            h2 #erase { (t!("Erase it")) }
            p { (t!("This cannot be undone. The value is not kept after the count, so enter it once more.")) }
            form.stack method="post" action=(page.to(format!("/erasures/{}/erase", erasure.id))) {
                (page.visitor.tokens)
                (form.field("value", t!("Value")).wide().code().required())
                div.buttons { button.danger type="submit" { (t!("Erase for good")) } }
            }
        }
    }
}
