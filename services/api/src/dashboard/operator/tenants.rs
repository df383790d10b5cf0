//! The list of tenants, and creating one.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use postrider_http::problem::{Problem, read_json};
use serde_json::json;

use super::TENANTS;
use crate::dashboard::components::Column::Text;
use crate::dashboard::components::form::{FormErrors, option};
use crate::dashboard::components::{absent, empty, head, pager, time};
use crate::dashboard::failure::Failure;
use crate::dashboard::fields::{Fields, Form};
use crate::dashboard::layout::Section;
use crate::dashboard::page::{OperatorPage, form_problem, redirect_with, refused};
use crate::dashboard::texts::Notice;
use crate::tenants::{self, CreateTenant, Tenant};

/// `GET /dashboard/operator/tenants`
pub(super) async fn show(page: OperatorPage) -> Result<Markup, Failure> {
    let entered = page.visitor.restored().cloned().unwrap_or_default();
    show_form(&page, &entered, FormErrors(None)).await
}

async fn show_form(page: &OperatorPage, entered: &Fields, errors: FormErrors<'_>) -> Result<Markup, Failure> {
    let params = page.visitor.query.params(&["limit", "cursor"]);
    let listed = tenants::list(State(Arc::clone(&page.api)), page.visitor.caller, params).await?.0;
    let content = html! {
        h1 { "Tenants" }
        @if listed.data.is_empty() {
            (empty("No tenants yet", html! { p { "Create one below, then create a key for it." } }))
        } @else {
            (table(&listed.data))
            (pager(&page.visitor, listed.next_cursor.as_ref()))
        }
        section.panel aria-labelledby="make" {
            h2 #make { "New tenant" }
            (errors.summary())
            (form(page, entered, errors))
        }
    };
    Ok(page.show(Section::Tenants, &errors.title("Tenants"), content))
}

fn table(tenants: &[Tenant]) -> Markup {
    html! { table.rows {
        caption.unseen { "Tenants, newest first" }
        (head(&["Name", "Profile", "External id", "Created", "Actions"].map(Text)))
        tbody { @for tenant in tenants { tr {
            th.long scope="row" data-label="Name" { a href={ "/dashboard/" (tenant.id) "/webhooks" } { (tenant.name) } }
            td data-label="Profile" { span.tag { (tenant.profile) } }
            td.long data-label="External id" { @match &tenant.external_id { Some(id) => (id), None => (absent()) } }
            td data-label="Created" { (time(&tenant.created_at)) }
            td.actions data-label="Actions" { div {
                a href={ (TENANTS) "/" (tenant.id) } { "Limits and keys" span.unseen { " of " (tenant.name) } }
            } }
        } } }
    } }
}

fn form(page: &OperatorPage, entered: &Fields, errors: FormErrors<'_>) -> Markup {
    let profiles = html! { @for name in page.api.profiles.names() { (option(name, entered.get("profile"), name)) } };
    html! { form.stack method="post" action=(TENANTS) {
        (page.visitor.tokens)
        (errors.field("name", "Name").wide().required(entered.get("name")))
        (errors.field("profile", "Profile").hint("The format of its deliveries.").select(profiles))
        (errors.field("external_id", "External id").hint("Optional. Your own id for the tenant.").wide()
            .text(entered.get("external_id")))
        button.primary type="submit" { "Create tenant" }
    } }
}

/// `POST /dashboard/operator/tenants`
pub(super) async fn create(page: OperatorPage, Form(fields): Form) -> Result<Response, Failure> {
    let created = match request(&fields) {
        Ok(request) => page.api.make_tenant(page.visitor.caller, request).await,
        Err(problem) => Err(problem),
    };
    match created {
        Ok(tenant) => Ok(redirect_with(&format!("{TENANTS}/{}", tenant.id), Notice::TenantCreated).into_response()),
        Err(problem) => {
            let problem = form_problem(problem)?;
            Ok(refused(&problem, show_form(&page, &fields, FormErrors(Some(&problem))).await?))
        }
    }
}

fn request(fields: &Fields) -> Result<CreateTenant, Problem> {
    let body = json!({
        "name": fields.get("name"), "profile": fields.get("profile"), "external_id": fields.optional("external_id"),
    });
    read_json(body.to_string().as_bytes())
}
