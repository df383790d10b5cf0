//! The audit log of a tenant, and of all tenants for operators.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use maud::{Markup, html};
use postrider_store::audit_log::AuditAction;
use serde_json::Value;

use crate::audit_log::{self, ActorKind, AuditEntry};
use crate::dashboard::Dashboard;
use crate::dashboard::components::Column::Text;
use crate::dashboard::components::form::option;
use crate::dashboard::components::{absent, empty, head, pager, plural, time};
use crate::dashboard::failure::Failure;
use crate::dashboard::layout::Section;
use crate::dashboard::page::{OperatorPage, Page};
use crate::dashboard::session::Visitor;
use crate::page::List;

const FILTERS: [&str; 5] = ["action", "actor", "target", "limit", "cursor"];

/// The entries that a page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entries {
    OfTenant,
    OfAllTenants,
}

pub(crate) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/dashboard/{tenant}/audit-log", get(show))
        .route("/dashboard/operator/audit-log", get(show_all))
}

/// `GET …/audit-log`
async fn show(page: Page) -> Result<Markup, Failure> {
    let params = page.visitor.query.params(&FILTERS);
    let listed = audit_log::list(State(Arc::clone(&page.api)), page.caller, params).await?.0;
    Ok(page.show(Section::AuditLog, "Audit log", content(&listed, &page.visitor, Entries::OfTenant)))
}

/// `GET /dashboard/operator/audit-log`
async fn show_all(page: OperatorPage) -> Result<Markup, Failure> {
    let visitor = &page.visitor;
    let params = visitor.query.params(&FILTERS);
    let listed = audit_log::list(State(Arc::clone(&page.api)), visitor.caller, params).await?.0;
    Ok(page.show(Section::AllAuditLog, "Audit log", content(&listed, visitor, Entries::OfAllTenants)))
}

fn content(listed: &List<AuditEntry>, visitor: &Visitor, entries: Entries) -> Markup {
    let columns = match entries {
        Entries::OfTenant => ["Time", "Action", "By", "Change"].map(Text).to_vec(),
        Entries::OfAllTenants => ["Time", "Action", "Tenant", "By", "Change"].map(Text).to_vec(),
    };
    html! {
        h1 { "Audit log" }
        p { "Who changed what. Entries are kept as long as events." }
        (filters(visitor))
        @if listed.data.is_empty() { (empty("No changes", html! {})) } @else {
            table.rows {
                caption.unseen { "Changes, newest first" }
                (head(&columns))
                tbody { @for entry in &listed.data { (row(entry, entries)) } }
            }
        }
        (pager(visitor, listed.next_cursor.as_ref()))
    }
}

fn row(entry: &AuditEntry, entries: Entries) -> Markup {
    html! { tr {
        td data-label="Time" { (time(&entry.at)) }
        th.long scope="row" data-label="Action" { (entry.action) br; code { (entry.target) } }
        @if entries == Entries::OfAllTenants {
            td.long data-label="Tenant" { @if let Some(tenant) = &entry.tenant_id { code { (tenant) } } @else { (absent()) } }
        }
        td.long data-label="By" { (actor(entry)) }
        td.long data-label="Change" { (change(entry)) }
    } }
}

fn filters(visitor: &Visitor) -> Markup {
    let query = &visitor.query;
    html! {
        form.filters method="get" action=(visitor.path) {
            div.field {
                label for="f-action" { "Action" }
                select #f-action name="action" {
                    option value="" { "All" }
                    @for action in AuditAction::ALL { (option(action.as_str(), query.get("action"), action.as_str())) }
                }
            }
            @for (name, label) in [("target", "Changed object (id)"), ("actor", "By key (id)")] {
                @let id = format!("f-{name}");
                div.field { label for=(id) { (label) }
                    input id=(id) type="text" name=(name) value=(query.get(name)) autocomplete="off"; }
            }
            button type="submit" { "Filter" }
        }
    }
}

fn actor(entry: &AuditEntry) -> Markup {
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

/// The fields that changed, with their values before and after.
fn change(entry: &AuditEntry) -> Markup {
    let fields = |value: &Option<Value>| value.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
    let (before, after) = (fields(&entry.before), fields(&entry.after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    html! { @if names.is_empty() { (absent()) } @else {
        details {
            summary { (plural(names.len() as u64, "field", "fields")) }
            dl.facts { @for name in names {
                dt { (name) }
                dd.long {
                    @if let Some(value) = before.get(name) { del { (text(value)) } " " }
                    @if let Some(value) = after.get(name) { (text(value)) }
                }
            } }
        }
    } }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
