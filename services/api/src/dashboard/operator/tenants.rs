//! Tenants, their limits and their keys.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use postrider_http::problem::{Problem, read_json};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::super::Dashboard;
use super::super::failure::Failure;
use super::super::form::{Fields, Form};
use super::super::layout::Section;
use super::super::page::about_fields;
use super::super::parts::{Question, ask, empty, field, mistakes, summary, time, titled};
use super::Office;
use crate::errors::no_such;
use crate::keys::{self, CreateKey};
use crate::request::{Params, StrictJson};
use crate::tenants::{self, EditTenant, Tenant};

const SCOPES: [(&str, &str); 3] =
    [("publish", "publish events"), ("read", "see configuration and log"), ("manage", "edit, test, retry, replay")];
const AT: &str = "/dashboard/operator/tenants";

/// `GET /dashboard/operator/tenants`
pub(super) async fn list(State(dashboard): State<Arc<Dashboard>>, office: Office) -> Result<Markup, Failure> {
    let typed = office.restored.clone().unwrap_or_default();
    listed(&dashboard, &office, &typed, None).await
}

async fn listed(
    dashboard: &Dashboard,
    office: &Office,
    typed: &Fields,
    problem: Option<&Problem>,
) -> Result<Markup, Failure> {
    let params = office.query.params(&["limit", "cursor"]);
    let page = tenants::list(State(Arc::clone(&dashboard.api)), office.visitor.caller, params).await?.0;
    let wrong = |pointer: &str| mistakes(problem, pointer);
    Ok(office.show(Section::Tenants, &titled("Tenants", problem), html! {
        h1 { "Tenants" }
        @if page.data.is_empty() { (empty("No tenants yet", html! { p { "Make one below; then make it a key." } })) } @else {
            table.rows {
                caption.unseen { "Tenants, newest first" }
                thead { tr { th scope="col" { "Name" } th scope="col" { "Profile" } th scope="col" { "Your id" } th scope="col" { "Made" } th scope="col" { "Actions" } } }
                tbody { @for tenant in &page.data { tr {
                    th.long scope="row" data-label="Name" { a href={ "/dashboard/" (tenant.id) "/webhooks" } { (tenant.name) } }
                    td data-label="Profile" { span.tag { (tenant.profile) } }
                    td.long data-label="Your id" { @match &tenant.external_id { Some(id) => (id), None => span.faint { "–" } } }
                    td data-label="Made" { (time(&tenant.created_at)) }
                    td.actions data-label="Actions" { div { a href={ (AT) "/" (tenant.id) } { "Limits and keys" span.unseen { " of " (tenant.name) } } } }
                } } }
            }
            (office.pager(AT, page.next_cursor.as_ref()))
        }
        section.panel aria-labelledby="make" {
            h2 #make { "New tenant" }
            (summary(problem))
            form.stack method="post" action=(AT) {
                (office.csrf())
                (field("name", "Name", html! {}, &wrong("/name"), |described, invalid| html! {
                    input.wide #f-name type="text" name="name" value=(typed.get("name")) required autocomplete="off" aria-describedby=(described) aria-invalid=[invalid];
                }))
                (field("profile", "Profile", html! { "What its deliveries look like." }, &wrong("/profile"), |described, invalid| html! {
                    select #f-profile name="profile" aria-describedby=(described) aria-invalid=[invalid] {
                        @for name in dashboard.api.profiles.names() { option value=(name) selected[typed.get("profile") == name] { (name) } }
                    }
                }))
                (field("external_id", "Your own id for it", html! { "Optional." }, &wrong("/external_id"), |described, invalid| html! {
                    input.wide #f-external_id type="text" name="external_id" value=(typed.get("external_id")) autocomplete="off" aria-describedby=(described) aria-invalid=[invalid];
                }))
                button.primary type="submit" { "Make tenant" }
            }
        }
    }))
}

fn read<T: DeserializeOwned>(body: &Value) -> Result<T, Problem> {
    read_json(&serde_json::to_vec(body).map_err(|_| Problem::internal())?)
}

/// `POST /dashboard/operator/tenants`
pub(super) async fn create(
    State(dashboard): State<Arc<Dashboard>>,
    office: Office,
    Form(fields): Form,
) -> Result<Response, Failure> {
    let mut body = json!({"name": fields.get("name"), "profile": fields.get("profile")});
    if let Some(id) = fields.given("external_id") {
        body["external_id"] = id.into();
    }
    let made = match read(&body) {
        Ok(request) => dashboard.api.make_tenant(office.visitor.caller, request).await,
        Err(problem) => Err(problem),
    };
    match made {
        Ok(tenant) => Ok(Redirect::to(&format!("{AT}/{}?notice=tenant-made", tenant.id)).into_response()),
        Err(problem) => {
            let problem = about_fields(problem)?;
            let again = listed(&dashboard, &office, &fields, Some(&problem)).await?;
            Ok((problem.status_code(), again).into_response())
        }
    }
}

/// `GET /dashboard/operator/tenants/{id}`
pub(super) async fn show(
    State(dashboard): State<Arc<Dashboard>>,
    office: Office,
    Path(id): Path<String>,
) -> Result<Markup, Failure> {
    // A restored form of a key has no version: its fields are few, and not those of the limits.
    let typed = office.restored.as_ref().filter(|typed| typed.ticked("version"));
    shown(&dashboard, &office, &id, typed, None, html! {}).await
}

async fn shown(
    dashboard: &Dashboard,
    office: &Office,
    id: &str,
    typed: Option<&Fields>,
    problem: Option<&Problem>,
    first: Markup,
) -> Result<Markup, Failure> {
    let api = &dashboard.api;
    let tenant = Tenant::from(api.tenant(api.find_tenant(id).await?).await?);
    let (state, path) = (State(Arc::clone(api)), Path(id.to_owned()));
    let keys = keys::list(state, office.visitor.caller, Params::default(), path).await?.0;
    Ok(office.show(Section::Tenants, &titled(&tenant.name, problem), html! {
        div.heading { h1.long { (tenant.name) } a.button href={ "/dashboard/" (id) "/webhooks" } { "See its webhooks" } }
        dl.facts { dt { "Id" } dd { code { (tenant.id) } } dt { "Profile" } dd { span.tag { (tenant.profile) } } dt { "Made" } dd { (time(&tenant.created_at)) } }
        (first)
        (limits(office, &tenant, typed, problem))
        section.panel aria-labelledby="keys" {
            h2 #keys { "Keys" }
            @if keys.data.is_empty() { (empty("No keys yet", html! { p { "Its programs need one to publish, its people one to sign in here." } })) } @else {
                table.rows {
                    caption.unseen { "Keys of the tenant" }
                    thead { tr { th scope="col" { "Name" } th scope="col" { "May" } th scope="col" { "Made" } th scope="col" { "Actions" } } }
                    tbody { @for key in &keys.data { tr {
                        th.long scope="row" data-label="Name" { (key.name) }
                        td data-label="May" { div { (scopes(&key.scopes)) } }
                        td data-label="Made" { (time(&key.created_at)) }
                        td.actions data-label="Actions" { div { a.danger href={ (AT) "/" (id) "/keys/" (key.id) "/delete" } { "Delete" span.unseen { " key " (key.name) } } } }
                    } } }
                }
            }
            form.stack method="post" action={ (AT) "/" (id) "/keys" } {
                (office.csrf())
                div.field { label for="key-name" { "Name of a new key" } input.wide #key-name type="text" name="name" required autocomplete="off"; }
                div role="group" aria-label="What it may do" { @for (scope, what) in SCOPES {
                    label.check { input type="checkbox" name="scopes" value=(scope) checked; " " (scope) " " span.faint { (what) } }
                } }
                button type="submit" { "Make key" }
            }
        }
    }))
}

fn limits(office: &Office, tenant: &Tenant, typed: Option<&Fields>, problem: Option<&Problem>) -> Markup {
    let was = |name: &str, now: Option<String>| match typed {
        Some(typed) => typed.get(name).to_owned(),
        None => now.unwrap_or_default(),
    };
    let limits = &tenant.limits;
    let rows = [
        ("endpoints", "Webhooks", "Empty: 100.", limits.endpoints.map(|n| n.to_string())),
        ("events_per_second", "Events a second", "Empty: 2,000.", limits.events_per_second.map(|n| n.to_string())),
        (
            "waiting_deliveries",
            "Deliveries that may wait",
            "Empty: 1,000,000.",
            limits.waiting_deliveries.map(|n| n.to_string()),
        ),
        (
            "rate_per_second_max",
            "Highest rate of a webhook",
            "Attempts a second. Empty: no limit.",
            limits.rate_per_second_max.map(|n| n.to_string()),
        ),
        (
            "timeout_seconds_max",
            "Longest timeout of a webhook",
            "Seconds, 1 to 60. Empty: 60.",
            limits.timeout_seconds_max.map(|n| n.to_string()),
        ),
    ];
    html! {
        section.panel #f-limits aria-labelledby="limits" tabindex="-1" {
            h2 #limits { "Settings and limits" }
            (summary(problem))
            form.stack method="post" action={ (AT) "/" (tenant.id) } {
                (office.csrf())
                input type="hidden" name="version" value=(tenant.version);
                (field("name", "Name", html! {}, &mistakes(problem, "/name"), |described, invalid| html! {
                    input.wide #f-name type="text" name="name" value=(was("name", Some(tenant.name.clone()))) required autocomplete="off" aria-describedby=(described) aria-invalid=[invalid];
                }))
                @for (name, label, hint, now) in rows {
                    (field(name, label, html! { (hint) }, &mistakes(problem, &format!("/limits/{name}")), |described, invalid| html! {
                        input id={ "f-" (name) } type="text" inputmode="decimal" name=(name) value=(was(name, now.clone())) autocomplete="off" aria-describedby=(described) aria-invalid=[invalid];
                    }))
                }
                (field("disable_after_days", "Switch a webhook off after days of failure", html! { "0: never. Empty: as the profile says." }, &mistakes(problem, "/disable_after_days"), |described, invalid| html! {
                    input #f-disable_after_days type="text" inputmode="numeric" name="disable_after_days" value=(was("disable_after_days", tenant.disable_after_days.map(|n| n.to_string()))) autocomplete="off" aria-describedby=(described) aria-invalid=[invalid];
                }))
                label.check { input type="checkbox" name="enforce_catalog" value="yes" checked[typed.map_or(tenant.enforce_catalog, |typed| typed.ticked("enforce_catalog"))]; " Refuse events of types that are not in the catalog" }
                button.primary type="submit" { "Save" }
            }
        }
    }
}

fn number(text: &str) -> Value {
    match text.parse::<u64>() {
        Ok(whole) => whole.into(),
        Err(_) => text.parse::<f64>().map_or_else(|_| text.into(), Value::from),
    }
}

/// `POST /dashboard/operator/tenants/{id}`
pub(super) async fn save(
    State(dashboard): State<Arc<Dashboard>>,
    office: Office,
    Path(id): Path<String>,
    Form(fields): Form,
) -> Result<Response, Failure> {
    let names = ["endpoints", "events_per_second", "waiting_deliveries", "rate_per_second_max", "timeout_seconds_max"];
    let given = names.iter().filter_map(|name| Some(((*name).to_owned(), number(&fields.given(name)?))));
    let limits: Map<String, Value> = given.collect();
    let body = json!({
        "name": fields.get("name"), "limits": limits, "enforce_catalog": fields.ticked("enforce_catalog"),
        "disable_after_days": fields.given("disable_after_days").map(|days| number(&days)),
    });
    let saved = match read::<EditTenant>(&body) {
        Ok(request) => {
            let expected = fields.get("version").parse().ok();
            dashboard.api.edit_tenant(office.visitor.caller, &id, expected, request).await
        }
        Err(problem) => Err(problem),
    };
    match saved {
        Ok(_) => Ok(Redirect::to(&format!("{AT}/{id}?notice=saved")).into_response()),
        Err(problem) => {
            let problem = about_fields(problem)?;
            let again = shown(&dashboard, &office, &id, Some(&fields), Some(&problem), html! {}).await?;
            Ok((problem.status_code(), again).into_response())
        }
    }
}

/// `POST /dashboard/operator/tenants/{id}/keys`
pub(super) async fn make_key(
    State(dashboard): State<Arc<Dashboard>>,
    office: Office,
    Path(id): Path<String>,
    Form(fields): Form,
) -> Result<Response, Failure> {
    let request: Result<CreateKey, Problem> =
        read(&json!({"name": fields.get("name"), "scopes": fields.all("scopes")}));
    let (state, path) = (State(Arc::clone(&dashboard.api)), Path(id.clone()));
    let made = match request {
        Ok(request) => keys::create(state, office.visitor.caller, Params::default(), path, StrictJson(request)).await,
        Err(problem) => Err(problem),
    };
    match made {
        Ok((status, made)) => {
            let once = html! {
                section.panel.secret aria-labelledby="new-key" tabindex="-1" autofocus {
                    h2 #new-key { "New key" }
                    p { strong { "Store it now, and share it securely." } " This page shows it for 15 minutes, as long as you are signed in. After that it cannot be shown again." }
                    div.copyable { output.secret-value #key { (made.0.key) } button type="button" hidden data-copy { "Copy" } }
                }
            };
            Ok((status, shown(&dashboard, &office, &id, None, None, once).await?).into_response())
        }
        Err(problem) => {
            let problem = about_fields(problem)?;
            let told = html! { (summary(Some(&problem))) };
            Ok((problem.status_code(), shown(&dashboard, &office, &id, None, None, told).await?).into_response())
        }
    }
}

/// `GET /dashboard/operator/tenants/{id}/keys/{key}/delete`
pub(super) async fn ask_delete_key(
    State(dashboard): State<Arc<Dashboard>>,
    office: Office,
    Path((id, key)): Path<(String, String)>,
) -> Result<Markup, Failure> {
    let (state, path) = (State(Arc::clone(&dashboard.api)), Path(id.clone()));
    let tenant = dashboard.api.tenant(dashboard.api.find_tenant(&id).await?).await?;
    let keys = keys::list(state, office.visitor.caller, Params::default(), path).await?.0;
    let key = keys.data.iter().find(|known| known.id == key).ok_or_else(|| no_such("key"))?;
    let title = format!("Delete the key {}?", key.name);
    let lost = html! {
        p { "It is a key of " (tenant.draft.name) ", created " (time(&key.created_at)) ", with the scopes " (scopes(&key.scopes)) "." }
        p { "Programs that use it can no longer publish or read, and people who signed in with it are signed out. This cannot be undone." }
    };
    let (action, back) = (format!("{AT}/{id}/keys/{}/delete", key.id), format!("{AT}/{id}"));
    let question = Question { title: &title, lost, action: &action, button: "Delete key", back: &back };
    Ok(office.show(Section::Tenants, &title, ask(&question, &office.csrf())))
}

fn scopes(scopes: &[impl serde::Serialize]) -> Markup {
    let name = |scope| serde_json::to_value(scope).ok().and_then(|value| value.as_str().map(str::to_owned));
    html! { @for scope in scopes { span.tag { (name(scope).unwrap_or_default()) } " " } }
}

/// `POST /dashboard/operator/tenants/{id}/keys/{key}/delete`
pub(super) async fn delete_key(
    State(dashboard): State<Arc<Dashboard>>,
    office: Office,
    Path((id, key)): Path<(String, String)>,
) -> Result<Redirect, Failure> {
    let state = State(Arc::clone(&dashboard.api));
    keys::delete(state, office.visitor.caller, Params::default(), Path((id.clone(), key))).await?;
    Ok(Redirect::to(&format!("{AT}/{id}?notice=key-deleted")))
}
