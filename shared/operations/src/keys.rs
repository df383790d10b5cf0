//! API keys of one tenant.

use postrider_model::ids::{KeyId, TenantId};
use postrider_model::name::check_name;
use postrider_model::scope::Scope;
use postrider_model::timestamp::Timestamp;
use postrider_store::config::{ApiKey, NewKey};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Error, Forbidden, Mistakes, parse_id};
use crate::page::List;
use crate::{Caller, Operations};

/// A key to be created.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// A name for people, 1 to 200 bytes.
    #[schema(example = "backend")]
    pub name: String,
    /// One or more scopes.
    pub scopes: Vec<Scope>,
}

/// An API key, without its text.
#[derive(Debug, Serialize, ToSchema)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// Its name.
    #[schema(example = "backend")]
    pub name: String,
    /// What the key allows.
    pub scopes: Vec<Scope>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When the key was last used, recorded up to a minute late; `null` if no use is on record. Earlier versions of Postrider did
    /// not record uses.
    #[schema(required = true, example = "2026-01-02T03:04:05.006Z")]
    pub last_used_at: Option<Timestamp>,
}

/// A key that was just created.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedKey {
    /// The text of the key. It is only shown in this answer.
    #[schema(example = "prk_0pXk4l1c0tQm7v2yZb8sWn5dRf3hJg6a")]
    pub key: String,
    /// The other fields of the key.
    #[serde(flatten)]
    pub shown: Key,
}

impl From<ApiKey> for Key {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            name: key.name,
            scopes: key.scopes.iter().collect(),
            created_at: key.created_at.into(),
            last_used_at: key.last_used_at.map(Timestamp),
        }
    }
}

impl CreateKey {
    fn check(&self) -> Result<(), Error> {
        let mut mistakes = Mistakes::default();
        mistakes.check("/name", check_name(&self.name));
        if self.scopes.is_empty() {
            mistakes.add("/scopes", "one or more of publish, read, manage");
        }
        mistakes.finish()
    }
}

/// Refuses scopes that the caller's own key does not have.
pub(crate) fn refuse_escalation(caller: Caller, scopes: &[Scope]) -> Result<(), Error> {
    let Caller::Tenant { scopes: own, .. } = caller else { return Ok(()) };
    match scopes.iter().position(|scope| !own.contains(*scope)) {
        None => Ok(()),
        Some(index) => Err(Forbidden::ScopeNotHeld { index }.into()),
    }
}

impl Operations {
    /// Returns the tenant with this id or external id, if the caller has `scope` for that tenant.
    pub(crate) async fn tenant_with_keys(&self, caller: Caller, tenant: &str, scope: Scope) -> Result<TenantId, Error> {
        let id = self.find_tenant(tenant).await?;
        caller.may(scope, id)?;
        Ok(id)
    }

    /// Creates a key.
    ///
    /// # Errors
    /// Requires the scope `manage`. [`Forbidden::ScopeNotHeld`] for a scope that the caller's key does not have.
    pub async fn create_key(&self, caller: Caller, tenant: &str, request: CreateKey) -> Result<CreatedKey, Error> {
        let tenant = self.tenant_with_keys(caller, tenant, Scope::Manage).await?;
        request.check()?;
        refuse_escalation(caller, &request.scopes)?;
        let new = NewKey { name: request.name, scopes: request.scopes.into_iter().collect() };
        let created = self.edits_of(caller)?.config().create_key(tenant, &new).await?;
        self.keys.insert(created.key.id, &created.text, tenant, new.scopes);
        Ok(CreatedKey { key: created.text.expose_secret().to_owned(), shown: created.key.into() })
    }

    /// Lists the tenant's keys. Requires the scope `read`.
    pub async fn list_keys(&self, caller: Caller, tenant: &str) -> Result<List<Key>, Error> {
        let tenant = self.tenant_with_keys(caller, tenant, Scope::Read).await?;
        Ok(List::whole(self.store.config().list_keys(tenant).await?.into_iter().map(Key::from)))
    }

    /// Deletes a key. Requires the scope `manage`.
    pub async fn delete_key(&self, caller: Caller, tenant: &str, key: &str) -> Result<(), Error> {
        let tenant = self.tenant_with_keys(caller, tenant, Scope::Manage).await?;
        let key = parse_id("key", key)?;
        self.edits_of(caller)?.config().delete_key(tenant, key).await?;
        self.keys.remove(key);
        Ok(())
    }
}
