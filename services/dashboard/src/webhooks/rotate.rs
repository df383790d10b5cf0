//! The page that replaces the secret of a webhook.

use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use postrider_model::endpoint::SignatureKey;
use postrider_model::timestamp::Timestamp;
use postrider_operations::endpoints::{RotateSecret, RotatedSecret};
use postrider_operations::{Error, FieldError};

use crate::components::{Form, NewSecret, public_key};
use crate::failure::Answer;
use crate::fields::{FieldReader, Fields, Sent};
use crate::language::{t, tm};
use crate::page::{Managed, WebhookPage};

/// `GET …/webhooks/{id}/rotate`
pub(crate) async fn show(Managed(webhook): Managed<WebhookPage>) -> Response {
    show_form(&webhook, &webhook.page.visitor.restored().unwrap_or_default().into())
}

fn show_form(webhook: &WebhookPage, form: &Form) -> Response {
    let WebhookPage { page, endpoint, .. } = webhook;
    let profile = &page.profile;
    let content = html! {
        h1 { (t!("New secret for {name}", name = endpoint.name)) }
        @if profile.standard_headers {
            p {
                (tm!(
                    "During the overlap, {header} contains signatures with both secrets.",
                    header = html! { code { "webhook-signature" } }
                ))
                " " (t!("Switch your receiver to the new one at any time in between."))
            }
        }
        @if let Some(scheme) = &profile.signature {
            p.warning role="note" {
                (tm!(
                    "{header} holds one signature only. It uses the new secret at once, or from the time that you choose.",
                    header = html! { code { (scheme.header) } }
                ))
            }
        }
        (form.summary())
        form.stack method="post" action=(webhook.at("/rotate")) {
            (page.visitor.tokens)
            @if profile.standard_headers {
                (form.field("overlap_seconds", t!("Overlap in hours")).named("overlap_hours").hint(t!("0 to 720. Default: 24."))
                    .number())
            }
            (form.field("effective_at", t!("Or switch at (UTC)"))
                .hint(t!("Replaces the overlap: the old secret stops and the new one starts at this time. At most 30 days ahead."))
                .time())
            @if endpoint.signature_key == SignatureKey::Hmac {
                (form.field("secret", t!("Your own secret")).hint(t!("Leave it empty to generate one, which is shown once."))
                    .wide().code().text())
            }
            div.buttons {
                button.primary type="submit" { (t!("Create the new secret")) }
                a.button href=(webhook.at("")) { (t!("Back")) }
            }
        }
    };
    form.answer(page.show(&form.title(&t!("Rotate the secret of {name}", name = endpoint.name)), content))
}

/// `POST …/webhooks/{id}/rotate`
pub(crate) async fn rotate(Managed(webhook): Managed<WebhookPage>, Sent(fields): Sent) -> Answer<Response> {
    let WebhookPage { page, id, .. } = &webhook;
    match async { page.operations.rotate_secret(page.caller, id, None, request(&fields)?).await }.await {
        Ok(secret) => Ok(replaced(&webhook, &secret).into_response()),
        // The form is shown again without the secret.
        Err(error) => {
            Ok(show_form(&webhook, &Form::refused(Fields::read(fields.without(&["secret"]).as_bytes()), error)?))
        }
    }
}

fn replaced(webhook: &WebhookPage, rotated: &RotatedSecret) -> Markup {
    let content = html! {
        h1 { (t!("Secret of {name} replaced", name = webhook.endpoint.name)) }
        @if let Some(secret) = &rotated.secret { (NewSecret::of_webhook(secret).show()) }
        @if let Some(key) = &rotated.public_key { (public_key(key)) }
        p { a.button href=(webhook.at("")) { (t!("Go to the {webhook}")) } }
    };
    webhook.page.show(&t!("Secret replaced"), content)
}

fn request(fields: &Fields) -> Result<RotateSecret, Error> {
    let mut reader = FieldReader::new(fields);
    let overlap: Option<f64> = reader.number_text("/overlap_seconds", fields.get("overlap_hours"));
    if overlap.is_some_and(|hours| !(0.0..1e6).contains(&hours)) {
        reader.take(Err::<(), _>(FieldError::new("/overlap_seconds", "expected a number of hours")));
    }
    let request = RotateSecret {
        overlap_seconds: overlap.map(|hours| (hours * 3_600.0).round() as u64),
        effective_at: reader.time("/effective_at").map(Timestamp),
        secret: fields.optional("secret"),
        end_others: false,
    };
    reader.finish(request)
}
