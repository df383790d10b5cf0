//! The audit log: who changed what.

use postrider_model::filters::{parsed, time};
use postrider_model::ids::TenantId;
use postrider_model::scope::Scope;
use postrider_model::time::UnixMillis;
use postrider_model::timestamp::Timestamp;
use postrider_store::audit_log::{AuditEntry as StoredEntry, AuditFilter};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::page::{List, PageQuery};
use crate::{Caller, Error, Operations};

pub use postrider_store::audit_log::AuditAction;

/// The kind of an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A tenant's key.
    Key,
    /// A person who opened a portal link.
    Portal,
    /// An operator: an operator's key, or a person whom the identity provider signed in.
    Operator,
    /// Postrider itself.
    Postrider,
}

/// Who made a change, and by which interface.
#[derive(Debug, Serialize, ToSchema)]
pub struct Actor {
    /// The kind of actor.
    #[serde(rename = "type")]
    pub kind: ActorKind,
    /// The id of the key or of the portal link. For an operator, which only operators can see: the first 8 hexadecimal digits of
    /// the SHA-256 of the operator key, or the id of the person (`per_…`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "key_0197e7a1b2c37d4e8f90a1b2c3d4e5f6")]
    pub id: Option<String>,
    /// The name that the key, the user of the portal link, or the person had at that time. Only operators can see the name of an
    /// operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "backend")]
    pub name: Option<String>,
    /// The interface: `api` or `dashboard`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api")]
    pub via: Option<String>,
}

/// An entry of the audit log: one change.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    /// Its id.
    #[schema(example = "4711")]
    pub id: String,
    /// When the change was made.
    pub at: Timestamp,
    /// The tenant that the change concerns; absent if it concerns the whole deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<TenantId>,
    /// Who made the change.
    pub actor: Actor,
    /// What was done.
    #[schema(example = "endpoint.edited")]
    pub action: String,
    /// The id of the object that was changed. For an event type: its name. For refused keys: the address from which they came.
    #[schema(example = "ep_0197e7a1b2c37d4e8f90a1b2c3d4e5f6")]
    pub target: String,
    /// The changed fields with their values before the change; absent for a new object. A value of more than 2 KiB is replaced by
    /// its length. Secrets are never shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, example = json!({"url": "https://example.com/old"}))]
    pub before: Option<serde_json::Value>,
    /// The changed fields with their values after the change; absent for a deleted object.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, example = json!({"url": "https://example.com/new"}))]
    pub after: Option<serde_json::Value>,
}

/// A filter of changes. A field that is `None` does not filter.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub struct AuditQuery {
    /// Only changes with this action.
    #[serde(deserialize_with = "parsed")]
    #[param(value_type = Option<String>, example = "endpoint.edited")]
    pub action: Option<AuditAction>,
    /// Only changes by the key or portal link with this id. Operators can also give the id of a person (`per_…`), or the first 8
    /// hexadecimal digits of the SHA-256 of an operator key.
    #[serde(deserialize_with = "parsed")]
    pub actor: Option<String>,
    /// Only changes of the object with this id.
    #[serde(deserialize_with = "parsed")]
    #[param(example = "ep_0197e7a1b2c37d4e8f90a1b2c3d4e5f6")]
    pub target: Option<String>,
    /// Only changes made at or after this time.
    #[serde(deserialize_with = "time")]
    #[param(value_type = Option<String>, format = DateTime, example = "2026-01-02T00:00:00Z")]
    pub from: Option<UnixMillis>,
    /// Only changes made before this time.
    #[serde(deserialize_with = "time")]
    #[param(value_type = Option<String>, format = DateTime, example = "2026-01-03T00:00:00Z")]
    pub to: Option<UnixMillis>,
}

impl AuditEntry {
    /// Converts an entry for this caller. A tenant sees that an operator made a change, but not which operator.
    fn new(entry: StoredEntry, caller: Caller) -> Self {
        let kind = match entry.actor.as_str() {
            "key" => ActorKind::Key,
            "portal" => ActorKind::Portal,
            "operator" => ActorKind::Operator,
            _ => ActorKind::Postrider,
        };
        let named = matches!(kind, ActorKind::Key | ActorKind::Portal) || caller.is_operator();
        Self {
            id: entry.id.to_string(),
            at: entry.at.into(),
            tenant_id: entry.tenant,
            actor: Actor {
                kind,
                id: entry.actor_id.filter(|_| named),
                name: entry.actor_name.filter(|_| named),
                via: entry.via,
            },
            action: entry.action,
            target: entry.target,
            before: entry.before,
            after: entry.after,
        }
    }
}

impl Operations {
    /// Lists the changes that the caller may see, newest first. Requires the scope `read`.
    pub async fn list_audit_log(
        &self,
        caller: Caller,
        query: AuditQuery,
        page: &PageQuery,
    ) -> Result<List<AuditEntry>, Error> {
        let tenant = caller.visible(Scope::Read)?;
        let AuditQuery { action, actor, target, from, to } = query;
        let text = |text: Option<String>| text.map(|text| text.replace('\0', "\u{fffd}"));
        // Tenants cannot find out which operator made a change.
        if actor
            .as_ref()
            .is_some_and(|actor| !caller.is_operator() && !["key_", "plk_"].iter().any(|kind| actor.starts_with(kind)))
        {
            let detail = "the id of a key or of a portal link: key_ or plk_ and 32 hexadecimal digits";
            return Err(Error::invalid("actor", detail));
        }
        let filter = AuditFilter { tenant, action, actor: text(actor), target: text(target), from, to };
        let page = self.store.history().list_audit_log(&filter, &page.request("audit_log")?).await?;
        Ok(List::of("audit_log", page, |entry| AuditEntry::new(entry, caller)))
    }
}
