//! Editing a webhook.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use postrider_http::problem::Problem;

use super::form::{Offers, Purpose, form};
use super::input::WebhookInput;
use crate::dashboard::components::form::FormErrors;
use crate::dashboard::failure::Failure;
use crate::dashboard::fields::Form;
use crate::dashboard::layout::Section;
use crate::dashboard::page::{Managed, WebhookPage, form_problem, refused};
use crate::dashboard::texts::Notice;

/// `GET …/webhooks/{id}/edit`
pub(crate) async fn show(Managed(webhook): Managed<WebhookPage>) -> Result<Markup, Failure> {
    let WebhookPage { page, endpoint } = &webhook;
    let offers = Offers::load(page).await?;
    let input = match page.visitor.restored() {
        Some(fields) => WebhookInput::of_form(fields, &page.profile, endpoint.channel),
        None => WebhookInput::of_endpoint(endpoint, &offers.event_types()),
    };
    Ok(show_form(&webhook, &input, &offers, FormErrors(None)))
}

fn show_form(webhook: &WebhookPage, input: &WebhookInput, offers: &Offers, errors: FormErrors<'_>) -> Markup {
    let page = &webhook.page;
    let content = html! {
        h1 { "Edit webhook" }
        (form(page, input, offers, Purpose::Edit { id: &webhook.endpoint.id }, errors))
    };
    page.show(Section::Webhooks, &errors.title(&format!("Edit {}", input.name)), content)
}

/// `POST …/webhooks/{id}/edit`
pub(crate) async fn save(Managed(webhook): Managed<WebhookPage>, Form(fields): Form) -> Result<Response, Failure> {
    let WebhookPage { page, endpoint } = &webhook;
    let input = WebhookInput::of_form(&fields, &page.profile, endpoint.channel);
    let saved = match input.edit(endpoint.status) {
        Ok(request) => {
            let expected = input.version.parse().ok();
            page.api.edit_endpoint(page.caller, &endpoint.id, expected, request).await.map_err(explain_conflict)
        }
        Err(problem) => Err(problem),
    };
    match saved {
        Ok(_) => Ok(page.redirect(format!("/webhooks/{}", endpoint.id), Notice::Saved).into_response()),
        Err(problem) => {
            let problem = form_problem(problem)?;
            let offers = Offers::load(page).await?;
            Ok(refused(&problem, show_form(&webhook, &input, &offers, FormErrors(Some(&problem)))))
        }
    }
}

/// Explains an edit conflict without `If-Match`, which visitors do not know.
fn explain_conflict(problem: Problem) -> Problem {
    if problem.status == StatusCode::PRECONDITION_FAILED.as_u16() {
        let detail = "this webhook changed since you opened it. Open it again in another tab, compare, and save there.";
        return Problem::precondition_failed(detail);
    }
    problem
}
