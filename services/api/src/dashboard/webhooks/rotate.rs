//! A new secret, with an overlap where the signature can have one.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use postrider_http::problem::{Problem, read_json};
use serde_json::{Map, Value};

use super::super::Dashboard;
use super::super::failure::Failure;
use super::super::form::{Fields, Form};
use super::super::layout::Section;
use super::super::page::{Page, about_fields};
use super::super::parts::{field, mistakes, summary, titled, utc};
use super::Id;
use super::save::{public_key_shown, secret_once};
use crate::endpoints::model::{Endpoint, SignatureKey};

/// `GET …/webhooks/{id}/rotate`
pub(super) async fn ask(
    State(dashboard): State<Arc<Dashboard>>,
    page: Page,
    Path((_, id)): Id,
) -> Result<Markup, Failure> {
    super::refuse_readers(&page)?;
    let endpoint = super::endpoint(&dashboard.api, &page, &id).await?;
    let typed = page.restored.clone().unwrap_or_default();
    Ok(shown(&page, &endpoint, &typed, None))
}

fn shown(page: &Page, endpoint: &Endpoint, typed: &Fields, problem: Option<&Problem>) -> Markup {
    let wrong = |pointer: &str| mistakes(problem, pointer);
    let product = page.profile.signature.as_ref().map(|scheme| scheme.header.as_str());
    page.show(Section::Webhooks, &titled(&format!("Rotate the secret of {}", endpoint.name), problem), html! {
        h1 { "New secret for " (endpoint.name) }
        @if page.profile.standard_headers {
            p { "During the overlap " code { "webhook-signature" } " is made with both secrets, so that your receiver can change over whenever it suits you." }
        }
        @if let Some(header) = product {
            p.warning role="note" { code { (header) } " has room for one value: it changes over at once, or at the moment that you choose." }
        }
        (summary(problem))
        form.stack method="post" action=(page.to(format!("/webhooks/{}/rotate", endpoint.id))) {
            (page.csrf())
            @if page.profile.standard_headers {
                (field("overlap_seconds", "Overlap in hours", html! { "0 to 720. Empty: 24." }, &wrong("/overlap_seconds"), |described, invalid| html! {
                    input #f-overlap_seconds type="text" inputmode="numeric" name="overlap_hours" value=(typed.get("overlap_hours")) autocomplete="off" aria-describedby=(described) aria-invalid=[invalid];
                }))
            }
            (field("effective_at", "Or change over at (UTC)", html! { "Without an overlap, at most 30 days ahead. Empty: see above." }, &wrong("/effective_at"), |described, invalid| html! {
                input #f-effective_at type="datetime-local" name="effective_at" value=(typed.get("effective_at")) aria-describedby=(described) aria-invalid=[invalid];
            }))
            @if matches!(endpoint.signature_key, SignatureKey::Hmac) {
                (field("secret", "Secret of your own", html! { "Empty: one is made and shown once." }, &wrong("/secret"), |described, invalid| html! {
                    input.wide #f-secret type="text" name="secret" autocomplete="off" spellcheck="false" aria-describedby=(described) aria-invalid=[invalid];
                }))
            }
            div.buttons {
                button.primary type="submit" { "Make the new secret" }
                a.button href=(page.to(format!("/webhooks/{}", endpoint.id))) { "Back" }
            }
        }
    })
}

/// `POST …/webhooks/{id}/rotate`
pub(super) async fn rotate(
    State(dashboard): State<Arc<Dashboard>>,
    page: Page,
    Path((_, id)): Id,
    Form(fields): Form,
) -> Result<Response, Failure> {
    let endpoint = super::endpoint(&dashboard.api, &page, &id).await?;
    let request = read_json(Value::Object(body(&fields)).to_string().as_bytes());
    let rotated = match request {
        Ok(request) => dashboard.api.rotate_secret(page.caller, &id, Ok(None), request).await,
        Err(problem) => Err(problem),
    };
    match rotated {
        Ok((_, answer)) => Ok(page
            .show(
                Section::Webhooks,
                "Secret replaced",
                html! {
                    h1 { "Secret of " (endpoint.name) " replaced" }
                    @if let Some(secret) = &answer.secret { (secret_once(secret)) }
                    @if let Some(key) = &answer.public_key { (public_key_shown(key)) }
                    p { a.button href=(page.to(format!("/webhooks/{id}"))) { "Go to the webhook" } }
                },
            )
            .into_response()),
        Err(problem) => {
            let problem = about_fields(problem)?;
            Ok((problem.status_code(), shown(&page, &endpoint, &fields, Some(&problem))).into_response())
        }
    }
}

fn body(fields: &Fields) -> Map<String, Value> {
    let mut body = Map::new();
    if let Some(hours) = fields.given("overlap_hours") {
        let seconds = hours.parse::<f64>().map(|hours| (hours * 3_600.0).round());
        let value = seconds.ok().filter(|seconds| (0.0..1e12).contains(seconds)).map(|seconds| (seconds as u64).into());
        body.insert("overlap_seconds".into(), value.unwrap_or_else(|| hours.into()));
    }
    if let Some(at) = fields.given("effective_at") {
        body.insert("effective_at".into(), utc(&at).into());
    }
    if let Some(secret) = fields.given("secret") {
        body.insert("secret".into(), secret.into());
    }
    body
}
