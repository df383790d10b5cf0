//! `GET /v1/audit-log`: who changed what.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use postrider_http::problem::Problem;
use postrider_model::ids::TenantId;
use postrider_store::audit_log::{AuditAction, AuditEntry as Stored, AuditFilter};
use postrider_store::config::Scope;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Api;
use crate::auth::Caller;
use crate::errors::store_problem;
use crate::page::{List, page_request};
use crate::request::Params;
use crate::time::shown;

/// Who made a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ActorKind {
    /// A tenant's key.
    Key,
    /// An operator's key.
    Operator,
    /// Postrider itself.
    Postrider,
}

/// Who made a change, and where.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Actor {
    #[serde(rename = "type")]
    pub(crate) kind: ActorKind,
    /// The key's id; of an operator key the first 8 hexadecimal digits of its SHA-256, which operators see.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "key_0197e7a1b2c37d4e8f90a1b2c3d4e5f6")]
    pub(crate) id: Option<String>,
    /// The key's name at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "backend")]
    pub(crate) name: Option<String>,
    /// `api` or `dashboard`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api")]
    pub(crate) via: Option<String>,
}

/// A change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditEntry {
    #[schema(example = "4711")]
    pub(crate) id: String,
    #[schema(format = DateTime)]
    pub(crate) at: String,
    /// Whose thing was changed; absent: the deployment's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant_id: Option<String>,
    pub(crate) actor: Actor,
    /// What was done.
    #[schema(example = "endpoint.edited")]
    pub(crate) action: String,
    /// The id of what was changed: of an event type its name, of refused keys the address that they came from.
    #[schema(example = "ep_0197e7a1b2c37d4e8f90a1b2c3d4e5f6")]
    pub(crate) target: String,
    /// The members that changed, as they were; absent where it was made. A value of more than 2 KiB is shown by its length. Secrets
    /// are never shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, example = json!({"url": "https://example.com/old"}))]
    pub(crate) before: Option<serde_json::Value>,
    /// The same members as they are; absent where it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, example = json!({"url": "https://example.com/new"}))]
    pub(crate) after: Option<serde_json::Value>,
}

impl AuditEntry {
    /// As this caller sees it: tenants learn that an operator did it, and not which.
    fn new(entry: Stored, caller: Caller) -> Self {
        let kind = match entry.actor.as_str() {
            "key" => ActorKind::Key,
            "operator" => ActorKind::Operator,
            _ => ActorKind::Postrider,
        };
        let named = kind == ActorKind::Key || caller.operator().is_ok();
        Self {
            id: entry.id.to_string(),
            at: shown(entry.at),
            tenant_id: entry.tenant.map(|tenant: TenantId| tenant.to_string()),
            actor: Actor { kind, id: entry.actor_id.filter(|_| named), name: entry.actor_name, via: entry.via },
            action: entry.action,
            target: entry.target,
            before: entry.before,
            after: entry.after,
        }
    }
}

/// List changes
///
/// Newest first: who made, edited or deleted a tenant, key, endpoint or event type, rotated a secret, retried, cancelled, expunged,
/// replayed, requeued, or signed in; and what it was before and is after, without secrets. Kept as long as the log of events. (It has
/// nothing to do with `postrider audit`, which counts events.)
#[utoipa::path(get, operation_id = "list_audit_log", path = "/v1/audit-log", tag = "audit log",
    params(("tenant" = Option<String>, Query, description = "with an operator key: whose; absent: everybody's and the deployment's"),
        ("action" = Option<String>, Query, description = "this action only", example = "endpoint.edited"),
        ("actor" = Option<String>, Query, description = "changes by this key: its id; with an operator key also the first 8 hexadecimal digits of an operator key's SHA-256"),
        ("target" = Option<String>, Query, description = "changes of the thing with this id", example = "ep_0197e7a1b2c37d4e8f90a1b2c3d4e5f6"),
        ("from" = Option<String>, Query), ("to" = Option<String>, Query),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = List<AuditEntry>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
) -> Result<Json<List<AuditEntry>>, Problem> {
    let params = params.only(&["action", "actor", "target", "from", "to", "limit", "cursor"], None)?;
    let tenant = caller.visible(Scope::Read)?;
    let (from, to) = params.range()?;
    let text = |name: &str| params.get(name).map(|text| text.replace('\0', "\u{fffd}"));
    // Which operator it was is not a tenant's to find out.
    let actor = text("actor").filter(|actor| caller.operator().is_ok() || actor.starts_with("key_"));
    if actor.is_none() && params.get("actor").is_some() {
        return Err(Problem::invalid_field("actor", "the id of a key: key_ and 32 hexadecimal digits"));
    }
    let action = params.parse::<AuditAction>("action")?;
    let filter = AuditFilter { tenant, action, actor, target: text("target"), from, to };
    let page = api
        .store
        .history()
        .list_audit_log(&filter, &page_request("audit_log", &params)?)
        .await
        .map_err(store_problem)?;
    Ok(Json(List::of("audit_log", page, |entry| AuditEntry::new(entry, caller))))
}
