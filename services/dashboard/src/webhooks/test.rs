//! The page that sends a test event, whose data the visitor can edit, and shows the request and the response.

use std::time::Duration;

use axum::response::Response;
use maud::{Markup, html};
use postrider_http::problem::syntax_error;
use postrider_model::ids::DeliveryId;
use postrider_model::json::compact;
use postrider_operations::Error;
use postrider_operations::test_calls::{TestEndpoint, TestOutcome, TestTypes};
use serde_json::value::RawValue;

use crate::components::{Form, attempt_detail, listing, options};
use crate::failure::Answer;
use crate::fields::{Fields, Sent};
use crate::format::pretty_json;
use crate::language::{t, tm};
use crate::page::{Managed, Page, WebhookPage};

/// Maximum number of attempts to read the sent body from the history, because the recorder may write it later.
const BODY_READS: usize = 10;
/// Pause between two attempts to read the sent body.
const BODY_PAUSE: Duration = Duration::from_millis(100);
/// Number of lines of the field with the data.
const DATA_ROWS: u8 = 12;

/// The id of the part of the page that `sample.js` replaces.
const PART: &str = "sample";

/// `GET …/webhooks/{id}/test`
pub(crate) async fn show(Managed(webhook): Managed<WebhookPage>) -> Answer<Response> {
    let visitor = &webhook.page.visitor;
    let chosen = || Fields::default().with_some("event_type", visitor.query.optional("event_type"));
    let form = visitor.restored().unwrap_or_else(chosen).into();
    show_form(&webhook, form, html! {}).await
}

async fn show_form(webhook: &WebhookPage, form: Form, result: Markup) -> Answer<Response> {
    let WebhookPage { page, endpoint, id } = webhook;
    let types = page.operations.test_types(page.caller, id).await?;
    let Shown { form, preview } = Shown::load(webhook, &types, form).await?;
    let content = html! {
        h1 { (t!("Test {name}", name = endpoint.name)) }
        p { (t!("Sends a sample event now, even if the {webhook} is inactive. The payload is marked as a test.")) }
        form.stack method="get" action=(webhook.at("/test")) data-sample=(PART) {
            (form.field("event_type", t!("Event type")).hint(t!("Shows the sample of this type below."))
                .select(choices(&types, &form)))
            div.buttons { button type="submit" { (t!("Show sample")) } }
        }
        // A result contains the body that was sent.
        div id=(PART) { (sample(webhook, &form, preview.as_deref().filter(|_| result.0.is_empty()))) }
        (result)
    };
    Ok(form.answer(page.show(&form.title(&t!("Test {name}", name = endpoint.name)), content)))
}

/// The form with the values to show, and the body that the endpoint will receive, if the values are valid.
struct Shown {
    form: Form,
    preview: Option<String>,
}

impl Shown {
    /// Proposes an event type if none is chosen, and fills in its sample if no data is entered.
    async fn load(webhook: &WebhookPage, types: &TestTypes, form: Form) -> Answer<Self> {
        let WebhookPage { page, id, .. } = webhook;
        let Some(event_type) = form.fields.optional("event_type").or_else(|| types.proposed.clone()) else {
            return Ok(Self { form, preview: None });
        };
        let sample = match data(&form.fields) {
            Ok(entered) => page.operations.test_sample(page.caller, id, &event_type, entered).await,
            Err(error) => Err(error),
        };
        match sample {
            Ok(sample) => {
                let form = form.filled("event_type", &event_type).filled("data", &pretty_json(sample.data.get()));
                Ok(Self { form, preview: Some(sample.body) })
            }
            Err(Error::Invalid(_)) if form.is_refused() => Ok(Self { form, preview: None }),
            // The address names an unknown type, or a form of an ended session has invalid data.
            Err(error) => Ok(Self { form: Form::refused(form.fields, error)?, preview: None }),
        }
    }
}

/// The types in two groups, of which the first has those that the webhook receives.
fn choices(types: &TestTypes, form: &Form) -> Markup {
    let chosen = form.get("event_type");
    let group = |label: &str, names: &[String]| {
        html! { @if !names.is_empty() { optgroup label=(label) {
            (options(chosen, names.iter().map(|name| (name.as_str(), name.as_str()))))
        } } }
    };
    let is_listed = [&types.subscribed, &types.others].into_iter().flatten().any(|name| name == chosen);
    html! {
        (group(&t!("This {webhook} receives"), &types.subscribed))
        (group(&t!("This {webhook} does not receive"), &types.others))
        // The address may name another type.
        @if !is_listed { (options(chosen, [(chosen, chosen)])) }
    }
}

/// The form that sends the test, with the data to edit, and the body as the endpoint will receive it.
fn sample(webhook: &WebhookPage, form: &Form, preview: Option<&str>) -> Markup {
    let data = form.field("data", t!("Data")).hint(tm!(
        "The data of the sample {event}, as JSON. You can change it for this test.",
        event = html! { strong { (form.get("event_type")) } }
    ));
    html! {
        (form.summary())
        form.stack method="post" action=(webhook.at("/test")) {
            (webhook.page.visitor.tokens)
            input type="hidden" name="event_type" value=(form.get("event_type"));
            (data.code().area(DATA_ROWS))
            div.buttons {
                button.primary type="submit" data-busy=(t!("Sending…")) { (t!("Send test")) }
                button type="submit" name="preview" value="yes" { (t!("Update the preview")) }
                a.button href=(webhook.at("")) { (t!("Back")) }
            }
        }
        @if let Some(body) = preview { section aria-labelledby="preview-title" {
            h2 #preview-title { (t!("What your {endpoint} receives")) }
            p.faint { (t!("The test has an id and a time of its own.")) }
            (listing(&t!("Body of the test"), &pretty_json(body)))
        } }
    }
}

/// The entered data without whitespace between its tokens; `None` for an empty field, which stands for the sample.
///
/// # Errors
/// The text is not JSON.
fn data(fields: &Fields) -> Result<Option<Box<RawValue>>, Error> {
    let Some(text) = fields.optional("data") else { return Ok(None) };
    let wrong = |error| Error::invalid("/data", format!("not valid JSON: {}", syntax_error(&error)));
    serde_json::from_str::<&RawValue>(&text).map_err(wrong)?;
    RawValue::from_string(compact(&text)).map(Some).map_err(wrong)
}

/// `POST …/webhooks/{id}/test`
pub(crate) async fn send(Managed(webhook): Managed<WebhookPage>, Sent(fields): Sent) -> Answer<Response> {
    let WebhookPage { page, id, .. } = &webhook;
    let event_type = fields.optional("event_type");
    let only_preview = fields.is_checked("preview");
    let tested = async {
        let data = data(&fields)?;
        if only_preview {
            return Ok(None);
        }
        page.operations.test_endpoint(page.caller, id, TestEndpoint { event_type, data }).await.map(Some)
    };
    match tested.await {
        Ok(Some(tested)) => show_form(&webhook, fields.into(), result(page, &tested).await).await,
        Ok(None) => show_form(&webhook, fields.into(), html! {}).await,
        Err(error) => show_form(&webhook, Form::refused(fields, error)?, html! {}).await,
    }
}

async fn result(page: &Page, tested: &TestOutcome) -> Markup {
    let link = |id: DeliveryId| html! { a href=(page.to(format!("/deliveries/{id}"))) { (id) } };
    match tested {
        TestOutcome::Attempt(result) => {
            let body = sent_body(page, result.delivery_id).await;
            html! { section #result aria-labelledby="result-title" tabindex="-1" autofocus {
                h2 #result-title { (t!("Result")) }
                (attempt_detail(&result.attempt))
                @if let Some(body) = body { h3 { (t!("Request body")) } (listing(&t!("Request body"), &pretty_json(&body))) }
                p { (tm!("The history has it as {link}.", link = link(result.delivery_id))) }
            } }
        }
        TestOutcome::Pending(pending) => html! { p.warning role="status" {
            (tm!("No response arrived in time. The history will have the result as {link}.", link = link(pending.id)))
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
