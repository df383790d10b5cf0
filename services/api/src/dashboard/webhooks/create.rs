//! Adding a webhook.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::form::{Offers, Purpose, form};
use super::input::WebhookInput;
use crate::dashboard::components::form::FormErrors;
use crate::dashboard::components::secret::{NewSecret, public_key};
use crate::dashboard::components::verify::instructions;
use crate::dashboard::failure::Failure;
use crate::dashboard::fields::{Fields, Form};
use crate::dashboard::layout::Section;
use crate::dashboard::page::{Managed, Page, form_problem, refused};
use crate::endpoints::model::{Channel, CreatedEndpoint};
use crate::request::Params;

/// `GET …/webhooks/new`
pub(crate) async fn show(Managed(page): Managed<Page>) -> Result<Markup, Failure> {
    let input = match page.visitor.restored() {
        Some(fields) => WebhookInput::of_form(fields, &page.profile, channel(fields)),
        None => WebhookInput::new(channel(&page.visitor.query)),
    };
    show_form(&page, &input, FormErrors(None)).await
}

fn channel(fields: &Fields) -> Channel {
    if fields.get("channel") == "pushover" { Channel::Pushover } else { Channel::Web }
}

async fn show_form(page: &Page, input: &WebhookInput, errors: FormErrors<'_>) -> Result<Markup, Failure> {
    let offers = Offers::load(page).await?;
    let newest = super::endpoints(page, Params::of([("limit".to_owned(), "1".to_owned())])).await?;
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
    html! { @if page.profile.channels.contains(&postrider_model::endpoint::Channel::Pushover) {
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
        Ok(request) => page.api.make_endpoint(page.caller, request).await,
        Err(problem) => Err(problem),
    };
    match created {
        Ok(created) => Ok((StatusCode::CREATED, show_created(&page, &created)).into_response()),
        Err(problem) => {
            let problem = form_problem(problem)?;
            Ok(refused(&problem, show_form(&page, &input, FormErrors(Some(&problem))).await?))
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
