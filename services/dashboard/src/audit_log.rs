//! The audit log of a tenant, and of all tenants for operators.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use maud::{Markup, html};
use postrider_operations::audit_log::{ActorKind, AuditEntry, AuditQuery};
use postrider_operations::{Caller, Error, Operations};
use postrider_store::audit_log::AuditAction;
use serde_json::Value;

use crate::Dashboard;
use crate::components::Column::Text;
use crate::components::{absent, empty, filter_bar, head, name_filter, pager, text_filter, time};
use crate::document::sender;
use crate::failure::Answer;
use crate::fields::{FieldReader, Fields};
use crate::language::{self, key, t};
use crate::page::{OperatorPage, Page};
use crate::session::Visitor;

/// Whose entries a page shows.
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
async fn show(page: Page) -> Answer {
    let content = content(&page.operations, page.caller, &page.visitor, Entries::OfTenant).await?;
    Ok(page.show(&t!("Audit log"), content))
}

/// `GET /dashboard/operator/audit-log`
async fn show_all(page: OperatorPage) -> Answer {
    let visitor = &page.visitor;
    let content = content(&page.operations, visitor.caller, visitor, Entries::OfAllTenants).await?;
    Ok(page.show(&t!("Audit log"), content))
}

fn read_query(query: &Fields) -> Result<AuditQuery, Error> {
    let mut reader = FieldReader::new(query);
    let action = reader.parse("action");
    let (actor, target) = (query.optional("actor"), query.optional("target"));
    reader.finish(AuditQuery { action, actor, target, from: None, to: None })
}

async fn content(operations: &Operations, caller: Caller, visitor: &Visitor, entries: Entries) -> Answer {
    let query = &visitor.query;
    let listed = operations.list_audit_log(caller, read_query(query)?, &query.page_query()).await?;
    let columns = match entries {
        Entries::OfTenant => [key!("Time"), key!("Action"), key!("By"), key!("Change")].map(Text).to_vec(),
        Entries::OfAllTenants => {
            [key!("Time"), key!("Action"), key!("Tenant"), key!("By"), key!("Change")].map(Text).to_vec()
        }
    };
    Ok(html! {
        h1 { (t!("Audit log")) }
        p { (t!("Who changed what. Entries are kept as long as events.")) }
        (filters(visitor))
        @if listed.data.is_empty() { (empty(&t!("No changes"), html! {})) } @else {
            table.rows {
                caption.unseen { (t!("Changes, newest first")) }
                (head(&columns))
                tbody { @for entry in &listed.data { (row(entry, entries)) } }
            }
        }
        (pager(visitor, listed.next_cursor.as_ref()))
    })
}

fn row(entry: &AuditEntry, entries: Entries) -> Markup {
    html! { tr {
        td data-label=(t!("Time")) { (time(entry.at)) }
        th.long scope="row" data-label=(t!("Action")) { div { span translate="no" { (entry.action) } br; code { (entry.target) } } }
        @if entries == Entries::OfAllTenants {
            td.long data-label=(t!("Tenant")) { @if let Some(tenant) = &entry.tenant_id { code { (tenant) } } @else { (absent()) } }
        }
        td.long data-label=(t!("By")) { div { (actor(entry)) } }
        td.long data-label=(t!("Change")) { div { (change(entry)) } }
    } }
}

fn filters(visitor: &Visitor) -> Markup {
    let query = &visitor.query;
    let filters = html! {
        (name_filter("action", &t!("Action"), query, AuditAction::ALL.iter().map(|action| action.as_str())))
        (text_filter("q-target", "target", &t!("Changed object (id)"), query))
        (text_filter("q-actor", "actor", &t!("By key or link (id)"), query))
    };
    filter_bar(visitor, &t!("Audit log"), &t!("Filter"), filters)
}

fn actor(entry: &AuditEntry) -> Markup {
    let actor = &entry.actor;
    let named = |name: Option<&String>, kind: language::Text| name.map_or(kind, |name| name.clone().into());
    html! {
        @match actor.kind {
            ActorKind::Postrider => (sender()),
            ActorKind::Operator => (named(actor.name.as_ref(), t!("an operator"))),
            ActorKind::Key => (named(actor.name.as_ref(), t!("a key"))),
            ActorKind::Portal => (named(actor.name.as_ref(), t!("a visitor with a portal link"))),
        }
        @if let Some(via) = &actor.via { " (" span translate="no" { (via) } ")" }
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
            summary { (t!(names.len() as u64, "{count} field", "{count} fields")) }
            // Names and values of the API.
            dl.facts translate="no" { @for name in names {
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
