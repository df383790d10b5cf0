//! The page that sends a test event and shows the request and the response.

use std::time::Duration;

use axum::response::Response;
use maud::{Markup, html};
use postrider_model::ids::DeliveryId;
use postrider_operations::Error;
use postrider_operations::test_calls::{TestEndpoint, TestOutcome};

use crate::components::{Form, attempt_detail, listing};
use crate::failure::Answer;
use crate::fields::{Fields, Sent};
use crate::format::pretty_json;
use crate::page::{Managed, Page, WebhookPage};

/// Maximum number of attempts to read the sent body from the history, because the recorder may write it later.
const BODY_READS: usize = 10;
/// Pause between two attempts to read the sent body.
const BODY_PAUSE: Duration = Duration::from_millis(100);

/// `GET …/webhooks/{id}/test`
pub(crate) async fn show(Managed(webhook): Managed<WebhookPage>) -> Answer<Response> {
    let visitor = &webhook.page.visitor;
    let chosen = || Fields::default().with_some("event_type", visitor.query.optional("event_type"));
    let form = visitor.restored().unwrap_or_else(chosen).into();
    show_form(&webhook, &form, html! {}).await
}

async fn show_form(webhook: &WebhookPage, form: &Form, result: Markup) -> Answer<Response> {
    let WebhookPage { page, endpoint, .. } = webhook;
    let catalog = page.operations.catalog(page.caller).await?;
    let types = catalog.iter().map(|info| (info.name.as_str(), info.name.as_str()));
    let types = [("", "the product's test event")].into_iter().chain(types);
    let content = html! {
        h1 { "Test " (endpoint.name) }
        p { "Sends a sample event now, even if the webhook is inactive. The payload is marked as a test." }
        form.stack method="post" action=(webhook.at("/test")) {
            (page.visitor.tokens)
            (form.field("event_type", "Event type").choice(types))
            div.buttons {
                button.primary type="submit" { "Send test" }
                a.button href=(webhook.at("")) { "Back" }
            }
        }
        (result)
    };
    Ok(form.answer(page.show(&form.title(&format!("Test {}", endpoint.name)), content)))
}

/// `POST …/webhooks/{id}/test`
pub(crate) async fn send(Managed(webhook): Managed<WebhookPage>, Sent(fields): Sent) -> Answer<Response> {
    let WebhookPage { page, id, .. } = &webhook;
    let request = TestEndpoint { event_type: fields.optional("event_type") };
    match page.operations.test_endpoint(page.caller, id, request).await {
        Ok(tested) => show_form(&webhook, &fields.into(), result(page, &tested).await).await,
        Err(error) => {
            let is_at_field = matches!(error, Error::Invalid(_));
            let form = Form::refused(fields, error)?;
            let summary = if is_at_field {
                html! {}
            } else {
                form.summary()
            };
            show_form(&webhook, &form, summary).await
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
                p { "The history has it as " (link(result.delivery_id)) "." }
            } }
        }
        TestOutcome::Pending(pending) => html! { p.warning role="status" {
            "No response arrived in time. The history will have the result as " (link(pending.id)) "."
        } },
    }
}

/// Waits until the test's delivery is in the history, and returns its body.
async fn sent_body(page: &Page, id: DeliveryId) -> Option<String> {
    for _ in 0..BODY_READS {
        match page.operations.read_delivery(page.caller, &id.to_string()).await {
            Ok(found) => return found.body,
            Err(_) => tokio::time::sleep(BODY_PAUSE).await,
        }
    }
    None
}
