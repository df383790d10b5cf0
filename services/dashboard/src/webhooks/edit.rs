//! Editing a webhook.

use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::form::{Offers, Purpose, form};
use super::input::WebhookInput;
use crate::components::form::FormErrors;
use crate::failure::Failure;
use crate::fields::Form;
use crate::layout::Section;
use crate::page::{Managed, WebhookPage, form_error, refused};
use crate::texts::Notice;

/// `GET …/webhooks/{id}/edit`
pub(crate) async fn show(Managed(webhook): Managed<WebhookPage>) -> Result<Markup, Failure> {
    let WebhookPage { page, endpoint, .. } = &webhook;
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
        (form(page, input, offers, Purpose::Edit { id: &webhook.id }, errors))
    };
    page.show(Section::Webhooks, &errors.title(&format!("Edit {}", input.name)), content)
}

/// `POST …/webhooks/{id}/edit`
pub(crate) async fn save(Managed(webhook): Managed<WebhookPage>, Form(fields): Form) -> Result<Response, Failure> {
    let WebhookPage { page, endpoint, id } = &webhook;
    let input = WebhookInput::of_form(&fields, &page.profile, endpoint.channel);
    let saved = match input.edit(endpoint.status) {
        Ok(request) => {
            let expected = input.version.parse().ok();
            page.operations.edit_endpoint(page.caller, id, expected, request).await
        }
        Err(error) => Err(error),
    };
    match saved {
        Ok(_) => Ok(page.redirect(format!("/webhooks/{id}"), Notice::Saved).into_response()),
        Err(error) => {
            let error = form_error(error)?;
            let offers = Offers::load(page).await?;
            Ok(refused(&error, show_form(&webhook, &input, &offers, FormErrors(Some(&error)))))
        }
    }
}
