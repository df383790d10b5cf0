//! The list of tenants, and the form that creates a tenant.

use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use postrider_operations::tenants::{CreateTenant, TenantInList, TenantsQuery};

use super::TENANTS;
use crate::components::Column::{Number, Text};
use crate::components::{Form, absent, ago, empty, filter_bar, head, is_filtered, pager, text_filter};
use crate::failure::Answer;
use crate::fields::Sent;
use crate::format::count;
use crate::page::{OperatorPage, redirect_with};
use crate::texts::Notice;

/// `GET /dashboard/operator/tenants`
pub(super) async fn show(page: OperatorPage) -> Answer<Response> {
    show_form(&page, &page.visitor.restored().unwrap_or_default().into()).await
}

async fn show_form(page: &OperatorPage, form: &Form) -> Answer<Response> {
    let query = &page.visitor.query;
    let search = TenantsQuery { q: query.optional("q") };
    let listed = page.operations.list_tenants(page.visitor.caller, &search, &query.page_query()).await?;
    let content = html! {
        h1 { "Tenants" }
        (filter_bar(&page.visitor, "Tenants", "Search", text_filter("q-q", "q", "Name, external id or id", query)))
        @if listed.data.is_empty() && is_filtered(query) {
            (empty("No tenants match", html! { p { a href=(TENANTS) { "Show all" } } }))
        } @else if listed.data.is_empty() {
            (empty("No tenants yet", html! { p { "Create one below, then create a key for it." } }))
        } @else {
            (table(&listed.data))
            (pager(&page.visitor, listed.next_cursor.as_ref()))
        }
        section.panel aria-labelledby="make" {
            h2 #make { "New tenant" }
            (form.summary())
            (new_tenant(page, form))
        }
    };
    Ok(form.answer(page.show(&form.title("Tenants"), content)))
}

fn table(tenants: &[TenantInList]) -> Markup {
    let columns = [
        Text("Name"),
        Text("Profile"),
        Text("External id"),
        Number("Webhooks"),
        Text("Trouble"),
        Text("Created"),
        Text("Actions"),
    ];
    html! { table.rows {
        caption.unseen { "Tenants, newest first" }
        (head(&columns))
        tbody { @for tenant in tenants { (row(tenant)) } }
    } }
}

fn row(listed: &TenantInList) -> Markup {
    let tenant = &listed.tenant;
    let webhooks = format!("/dashboard/{}/webhooks", tenant.id);
    html! { tr {
        th.long scope="row" data-label="Name" { a href=(webhooks) { (tenant.name) } }
        td data-label="Profile" { span.tag.whole { (tenant.profile) } }
        td.long data-label="External id" { @match &tenant.external_id { Some(id) => (id), None => (absent()) } }
        td.number data-label="Webhooks" { (count(listed.endpoints)) }
        td data-label="Trouble" {
            @if listed.failing_endpoints + listed.disabled_endpoints == 0 { (absent()) } @else { div { (trouble(listed)) } }
        }
        td data-label="Created" { (ago(tenant.created_at)) }
        td.actions data-label="Actions" { div {
            a href={ (TENANTS) "/" (tenant.id) } { "Limits and keys" span.unseen { " of " (tenant.name) } }
        } }
    } }
}

/// The number of a tenant's webhooks that fail, and the number that Postrider switched off.
fn trouble(listed: &TenantInList) -> Markup {
    html! {
        @if listed.failing_endpoints > 0 { span.badge.bad { (count(listed.failing_endpoints)) " failing" } " " }
        @if listed.disabled_endpoints > 0 { span.badge.bad { (count(listed.disabled_endpoints)) " disabled" } }
    }
}

fn new_tenant(page: &OperatorPage, form: &Form) -> Markup {
    let profiles = page.operations.profile_names().map(|name| (name, name));
    html! { form.stack method="post" action=(TENANTS) {
        (page.visitor.tokens)
        (form.field("name", "Name").wide().required())
        (form.field("profile", "Profile").hint("The format of its deliveries.").choice(profiles))
        (form.field("external_id", "External id").hint("Optional. Your own id for the tenant.").wide().text())
        button.primary type="submit" { "Create tenant" }
    } }
}

/// `POST /dashboard/operator/tenants`
pub(super) async fn create(page: OperatorPage, Sent(fields): Sent) -> Answer<Response> {
    let request = CreateTenant {
        name: fields.get("name").to_owned(),
        profile: fields.get("profile").to_owned(),
        external_id: fields.optional("external_id"),
        ..CreateTenant::default()
    };
    match page.operations.create_tenant(page.visitor.caller, request).await {
        Ok(tenant) => Ok(redirect_with(&format!("{TENANTS}/{}", tenant.id), Notice::TenantCreated).into_response()),
        Err(error) => show_form(&page, &Form::refused(fields, error)?).await,
    }
}
