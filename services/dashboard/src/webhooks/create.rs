//! Adding a webhook.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use postrider_model::endpoint::Channel;
use postrider_operations::endpoints::CreatedEndpoint;
use postrider_operations::page::PageQuery;

use super::form::{Offers, Purpose, form};
use super::input::WebhookInput;
use crate::components::form::FormErrors;
use crate::components::secret::{NewSecret, public_key};
use crate::components::verify::instructions;
use crate::failure::Failure;
use crate::fields::{Fields, Form};
use crate::layout::Section;
use crate::page::{Managed, Page, form_error, refused};

/// `GET …/webhooks/new`
pub(crate) async fn show(Managed(page): Managed<Page>) -> Result<Markup, Failure> {
    let input = match page.visitor.restored() {
        Some(fields) => WebhookInput::of_form(fields, &page.profile, channel(fields)),
        None => WebhookInput::new(channel(&page.visitor.query)),
    };
    show_form(&page, &input, FormErrors(None)).await
}

fn channel(fields: &Fields) -> Channel {
    fields.get("channel").parse().unwrap_or_default()
}

async fn show_form(page: &Page, input: &WebhookInput, errors: FormErrors<'_>) -> Result<Markup, Failure> {
    let offers = Offers::load(page).await?;
    let newest = page.operations.list_endpoints(page.caller, &PageQuery { limit: 1, cursor: None }).await?;
    let content = html! {
        h1 { "Add webhook" }
        @if newest.usage >= newest.limit {
            (super::limit_reached(newest.usage, newest.limit))
            p { a.button href=(page.to("/webhooks")) { "Back to the webhooks" } }
        } @else {
            (channel_tabs(page, input.channel))
            (form(page, input, &offers, Purpose::Create, errors))
        }
    };
    Ok(page.show(Section::Webhooks, &errors.title("Add webhook"), content))
}

/// The choice of a channel, for profiles with more than one.
fn channel_tabs(page: &Page, channel: Channel) -> Markup {
    let current = |tab| (tab == channel).then_some("page");
    html! { @if page.profile.channels.contains(&Channel::Pushover) {
        nav.tabs aria-label="Channel" {
            a href=(page.to("/webhooks/new")) aria-current=[current(Channel::Web)] { "Web endpoint" }
            a href=(page.to("/webhooks/new?channel=pushover")) aria-current=[current(Channel::Pushover)] { "Pushover" }
        }
    } }
}

/// `POST …/webhooks/new`
pub(crate) async fn create(Managed(page): Managed<Page>, Form(fields): Form) -> Result<Response, Failure> {
    let input = WebhookInput::of_form(&fields, &page.profile, channel(&fields));
    let created = match input.creation() {
        Ok(request) => page.operations.create_endpoint(page.caller, request).await,
        Err(error) => Err(error),
    };
    match created {
        Ok(created) => Ok((StatusCode::CREATED, show_created(&page, &created)).into_response()),
        Err(error) => {
            let error = form_error(error)?;
            Ok(refused(&error, show_form(&page, &input, FormErrors(Some(&error))).await?))
        }
    }
}

fn show_created(page: &Page, created: &CreatedEndpoint) -> Markup {
    let endpoint = &created.endpoint;
    let at = page.to(format!("/webhooks/{}", endpoint.id));
    let content = html! {
        h1 { "Webhook created" }
        p.lead { strong { (endpoint.name) } " is live." }
        @if let Some(secret) = &created.secret { (NewSecret::of_webhook(secret).show()) }
        @if let Some(key) = &endpoint.public_key { (public_key(key)) }
        div.buttons {
            a.button.primary href={ (at) "/test" } { "Send a test" }
            a.button href=(at) { "Go to the webhook" }
        }
        @if endpoint.url.is_some() { (instructions(&page.profile)) }
    };
    page.show(Section::Webhooks, "Webhook created", content)
}
