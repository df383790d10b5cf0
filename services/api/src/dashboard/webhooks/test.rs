//! Sending a test event and showing the request and the response.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use crate::dashboard::components::delivery::attempt_detail;
use crate::dashboard::components::form::{FormErrors, option};
use crate::dashboard::components::listing;
use crate::dashboard::failure::Failure;
use crate::dashboard::fields::Form;
use crate::dashboard::format::pretty_json;
use crate::dashboard::layout::Section;
use crate::dashboard::page::{Managed, Page, WebhookPage, form_problem, refused};
use crate::deliveries;
use crate::event_types::model::EventType;
use crate::request::Params;
use crate::test_call::{TestEndpoint, TestResult, Tested};

/// Attempts to read the sent body; the recorder may be a moment behind.
const BODY_READS: usize = 10;
/// Time between two of them.
const BODY_PAUSE: Duration = Duration::from_millis(100);

/// `GET …/webhooks/{id}/test`
pub(crate) async fn show(Managed(webhook): Managed<WebhookPage>) -> Result<Markup, Failure> {
    let catalog = webhook.page.catalog().await?;
    let chosen = webhook.page.visitor.restored().map_or("", |fields| fields.get("event_type"));
    Ok(form(&webhook, &catalog, chosen, FormErrors(None), &html! {}))
}

fn form(webhook: &WebhookPage, catalog: &[EventType], chosen: &str, errors: FormErrors<'_>, result: &Markup) -> Markup {
    let WebhookPage { page, endpoint } = webhook;
    let options = html! {
        option value="" { "the product's test event" }
        @for info in catalog { (option(info.name(), chosen, info.name())) }
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
    let WebhookPage { page, endpoint } = &webhook;
    let catalog = page.catalog().await?;
    let chosen = fields.get("event_type");
    let request = TestEndpoint { event_type: fields.optional("event_type") };
    match page.api.test_endpoint(page.caller, &endpoint.id, request).await {
        Ok(tested) => {
            let result = result(page, &tested).await;
            Ok(form(&webhook, &catalog, chosen, FormErrors(None), &result).into_response())
        }
        Err(problem) => {
            let problem = form_problem(problem)?;
            let errors = FormErrors(Some(&problem));
            let summary = if problem.errors.is_empty() {
                errors.summary()
            } else {
                html! {}
            };
            Ok(refused(&problem, form(&webhook, &catalog, chosen, errors, &summary)))
        }
    }
}

async fn result(page: &Page, tested: &Tested) -> Markup {
    let link = |id: &str| html! { a href=(page.to(format!("/deliveries/{id}"))) { (id) } };
    match tested {
        Tested::Attempt(result) => {
            let body = sent_body(page, result).await;
            html! { section #result aria-labelledby="result-title" tabindex="-1" autofocus {
                h2 #result-title { "Result" }
                (attempt_detail(&result.attempt))
                @if let Some(body) = body { h3 { "Request body" } (listing("Request body", &pretty_json(&body))) }
                p { "The log has it as " (link(&result.delivery_id)) "." }
            } }
        }
        Tested::Pending(pending) => html! { p.warning role="status" {
            "No response arrived in time. The log will have the result as " (link(&pending.id)) "."
        } },
    }
}

/// The body of the test, which the log renders again.
async fn sent_body(page: &Page, result: &TestResult) -> Option<String> {
    for _ in 0..BODY_READS {
        let (state, path) = (State(Arc::clone(&page.api)), Path(result.delivery_id.clone()));
        match deliveries::read(state, page.caller, Params::default(), path).await {
            Ok(found) => return found.0.body,
            Err(_) => tokio::time::sleep(BODY_PAUSE).await,
        }
    }
    None
}
