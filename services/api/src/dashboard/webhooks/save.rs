//! Making and editing.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use postrider_http::problem::{Problem, read_json};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::Dashboard;
use super::super::failure::Failure;
use super::super::form::Form;
use super::super::layout::Section;
use super::super::page::{Page, about_fields};
use super::super::parts::titled;
use super::super::verify::how_to;
use super::Id;
use super::fields::Typed;
use super::form::{Offers, Purpose, channels, form, offers};
use crate::endpoints::model::{CreateEndpoint, CreatedEndpoint, EditEndpoint, Status};

/// `GET …/webhooks/new`
pub(super) async fn new(State(dashboard): State<Arc<Dashboard>>, page: Page) -> Result<Markup, Failure> {
    super::refuse_readers(&page)?;
    let typed = match &page.restored {
        Some(fields) => Typed::sent(fields, &page.profile, fields.get("channel") == "pushover"),
        None => Typed::new(page.query.get("channel") == "pushover"),
    };
    making(&dashboard, &page, &typed, None).await
}

async fn making(
    dashboard: &Dashboard,
    page: &Page,
    typed: &Typed,
    problem: Option<&Problem>,
) -> Result<Markup, Failure> {
    let offers = offers(&dashboard.api, page).await?;
    let (usage, limit) = super::usage(&dashboard.api, page).await?;
    Ok(page.show(
        Section::Webhooks,
        &titled("Add webhook", problem),
        html! {
            h1 { "Add webhook" }
            @if usage >= limit {
                (super::limit_reached(usage, limit))
                p { a.button href=(page.to("/webhooks")) { "Back to the webhooks" } }
            } @else {
                (channels(page, typed.pushover))
                (form(page, typed, &offers, Purpose::New, &page.to("/webhooks/new"), problem))
            }
        },
    ))
}

/// `POST …/webhooks/new`
pub(super) async fn create(
    State(dashboard): State<Arc<Dashboard>>,
    page: Page,
    Form(fields): Form,
) -> Result<Response, Failure> {
    let typed = Typed::sent(&fields, &page.profile, fields.get("channel") == "pushover");
    let asked = typed.creation().map_err(Problem::unprocessable).and_then(read::<CreateEndpoint>);
    let made = match asked {
        Ok(request) => dashboard.api.make_endpoint(page.caller, request).await,
        Err(problem) => Err(problem),
    };
    match made {
        Ok(made) => Ok((StatusCode::CREATED, created(&page, &made)).into_response()),
        Err(problem) => {
            let problem = about_fields(problem)?;
            let again = making(&dashboard, &page, &typed, Some(&problem)).await?;
            Ok((problem.status_code(), again).into_response())
        }
    }
}

/// Reads what the form made as strictly as a request.
fn read<T: DeserializeOwned>(body: Value) -> Result<T, Problem> {
    read_json(&serde_json::to_vec(&body).map_err(|_| Problem::internal())?)
}

fn created(page: &Page, made: &CreatedEndpoint) -> Markup {
    let endpoint = &made.endpoint;
    let at = page.to(format!("/webhooks/{}", endpoint.id));
    page.show(
        Section::Webhooks,
        "Webhook created",
        html! {
            h1 { "Webhook created" }
            p.lead { strong { (endpoint.name) } " is live." }
            @if let Some(secret) = &made.secret { (secret_once(secret)) }
            @if let Some(public_key) = &endpoint.public_key { (public_key_shown(public_key)) }
            div.buttons {
                a.button.primary href={ (at) "/test" } { "Send a test" }
                a.button href=(at) { "Go to the webhook" }
            }
            @if endpoint.url.is_some() { (how_to(&page.profile)) }
        },
    )
}

/// A secret, this one time.
pub(super) fn secret_once(secret: &str) -> Markup {
    html! {
        section.panel.secret aria-labelledby="secret-title" {
            h2 #secret-title { "Your secret" }
            p { strong { "Store it now where your receiver can read it." } " This page shows it for 15 minutes, as long as you are signed in. After that it cannot be shown again." }
            div.copyable {
                output.secret-value #secret { (secret) }
                button type="button" hidden data-copy { "Copy" }
            }
        }
    }
}

/// A public key: shown whenever one asks.
pub(super) fn public_key_shown(key: &str) -> Markup {
    html! {
        section.panel.secret aria-labelledby="public-key-title" {
            h2 #public-key-title { "Public key" }
            p { "Verify deliveries with it. It is no secret, and the webhook's page always shows it." }
            div.copyable { output.secret-value #public-key { (key) } button type="button" hidden data-copy { "Copy" } }
        }
    }
}

/// `GET …/webhooks/{id}/edit`
pub(super) async fn edit(
    State(dashboard): State<Arc<Dashboard>>,
    page: Page,
    Path((_, id)): Id,
) -> Result<Markup, Failure> {
    super::refuse_readers(&page)?;
    let endpoint = super::endpoint(&dashboard.api, &page, &id).await?;
    let offers = offers(&dashboard.api, &page).await?;
    let typed = match &page.restored {
        Some(fields) => Typed::sent(fields, &page.profile, endpoint.url.is_none()),
        None => Typed::of(&endpoint, &offers.event_types()),
    };
    Ok(editing(&page, &id, &typed, &offers, None))
}

fn editing(page: &Page, id: &str, typed: &Typed, offers: &Offers, problem: Option<&Problem>) -> Markup {
    let action = page.to(format!("/webhooks/{id}/edit"));
    page.show(
        Section::Webhooks,
        &titled(&format!("Edit {}", typed.name), problem),
        html! {
            h1 { "Edit webhook" }
            (form(page, typed, offers, Purpose::Edit, &action, problem))
        },
    )
}

/// `POST …/webhooks/{id}/edit`
pub(super) async fn save(
    State(dashboard): State<Arc<Dashboard>>,
    page: Page,
    Path((_, id)): Id,
    Form(fields): Form,
) -> Result<Response, Failure> {
    let endpoint = super::endpoint(&dashboard.api, &page, &id).await?;
    let typed = Typed::sent(&fields, &page.profile, endpoint.url.is_none());
    let disabled = matches!(endpoint.status, Status::Disabled);
    let asked = typed.edit(disabled).map_err(Problem::unprocessable).and_then(read::<EditEndpoint>);
    let saved = match asked {
        Ok(request) => {
            let expected = typed.version.parse().ok();
            dashboard.api.edit_endpoint(page.caller, &id, expected, request).await.map_err(in_words)
        }
        Err(problem) => Err(problem),
    };
    match saved {
        Ok(_) => Ok(Redirect::to(&page.to(format!("/webhooks/{id}?notice=saved"))).into_response()),
        Err(problem) => {
            let problem = about_fields(problem)?;
            let again = editing(&page, &id, &typed, &offers(&dashboard.api, &page).await?, Some(&problem));
            Ok((problem.status_code(), again).into_response())
        }
    }
}

/// The visitor of a form knows no `If-Match`.
fn in_words(problem: Problem) -> Problem {
    if problem.status == StatusCode::PRECONDITION_FAILED.as_u16() {
        let detail = "this webhook changed since you opened it. Open it again in another tab, compare, and save there.";
        return Problem::precondition_failed(detail);
    }
    problem
}
