//! The audit log: who changed what, for a tenant and for the operator.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use maud::{Markup, html};
use postrider_store::audit_log::AuditAction;
use serde_json::Value;

use super::Dashboard;
use super::failure::Failure;
use super::form::Fields;
use super::layout::Section;
use super::operator::Office;
use super::page::Page;
use super::parts::{empty, pager, time};
use crate::audit_log::{self, ActorKind, AuditEntry};
use crate::page::List;

const FILTERS: [&str; 5] = ["action", "actor", "target", "limit", "cursor"];
const OF_OPERATOR: &str = "/dashboard/operator/audit-log";

pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new().route("/dashboard/{tenant}/audit-log", get(of_tenant)).route(OF_OPERATOR, get(of_everybody))
}

/// `GET …/audit-log`
async fn of_tenant(State(dashboard): State<Arc<Dashboard>>, page: Page) -> Result<Markup, Failure> {
    let params = page.query.params(&FILTERS);
    let listed = audit_log::list(State(Arc::clone(&dashboard.api)), page.caller, params).await?.0;
    Ok(page.show(
        Section::AuditLog,
        "Audit log",
        html! {
            (content(&listed, &page.query, page.path(), false))
            (pager(&page, listed.next_cursor.as_ref()))
        },
    ))
}

/// `GET /dashboard/operator/audit-log`
async fn of_everybody(State(dashboard): State<Arc<Dashboard>>, office: Office) -> Result<Markup, Failure> {
    let params = office.query.params(&FILTERS);
    let listed = audit_log::list(State(Arc::clone(&dashboard.api)), office.visitor.caller, params).await?.0;
    Ok(office.show(
        Section::AllAuditLog,
        "Audit log",
        html! {
            (content(&listed, &office.query, OF_OPERATOR, true))
            (office.pager(OF_OPERATOR, listed.next_cursor.as_ref()))
        },
    ))
}

fn content(listed: &List<AuditEntry>, query: &Fields, path: &str, everybody: bool) -> Markup {
    html! {
        h1 { "Audit log" }
        p { "Who changed what. Entries are kept as long as events are." }
        (filters(query, path))
        @if listed.data.is_empty() {
            (empty("No changes", html! {}))
        } @else {
            table.rows {
                caption.unseen { "Changes, newest first" }
                thead { tr {
                    th scope="col" { "When" } th scope="col" { "What" }
                    @if everybody { th scope="col" { "Tenant" } }
                    th scope="col" { "By" } th scope="col" { "Change" }
                } }
                tbody { @for entry in &listed.data { tr {
                    td data-label="When" { (time(&entry.at)) }
                    th.long scope="row" data-label="What" { (entry.action) br; code { (entry.target) } }
                    @if everybody { td.long data-label="Tenant" { @if let Some(tenant) = &entry.tenant_id { code { (tenant) } } @else { span.faint { "–" } } } }
                    td.long data-label="By" { (by(entry)) }
                    td.long data-label="Change" { (change(entry)) }
                } } }
            }
        }
    }
}

fn filters(query: &Fields, path: &str) -> Markup {
    html! {
        form.filters method="get" action=(path) {
            div.field {
                label for="f-action" { "Action" }
                select #f-action name="action" {
                    option value="" { "All" }
                    @for action in AuditAction::ALL { option value=(action.as_str()) selected[query.get("action") == action.as_str()] { (action.as_str()) } }
                }
            }
            div.field { label for="f-target" { "Changed thing (id)" } input #f-target type="text" name="target" value=(query.get("target")) autocomplete="off"; }
            div.field { label for="f-actor" { "By key (id)" } input #f-actor type="text" name="actor" value=(query.get("actor")) autocomplete="off"; }
            button type="submit" { "Filter" }
        }
    }
}

fn by(entry: &AuditEntry) -> Markup {
    let actor = &entry.actor;
    html! {
        @match actor.kind {
            ActorKind::Postrider => "Postrider",
            ActorKind::Operator => "an operator",
            ActorKind::Key => (actor.name.as_deref().unwrap_or("a key")),
        }
        @if let Some(via) = &actor.via { " (" (via) ")" }
        @if let Some(id) = &actor.id { br; code { (id) } }
    }
}

/// Each member that changed, in a line.
fn change(entry: &AuditEntry) -> Markup {
    let members = |value: &Option<Value>| value.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
    let (before, after) = (members(&entry.before), members(&entry.after));
    let mut names: Vec<&String> =
        before.keys().chain(after.keys().filter(|name| !before.contains_key(*name))).collect();
    names.sort();
    html! {
        @if names.is_empty() { span.faint { "–" } }
        @else {
            details { summary { (names.len()) @if names.len() == 1 { " field" } @else { " fields" } }
                dl.facts { @for name in names {
                    dt { (name) }
                    dd.long {
                        @if let Some(value) = before.get(name) { del { (text(value)) } " " }
                        @if let Some(value) = after.get(name) { (text(value)) }
                    }
                } }
            }
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
