//! The pages that add and edit a webhook.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use postrider_model::endpoint::Channel;
use postrider_operations::endpoints::{CreatedEndpoint, EndpointOrder};
use postrider_operations::page::PageQuery;

use super::form::{Offers, Purpose, form as webhook_form};
use super::input::{self, new_webhook, of_endpoint};
use crate::components::{Form, NewSecret, public_key, verification};
use crate::failure::Answer;
use crate::fields::{Fields, Sent};
use crate::language::{t, tm};
use crate::page::{Managed, Page, WebhookPage};
use crate::texts::Notice;

/// `GET …/webhooks/new`
pub(crate) async fn show_new(Managed(page): Managed<Page>) -> Answer<Response> {
    let fields = page.visitor.restored().unwrap_or_else(|| new_webhook(channel(&page.visitor.query)));
    show_new_form(&page, &fields.into()).await
}

fn channel(fields: &Fields) -> Channel {
    fields.get("channel").parse().unwrap_or_default()
}

async fn show_new_form(page: &Page, form: &Form) -> Answer<Response> {
    let (offers, channel) = (Offers::load(page, form.fields.get("notify"), None).await?, channel(&form.fields));
    let first = PageQuery { limit: 1, cursor: None };
    let newest = page.operations.list_endpoints(page.caller, EndpointOrder::Newest, &first).await?;
    let content = html! {
        h1 { (t!("Add {webhook}")) }
        @if newest.usage >= newest.limit {
            (super::limit_reached(newest.usage, newest.limit))
            p { a.button href=(page.to("/webhooks")) { (t!("Back to the {webhooks}")) } }
        } @else {
            (channel_tabs(page, channel))
            (webhook_form(page, form, &offers, Purpose::Create, channel))
        }
    };
    Ok(form.answer(page.show(&form.title(&t!("Add {webhook}")), content)))
}

/// The choice of a channel, for profiles that have more than one channel. E-mail is offered only if the deployment sends it.
fn channel_tabs(page: &Page, channel: Channel) -> Markup {
    let current = |tab| (tab == channel).then_some("page");
    let is_offered = |other: &Channel| match other {
        Channel::Web => false,
        Channel::Email => page.operations.sends_email(),
        Channel::Pushover | Channel::Slack | Channel::Discord | Channel::Teams | Channel::Telegram => true,
    };
    let others = || page.profile.channels.iter().copied().filter(is_offered);
    html! { @if others().next().is_some() {
        nav.tabs aria-label=(t!("Channel")) {
            a href=(page.to("/webhooks/new")) aria-current=[current(Channel::Web)] { (t!("Web {endpoint}")) }
            @for other in others() {
                a href=(page.to(format!("/webhooks/new?channel={other}"))) aria-current=[current(other)] translate="no" {
                    (other.label())
                }
            }
        }
    } }
}

/// `POST …/webhooks/new`
pub(crate) async fn create(Managed(page): Managed<Page>, Sent(fields): Sent) -> Answer<Response> {
    let request = input::creation(&fields, channel(&fields), &page.profile);
    match async { page.operations.create_endpoint(page.caller, request?).await }.await {
        Ok(created) => Ok((StatusCode::CREATED, show_created(&page, &created)).into_response()),
        Err(error) => show_new_form(&page, &Form::refused(fields, error)?).await,
    }
}

fn show_created(page: &Page, created: &CreatedEndpoint) -> Markup {
    let endpoint = &created.endpoint;
    let at = page.to(format!("/webhooks/{}", endpoint.id));
    let content = html! {
        h1 { (t!("{Webhook} created")) }
        p.lead { (tm!("{name} is live.", name = html! { strong { (endpoint.name) } })) }
        @if let Some(secret) = &created.secret { (NewSecret::of_webhook(secret).show()) }
        @if let Some(key) = &endpoint.public_key { (public_key(key)) }
        div.buttons {
            a.button.primary href={ (at) "/test" } { (t!("Send a test")) }
            a.button href=(at) { (t!("Go to the {webhook}")) }
        }
        @if endpoint.url.is_some() && endpoint.public_key.is_none() {
            (verification(&page.profile, endpoint.token_header.as_deref()))
        }
    };
    page.show(&t!("{Webhook} created"), content)
}

/// `GET …/webhooks/{id}/edit`
pub(crate) async fn show_edit(Managed(webhook): Managed<WebhookPage>) -> Answer<Response> {
    let notified = webhook.endpoint.notify.as_ref().map(|notify| notify.endpoint.to_string()).unwrap_or_default();
    let offers = Offers::load(&webhook.page, &notified, Some(webhook.endpoint.id)).await?;
    let stored = || of_endpoint(&webhook.endpoint, &offers.event_types());
    let fields = webhook.page.visitor.restored().unwrap_or_else(stored);
    Ok(show_edit_form(&webhook, &fields.into(), &offers))
}

fn show_edit_form(webhook: &WebhookPage, form: &Form, offers: &Offers) -> Response {
    let WebhookPage { page, endpoint, id } = webhook;
    let title = t!("Edit {name}", name = endpoint.name);
    let content = html! {
        h1.long { (title) }
        (webhook_form(page, form, offers, Purpose::Edit { id }, endpoint.channel))
    };
    form.answer(page.show(&form.title(&title), content))
}

/// `POST …/webhooks/{id}/edit`
pub(crate) async fn edit(Managed(webhook): Managed<WebhookPage>, Sent(fields): Sent) -> Answer<Response> {
    let WebhookPage { page, endpoint, id } = &webhook;
    let request = input::edit(&fields, endpoint.channel, &page.profile, endpoint.status);
    let expected = fields.get("version").parse().ok();
    match async { page.operations.edit_endpoint(page.caller, id, expected, request?).await }.await {
        Ok(_) => Ok(page.redirect(format!("/webhooks/{id}"), Notice::Saved).into_response()),
        Err(error) => {
            let form = Form::refused(fields, error)?;
            let offers = Offers::load(page, form.fields.get("notify"), Some(endpoint.id)).await?;
            Ok(show_edit_form(&webhook, &form, &offers))
        }
    }
}
