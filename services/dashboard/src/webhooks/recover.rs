//! The page that recovers a webhook. It shows the number of events that the webhook did not receive, and a button that delivers
//! them.

use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use postrider_model::delivery::EndpointStatus;
use postrider_model::time::UnixMillis;
use postrider_operations::Error;
use postrider_operations::endpoints::{EditEndpoint, RecoverEndpoint, RecoveryPreview, RequestedStatus};

use crate::components::{Form, time};
use crate::failure::Answer;
use crate::fields::{Fields, Sent};
use crate::format::{local, utc};
use crate::language::{t, tm};
use crate::page::{Managed, WebhookPage};
use crate::texts::Notice;

/// How far back a recovery reaches, in milliseconds, if neither the form nor the webhook's health names its start: a day.
const DEFAULT_MS: i64 = 86_400_000;

/// `GET …/webhooks/{id}/recover`
pub(crate) async fn show(Managed(webhook): Managed<WebhookPage>) -> Answer<Response> {
    if webhook.endpoint.status == EndpointStatus::Paused {
        // Nothing is missed. The page of the webhook offers to resume it.
        return Ok(Redirect::to(&webhook.at("")).into_response());
    }
    let fields = webhook.page.visitor.restored().unwrap_or_else(|| webhook.page.visitor.query.clone());
    counted(&webhook, &fields).await
}

/// The page with the numbers of events, or with the error of the form.
async fn counted(webhook: &WebhookPage, fields: &Fields) -> Answer<Response> {
    let since = since(webhook, fields);
    let request = RecoverEndpoint { since: Some(since.clone()), dry_run: Some(true) };
    match webhook.page.operations.preview_recovery(webhook.page.caller, &webhook.id, &request).await {
        Ok(preview) => Ok(page(webhook, &form(fields, &since), &plan(webhook, &preview))),
        Err(error) => Ok(page(webhook, &Form::refused(fields.clone(), error)?, &html! {})),
    }
}

/// The start of the recovery: the time in the form, or else the time that the webhook's health suggests.
fn since(webhook: &WebhookPage, fields: &Fields) -> String {
    let suggested = || {
        let since = webhook.endpoint.health.recover_since.map(|since| since.0);
        let since = since.unwrap_or_else(|| UnixMillis(UnixMillis::now().0 - DEFAULT_MS));
        since.to_rfc3339_millis()
    };
    Some(utc(fields.get("since"))).filter(|since| !since.is_empty()).unwrap_or_else(suggested)
}

fn form(fields: &Fields, since: &str) -> Form {
    let rest = Fields::read(fields.without(&["since"]).as_bytes());
    rest.with("since", local(since)).into()
}

/// The page with `above` between its title and the form.
fn page(webhook: &WebhookPage, form: &Form, above: &Markup) -> Response {
    let page = &webhook.page;
    let title = t!("Recover {name}", name = webhook.endpoint.name);
    let content = html! {
        h1.long { (title) }
        (form.summary())
        (above)
        form.stack method="get" action=(webhook.at("/recover")) {
            (form.field("since", t!("Events accepted since (UTC)")).time())
            div.buttons {
                button type="submit" { (t!("Count again")) }
                a.button.quiet href=(webhook.at("")) { (t!("Back")) }
            }
        }
    };
    form.answer(page.show(&form.title(&title), content))
}

/// The numbers of events, and the button that starts the recovery.
fn plan(webhook: &WebhookPage, preview: &RecoveryPreview) -> Markup {
    let RecoveryPreview { since, failed, missed, retrying } = *preview;
    let all = failed + missed + retrying;
    let off = webhook.endpoint.status != EndpointStatus::Active;
    html! {
        section.panel aria-labelledby="plan" {
            h2 #plan { (tm!(
                all,
                "{count} event not delivered since {time}",
                "{count} events not delivered since {time}",
                time = time(since)
            )) }
            ul {
                li { (t!(
                    failed,
                    "{count} event failed: no attempts are left, or the {webhook} was off when one was due.",
                    "{count} events failed: no attempts are left, or the {webhook} was off when one was due."
                )) }
                li { (t!(
                    missed,
                    "{count} event matched while the {webhook} was off.",
                    "{count} events matched while the {webhook} was off."
                )) }
                li { (t!(
                    retrying,
                    "{count} event waits for a retry, which is made now.",
                    "{count} events wait for a retry, which is made now."
                )) }
            }
            p.hint { (t!("What was delivered or cancelled is not sent again. The {webhook} receives each event once, oldest first.")) }
            @if all > 0 || off {
                form.buttons method="post" action=(webhook.at("/recover")) {
                    (webhook.page.visitor.tokens)
                    input type="hidden" name="since" value=(since);
                    button.primary type="submit" {
                        @if all == 0 { (t!("Switch on")) }
                        @else if off { (t!(all, "Switch on and deliver {count} event", "Switch on and deliver {count} events")) }
                        @else { (t!(all, "Deliver {count} event", "Deliver {count} events")) }
                    }
                }
            }
        }
    }
}

/// `POST …/webhooks/{id}/recover`: switches the webhook on, if it is off, and starts the recovery. If the preview of the recovery
/// fails, the webhook is not switched on.
pub(crate) async fn start(Managed(webhook): Managed<WebhookPage>, Sent(fields): Sent) -> Answer<Response> {
    let WebhookPage { page, endpoint, id } = &webhook;
    let request = RecoverEndpoint { since: Some(since(&webhook, &fields)), dry_run: None };
    if endpoint.status == EndpointStatus::Paused {
        return Ok(Redirect::to(&webhook.at("")).into_response());
    }
    let off = endpoint.status != EndpointStatus::Active;
    if off {
        if let Err(error) = page.operations.preview_recovery(page.caller, id, &request).await {
            return Ok(self::page(&webhook, &Form::refused(fields, error)?, &html! {}));
        }
        let edit = EditEndpoint { status: Some(RequestedStatus::Active), ..EditEndpoint::default() };
        // The recovery covers events up to its start, so every instance must apply the edit first: then new events match the
        // webhook.
        let edited = Box::pin(page.operations.edit_endpoint(page.caller, id, None, edit));
        let (edited, _) = page.operations.wait_for_edit(edited).await;
        edited?;
    }
    match page.operations.recover_endpoint(page.caller, id, &request).await {
        Ok(accepted) => Ok(page.redirect(format!("/replays/{}", accepted.id), Notice::RecoveryStarted).into_response()),
        Err(error @ (Error::Invalid(_) | Error::Conflict(_))) => {
            let switched = html! { @if off {
                p.warning role="note" { (t!("The {webhook} was switched on. The recovery did not start.")) }
            } };
            Ok(self::page(&webhook, &Form::refused(fields, error)?, &switched))
        }
        Err(error) => Err(error.into()),
    }
}
