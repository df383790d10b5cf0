//! Rotating the secret of a webhook.

use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use postrider_http::problem::{FieldError, Problem, read_json};
use serde_json::{Map, Value};

use crate::dashboard::components::form::FormErrors;
use crate::dashboard::components::secret::{NewSecret, public_key};
use crate::dashboard::failure::Failure;
use crate::dashboard::fields::{Fields, Form};
use crate::dashboard::format::utc;
use crate::dashboard::layout::Section;
use crate::dashboard::page::{Managed, WebhookPage, form_problem, refused};
use crate::endpoints::model::SignatureKey;
use crate::endpoints::rotate::{RotateSecret, RotatedSecret};

/// `GET …/webhooks/{id}/rotate`
pub(crate) async fn show(Managed(webhook): Managed<WebhookPage>) -> Markup {
    let entered = webhook.page.visitor.restored().cloned().unwrap_or_default();
    form(&webhook, &entered, FormErrors(None))
}

fn form(webhook: &WebhookPage, entered: &Fields, errors: FormErrors<'_>) -> Markup {
    let WebhookPage { page, endpoint } = webhook;
    let profile = &page.profile;
    let content = html! {
        h1 { "New secret for " (endpoint.name) }
        @if profile.standard_headers {
            p {
                "During the overlap, " code { "webhook-signature" } " contains signatures with both secrets. "
                "Switch your receiver to the new one at any time in between."
            }
        }
        @if let Some(scheme) = &profile.signature {
            p.warning role="note" {
                code { (scheme.header) } " holds one signature only. It uses the new secret at once, or from the time that you choose."
            }
        }
        (errors.summary())
        form.stack method="post" action=(webhook.at("/rotate")) {
            (page.visitor.tokens)
            @if profile.standard_headers {
                (errors.field("overlap_seconds", "Overlap in hours").named("overlap_hours").hint("0 to 720. Default: 24.")
                    .number(entered.get("overlap_hours")))
            }
            (errors.field("effective_at", "Or switch at (UTC)")
                .hint("Replaces the overlap: the old secret stops and the new one starts at this time. At most 30 days ahead.")
                .time(entered.get("effective_at")))
            @if matches!(endpoint.signature_key, SignatureKey::Hmac) {
                (errors.field("secret", "Your own secret").hint("Leave it empty to generate one, which is shown once.")
                    .wide().code().text(""))
            }
            div.buttons {
                button.primary type="submit" { "Create the new secret" }
                a.button href=(webhook.at("")) { "Back" }
            }
        }
    };
    page.show(Section::Webhooks, &errors.title(&format!("Rotate the secret of {}", endpoint.name)), content)
}

/// `POST …/webhooks/{id}/rotate`
pub(crate) async fn rotate(Managed(webhook): Managed<WebhookPage>, Form(fields): Form) -> Result<Response, Failure> {
    let WebhookPage { page, endpoint } = &webhook;
    let rotated = match request(&fields) {
        Ok(request) => page.api.rotate_secret(page.caller, &endpoint.id, Ok(None), request).await,
        Err(problem) => Err(problem),
    };
    match rotated {
        Ok((_, secret)) => Ok(replaced(&webhook, &secret).into_response()),
        Err(problem) => {
            let problem = form_problem(problem)?;
            Ok(refused(&problem, form(&webhook, &fields, FormErrors(Some(&problem)))))
        }
    }
}

fn replaced(webhook: &WebhookPage, rotated: &RotatedSecret) -> Markup {
    let content = html! {
        h1 { "Secret of " (webhook.endpoint.name) " replaced" }
        @if let Some(secret) = &rotated.secret { (NewSecret::of_webhook(secret).show()) }
        @if let Some(key) = &rotated.public_key { (public_key(key)) }
        p { a.button href=(webhook.at("")) { "Go to the webhook" } }
    };
    webhook.page.show(Section::Webhooks, "Secret replaced", content)
}

fn request(fields: &Fields) -> Result<RotateSecret, Problem> {
    let mut body = Map::new();
    if let Some(hours) = fields.optional("overlap_hours") {
        let hours = hours.parse::<f64>().ok().filter(|hours| (0.0..1e6).contains(hours));
        let error = || Problem::unprocessable(vec![FieldError::new("/overlap_seconds", "expected a number of hours")]);
        let seconds = (hours.ok_or_else(error)? * 3_600.0).round() as u64;
        body.insert("overlap_seconds".into(), seconds.into());
    }
    if let Some(at) = fields.optional("effective_at") {
        body.insert("effective_at".into(), utc(&at).into());
    }
    if let Some(secret) = fields.optional("secret") {
        body.insert("secret".into(), secret.into());
    }
    read_json(Value::Object(body).to_string().as_bytes())
}
