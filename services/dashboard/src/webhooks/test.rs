//! Sending a test event and showing the request and the response.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use postrider_model::ids::DeliveryId;
use postrider_operations::Error;
use postrider_operations::event_types::EventType;
use postrider_operations::test_calls::{TestEndpoint, TestOutcome};

use crate::components::delivery::attempt_detail;
use crate::components::form::{FormErrors, option};
use crate::components::listing;
use crate::failure::Failure;
use crate::fields::Form;
use crate::format::pretty_json;
use crate::layout::Section;
use crate::page::{Managed, Page, WebhookPage, form_error, refused};

/// Attempts to read the sent body; the recorder may be a moment behind.
const BODY_READS: usize = 10;
/// Time between two of them.
const BODY_PAUSE: Duration = Duration::from_millis(100);

async fn catalog(page: &Page) -> Result<Vec<EventType>, Failure> {
    Ok(page.operations.catalog(page.caller).await?)
}

/// `GET …/webhooks/{id}/test`
pub(crate) async fn show(Managed(webhook): Managed<WebhookPage>) -> Result<Markup, Failure> {
    let catalog = catalog(&webhook.page).await?;
    let chosen = webhook.page.visitor.restored().map_or("", |fields| fields.get("event_type"));
    Ok(form(&webhook, &catalog, chosen, FormErrors(None), &html! {}))
}

fn form(webhook: &WebhookPage, catalog: &[EventType], chosen: &str, errors: FormErrors<'_>, result: &Markup) -> Markup {
    let WebhookPage { page, endpoint, .. } = webhook;
    let options = html! {
        option value="" { "the product's test event" }
        @for info in catalog { (option(&info.name, chosen, &info.name)) }
    };
    let content = html! {
        h1 { "Test " (endpoint.name) }
        p { "Sends a sample event now, even if the webhook is inactive. The payload is marked as a test." }
        form.stack method="post" action=(webhook.at("/test")) {
            (page.visitor.tokens)
            (errors.field("event_type", "Event type").select(options))
            div.buttons {
                button.primary type="submit" { "Send test" }
                a.button href=(webhook.at("")) { "Back" }
            }
        }
        (result)
    };
    page.show(Section::Webhooks, &errors.title(&format!("Test {}", endpoint.name)), content)
}

/// `POST …/webhooks/{id}/test`
pub(crate) async fn send(Managed(webhook): Managed<WebhookPage>, Form(fields): Form) -> Result<Response, Failure> {
    let WebhookPage { page, id, .. } = &webhook;
    let catalog = catalog(page).await?;
    let chosen = fields.get("event_type");
    let request = TestEndpoint { event_type: fields.optional("event_type") };
    match page.operations.test_endpoint(page.caller, id, request).await {
        Ok(tested) => {
            let result = result(page, &tested).await;
            Ok(form(&webhook, &catalog, chosen, FormErrors(None), &result).into_response())
        }
        Err(error) => {
            let error = form_error(error)?;
            let errors = FormErrors(Some(&error));
            let summary = if !matches!(error, Error::Invalid(_)) {
                errors.summary()
            } else {
                html! {}
            };
            Ok(refused(&error, form(&webhook, &catalog, chosen, errors, &summary)))
        }
    }
}

async fn result(page: &Page, tested: &TestOutcome) -> Markup {
    let link = |id: DeliveryId| html! { a href=(page.to(format!("/deliveries/{id}"))) { (id) } };
    match tested {
        TestOutcome::Attempt(result) => {
            let body = sent_body(page, result.delivery_id).await;
            html! { section #result aria-labelledby="result-title" tabindex="-1" autofocus {
                h2 #result-title { "Result" }
                (attempt_detail(&result.attempt))
                @if let Some(body) = body { h3 { "Request body" } (listing("Request body", &pretty_json(&body))) }
                p { "The log has it as " (link(result.delivery_id)) "." }
            } }
        }
        TestOutcome::Pending(pending) => html! { p.warning role="status" {
            "No response arrived in time. The log will have the result as " (link(pending.id)) "."
        } },
    }
}

/// The body of the test, which the log renders again.
async fn sent_body(page: &Page, id: DeliveryId) -> Option<String> {
    for _ in 0..BODY_READS {
        match page.operations.read_delivery(page.caller, &id.to_string()).await {
            Ok(found) => return found.body,
            Err(_) => tokio::time::sleep(BODY_PAUSE).await,
        }
    }
    None
}
