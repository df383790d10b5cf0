//! The form of a new erasure. It only counts; the page of the count has the form that erases.

use axum::response::{IntoResponse, Response};
use maud::html;
use postrider_operations::erasures::CreateErasure;

use crate::components::Form;
use crate::failure::Answer;
use crate::fields::{Fields, Sent};
use crate::format::utc;
use crate::language::{t, tm};
use crate::page::{Managed, Page};
use crate::texts::Notice;

/// `GET …/erasures/new`
pub(super) async fn show(Managed(page): Managed<Page>) -> Answer<Response> {
    let fields = page.visitor.restored().unwrap_or_else(|| page.visitor.query.clone());
    Ok(form_page(&page, &fields.into()))
}

/// `POST …/erasures/new`: starts a dry run.
pub(super) async fn count(Managed(page): Managed<Page>, Sent(fields): Sent) -> Answer<Response> {
    match page.operations.start_erasure(page.caller, &request(&fields)).await {
        Ok(accepted) => {
            Ok(page.redirect(format!("/erasures/{}", accepted.id), Notice::ErasureCounting).into_response())
        }
        Err(error) => Ok(form_page(&page, &Form::refused(fields, error)?)),
    }
}

fn request(fields: &Fields) -> CreateErasure {
    let time = |name| Some(utc(fields.get(name))).filter(|time| !time.is_empty());
    CreateErasure {
        field: fields.optional("field"),
        value: fields.get("value").to_owned(),
        anywhere: Some(fields.is_checked("anywhere")),
        since: time("since"),
        until: time("until"),
        dry_run: Some(true),
    }
}

fn form_page(page: &Page, form: &Form) -> Response {
    let title = t!("Erase a person's data");
    let field_hint = tm!(
        "Such as {example}. Without it, all fields are searched.",
        example = html! { code { "data.recipient.email" } }
    );
    let content = html! {
        h1 { (title) }
        p { (t!("First you see what would be erased. Then you erase it: payloads, waiting deliveries, answers and dead letters that hold the value.")) }
        (form.summary())
        form.stack method="post" action=(page.to("/erasures/new")) {
            (page.visitor.tokens)
            (form.field("value", t!("Value")).hint(t!("Such as an e-mail address. Upper and lower case are distinguished.")).wide().code().required())
            (form.field("field", t!("Field")).hint(field_hint).wide().code().text())
            (form.checkbox("anywhere", t!("Also where the value is a part of a longer text")))
            div.pair {
                (form.field("since", t!("From (UTC)")).time())
                (form.field("until", t!("To (UTC)")).hint(t!("Default: now.")).time())
            }
            div.buttons {
                button.primary type="submit" { (t!("Count first")) }
                a.button.quiet href=(page.to("/erasures")) { (t!("Back")) }
            }
        }
    };
    form.answer(page.show(&form.title(&title), content))
}
