//! A test: pick a type, see request and answer.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use postrider_http::problem::Problem;

use super::super::Dashboard;
use super::super::deliveries::attempt_detail;
use super::super::failure::Failure;
use super::super::form::Form;
use super::super::layout::Section;
use super::super::page::{Page, about_fields};
use super::super::parts::{errors, listing, mistakes, pretty_json, titled};
use super::Id;
use crate::deliveries;
use crate::endpoints::model::Endpoint;
use crate::event_types::model::EventType;
use crate::request::Params;
use crate::test_call::{TestEndpoint, Tested};

/// `GET …/webhooks/{id}/test`
pub(super) async fn ask(
    State(dashboard): State<Arc<Dashboard>>,
    page: Page,
    Path((_, id)): Id,
) -> Result<Markup, Failure> {
    super::refuse_readers(&page)?;
    let endpoint = super::endpoint(&dashboard.api, &page, &id).await?;
    let catalog = page.catalog(&dashboard.api).await?;
    let chosen = page.restored.as_ref().map_or("", |fields| fields.get("event_type"));
    Ok(shown(&page, &endpoint, &catalog, chosen, None, &html! {}))
}

fn shown(
    page: &Page,
    endpoint: &Endpoint,
    catalog: &[EventType],
    chosen: &str,
    problem: Option<&Problem>,
    result: &Markup,
) -> Markup {
    let wrong = mistakes(problem, "/event_type");
    page.show(Section::Webhooks, &titled(&format!("Test {}", endpoint.name), problem), html! {
        h1 { "Test " (endpoint.name) }
        p { "Sends a sample now, also while the webhook is inactive. The payload is marked as a test." }
        form.stack method="post" action=(page.to(format!("/webhooks/{}/test", endpoint.id))) {
            (page.csrf())
            div.field {
                label for="f-event_type" { "Event type" }
                (errors("event_type", &wrong))
                select #f-event_type name="event_type" {
                    option value="" { "the product's test event" }
                    @for info in catalog { option value=(info.name()) selected[info.name() == chosen] { (info.name()) } }
                }
            }
            div.buttons { button.primary type="submit" { "Send test" } a.button href=(page.to(format!("/webhooks/{}", endpoint.id))) { "Back" } }
        }
        (result)
    })
}

/// `POST …/webhooks/{id}/test`
pub(super) async fn run(
    State(dashboard): State<Arc<Dashboard>>,
    page: Page,
    Path((_, id)): Id,
    Form(fields): Form,
) -> Result<Response, Failure> {
    let api = &dashboard.api;
    let endpoint = super::endpoint(api, &page, &id).await?;
    let catalog = page.catalog(api).await?;
    let request = TestEndpoint { event_type: fields.given("event_type") };
    let chosen = fields.get("event_type");
    let result = match api.test_endpoint(page.caller, &id, request).await {
        Ok(Tested::Attempt(result)) => {
            let body = sent_body(&dashboard, &page, &result.delivery_id).await;
            html! { section #result aria-labelledby="result-title" tabindex="-1" autofocus {
                h2 #result-title { "Result" }
                (attempt_detail(&result.attempt))
                @if let Some(body) = body { h3 { "Body that was sent" } (listing("Body that was sent", &pretty_json(&body))) }
                p { "It is on record as " a href=(page.to(format!("/deliveries/{}", result.delivery_id))) { (result.delivery_id) } "." }
            } }
        }
        Ok(Tested::Pending(pending)) => html! { p.warning role="status" {
            "No answer came in time. It will be on record as "
            a href=(page.to(format!("/deliveries/{}", pending.id))) { (pending.id) } "."
        } },
        Err(problem) => {
            let problem = about_fields(problem)?;
            let alone = problem.errors.is_empty();
            let told = html! { @if alone { p.problem role="alert" tabindex="-1" autofocus { (problem.detail) } } };
            let again = shown(&page, &endpoint, &catalog, chosen, Some(&problem), &told);
            return Ok((problem.status_code(), again).into_response());
        }
    };
    Ok(shown(&page, &endpoint, &catalog, chosen, None, &result).into_response())
}

/// The body as the log renders it again; the recorder may be a moment behind.
async fn sent_body(dashboard: &Dashboard, page: &Page, delivery: &str) -> Option<String> {
    for _ in 0..10 {
        let api = Arc::clone(&dashboard.api);
        match deliveries::read(State(api), page.caller, Params::default(), Path(delivery.to_owned())).await {
            Ok(found) => return found.0.body,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    }
    None
}
