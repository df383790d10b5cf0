//! The audit log: who changed what, when, and what it was before and is after. Each entry is written in the transaction of the
//! change that it is about. (Not [`crate::audit`], which counts events and deliveries.)
//!
//! A [`Store`](crate::Store) knows on whose behalf it acts, see [`Store::acting_as`](crate::Store::acting_as); the default is Postrider itself.

mod action;
mod list;

use deadpool_postgres::Transaction;
use postrider_model::ids::{KeyId, TenantId};
use postrider_model::time::UnixMillis;
use serde_json::{Map, Value};
use uuid::Uuid;

pub use self::action::AuditAction;
pub use self::list::{AuditEntry, AuditFilter};
use crate::error::StoreError;
use crate::sql::{Ts, clean};
use crate::store::Core;

/// Most bytes of a member's value that an entry holds; of a longer one it holds the length.
const VALUE_BYTES_MAX: usize = 2_048;

/// Who makes a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Actor {
    /// Postrider itself.
    #[default]
    Postrider,
    /// An operator key, named by the first bytes of its SHA-256.
    Operator([u8; 4]),
    /// A tenant's key.
    Key(KeyId),
}

impl Actor {
    /// `postrider`, `operator` or `key`.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Postrider => "postrider",
            Self::Operator(_) => "operator",
            Self::Key(_) => "key",
        }
    }

    /// What names the actor among those of its kind.
    pub fn id(self) -> Option<String> {
        match self {
            Self::Postrider => None,
            Self::Operator(fingerprint) => Some(hex::encode(fingerprint)),
            Self::Key(id) => Some(id.to_string()),
        }
    }
}

/// How a change came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// An HTTP request to the API.
    Api,
    /// A page of the dashboard.
    Dashboard,
}

impl Via {
    /// `api` or `dashboard`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Dashboard => "dashboard",
        }
    }
}

/// On whose behalf a [`Store`](crate::Store) changes things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Acting {
    /// Who.
    pub actor: Actor,
    /// How it came in; `None`: Postrider itself.
    pub via: Option<Via>,
    /// The claim on an `Idempotency-Key` that the change is made under, see [`crate::idempotency`].
    pub claim: Option<Uuid>,
}

/// A change, as it is written down.
pub(crate) struct Change {
    pub(crate) tenant: Option<TenantId>,
    pub(crate) action: AuditAction,
    pub(crate) target: String,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
}

impl Change {
    /// A change of something that a tenant has.
    pub(crate) fn of(tenant: TenantId, action: AuditAction, target: impl ToString) -> Self {
        Self { tenant: Some(tenant), action, target: target.to_string(), before: None, after: None }
    }

    /// What it was before.
    pub(crate) fn from(self, before: Value) -> Self {
        Self { before: Some(before), ..self }
    }

    /// What it is after.
    pub(crate) fn to(self, after: Value) -> Self {
        Self { after: Some(after), ..self }
    }
}

impl Core {
    /// Writes a change down, as part of its transaction; under a claim on an `Idempotency-Key` also that it is committed with it.
    pub(crate) async fn log_change(&self, tx: &Transaction<'_>, change: Change) -> Result<(), StoreError> {
        let Change { tenant, action, target, before, after } = change;
        let Acting { actor, via, claim } = self.acting;
        if let Some(claim) = claim {
            crate::idempotency::committed(tx, claim).await?;
        }
        let (before, after) = differing(before, after);
        let key = if let Actor::Key(id) = actor { Some(id.0) } else { None };
        tx.execute(
            "INSERT INTO audit_log (at, tenant, actor, actor_id, actor_name, via, action, target, before, after)
             VALUES ($1, $2, $3, $4, (SELECT name FROM api_keys WHERE id = $5), $6, $7, $8, $9, $10)",
            &[
                &Ts(UnixMillis::now()),
                &tenant.map(|tenant| tenant.0),
                &actor.kind(),
                &actor.id(),
                &key,
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

/// What differs between two objects, member by member, long values as their length. Of one alone: all that is not null.
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

/// Anything that serialises as JSON, as a value; never a secret.
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
