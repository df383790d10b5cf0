//! The audit log: who changed what and when, with the values before and after. The transaction of a change writes its entry.
//! Not [`crate::audit`], which counts events and deliveries.
//!
//! A [`Store`](crate::Store) records changes as made by an actor, which [`Store::acting_as`](crate::Store::acting_as) sets. The
//! default is Postrider itself.

mod action;
mod list;

use deadpool_postgres::Transaction;
use postrider_model::ids::{KeyId, PersonId, PortalLinkId, TenantId};
use postrider_model::time::UnixMillis;
use serde_json::{Map, Value};
use uuid::Uuid;

pub use self::action::AuditAction;
pub use self::list::{AuditEntry, AuditFilter};
use crate::error::StoreError;
use crate::sql::{Ts, clean};
use crate::store::Core;

/// Maximum number of bytes of a member's value in an entry. A longer value is replaced by its length in bytes.
const VALUE_BYTES_MAX: usize = 2_048;

/// Who makes a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Actor {
    /// Postrider itself.
    #[default]
    Postrider,
    /// An operator, by the first bytes of the SHA-256 of the operator key.
    Operator([u8; 4]),
    /// An operator whom the identity provider signed in.
    Person(PersonId),
    /// The holder of a tenant's key.
    Key(KeyId),
    /// The person who opened a portal link.
    Portal(PortalLinkId),
}

impl Actor {
    /// The kind of actor: `postrider`, `operator`, `key` or `portal`.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Postrider => "postrider",
            Self::Operator(_) | Self::Person(_) => "operator",
            Self::Key(_) => "key",
            Self::Portal(_) => "portal",
        }
    }

    /// The actor's id within its kind; `None` for Postrider.
    pub fn id(self) -> Option<String> {
        match self {
            Self::Postrider => None,
            Self::Operator(fingerprint) => Some(hex::encode(fingerprint)),
            Self::Person(id) => Some(id.to_string()),
            Self::Key(id) => Some(id.to_string()),
            Self::Portal(id) => Some(id.to_string()),
        }
    }
}

/// Where a change was requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// An HTTP request to the API.
    Api,
    /// A page of the dashboard.
    Dashboard,
}

impl Via {
    /// The name in rows: `api` or `dashboard`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Dashboard => "dashboard",
        }
    }
}

/// The actor as which a [`Store`](crate::Store) makes changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Acting {
    /// The actor.
    pub actor: Actor,
    /// Where the changes are requested; `None` if Postrider itself makes them.
    pub via: Option<Via>,
    /// The claim on an `Idempotency-Key` under which the change is made, see [`crate::idempotency`].
    pub claim: Option<Uuid>,
}

/// A change to write to the audit log.
pub(crate) struct Change {
    pub(crate) tenant: Option<TenantId>,
    pub(crate) action: AuditAction,
    pub(crate) target: String,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
}

impl Change {
    /// A change of an object of a tenant.
    pub(crate) fn of(tenant: TenantId, action: AuditAction, target: impl ToString) -> Self {
        Self { tenant: Some(tenant), action, target: target.to_string(), before: None, after: None }
    }

    /// Sets the object before the change.
    pub(crate) fn from(self, before: Value) -> Self {
        Self { before: Some(before), ..self }
    }

    /// Sets the object after the change.
    pub(crate) fn to(self, after: Value) -> Self {
        Self { after: Some(after), ..self }
    }
}

impl Core {
    /// Writes the entry of a change in the change's transaction. Also marks a claim on an `Idempotency-Key` as used.
    pub(crate) async fn log_change(&self, tx: &Transaction<'_>, change: Change) -> Result<(), StoreError> {
        let Change { tenant, action, target, before, after } = change;
        let Acting { actor, via, claim } = self.acting;
        if let Some(claim) = claim {
            crate::idempotency::committed(tx, claim).await?;
        }
        let (before, after) = differing(before, after);
        let named = match actor {
            Actor::Key(id) => Some(id.0),
            Actor::Portal(id) => Some(id.0),
            Actor::Person(id) => Some(id.0),
            Actor::Postrider | Actor::Operator(_) => None,
        };
        tx.execute(
            "INSERT INTO audit_log (at, tenant, actor, actor_id, actor_name, via, action, target, before, after)
             VALUES ($1, $2, $3, $4,
                     coalesce((SELECT name FROM api_keys WHERE id = $5), (SELECT user_name FROM portal_links WHERE id = $5),
                              (SELECT name FROM dashboard_people WHERE id = $5)),
                     $6, $7, $8, $9, $10)",
            &[
                &Ts(UnixMillis::now()),
                &tenant.map(|tenant| tenant.0),
                &actor.kind(),
                &actor.id(),
                &named,
                &via.map(Via::as_str),
                &action.as_str(),
                &clean(&target),
                &before.map(|value| clean(&value.to_string()).into_owned()),
                &after.map(|value| clean(&value.to_string()).into_owned()),
            ],
        )
        .await?;
        let (tenant, id) = (tenant.map(tracing::field::display), actor.id());
        tracing::info!(
            action = action.as_str(),
            target,
            tenant.id = tenant,
            actor = actor.kind(),
            actor.id = id,
            via = via.map(Via::as_str),
            "changed"
        );
        Ok(())
    }
}

/// Returns the members that differ between two objects; of a single object, all members except nulls. A long value is replaced
/// by its length.
fn differing(before: Option<Value>, after: Option<Value>) -> (Option<Value>, Option<Value>) {
    let (before, after) = match (before, after) {
        (Some(Value::Object(mut before)), Some(Value::Object(mut after))) => {
            let same: Vec<String> = before
                .iter()
                .filter(|(name, value)| after.get(*name) == Some(*value))
                .map(|(name, _)| name.clone())
                .collect();
            for name in same {
                before.remove(&name);
                after.remove(&name);
            }
            (Some(Value::Object(before)), Some(Value::Object(after)))
        }
        one => one,
    };
    (before.map(shortened), after.map(shortened))
}

fn shortened(value: Value) -> Value {
    let Value::Object(members) = value else { return value };
    let short = |value: Value| match value.to_string().len() {
        bytes if bytes > VALUE_BYTES_MAX => serde_json::json!({ "bytes": bytes }),
        _ => value,
    };
    let members = members.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(members.map(|(name, value)| (name, short(value))).collect::<Map<_, _>>())
}

/// Serialises an object that has no secrets as JSON.
pub(crate) fn json(document: &impl serde::Serialize) -> Value {
    serde_json::to_value(document).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_holds_what_differs_and_no_long_value() {
        let before = json!({"name": "a", "same": 1, "gone": true, "none": null});
        let after = json!({"name": "b", "same": 1, "long": "x".repeat(3_000)});
        let (from, to) = differing(Some(before.clone()), Some(after));
        assert_eq!(from, Some(json!({"name": "a", "gone": true})));
        assert_eq!(to, Some(json!({"name": "b", "long": {"bytes": 3_002}})));
        assert_eq!(differing(None, Some(before)), (None, Some(json!({"name": "a", "same": 1, "gone": true}))));
    }
}
