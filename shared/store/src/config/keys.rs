//! API keys of tenants. A key's text is shown once; only its hash is stored.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postrider_model::ids::{KeyId, TenantId};
use postrider_model::limits::KEYS_PER_TENANT_MAX;
use postrider_model::scope::Scope;
use postrider_model::time::UnixMillis;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::config_version::bump;
use crate::audit_log::{AuditAction, Change};
use crate::error::StoreError;
use crate::sql::{Column, RowExt, Ts, clean, from_row};
use crate::store::ConfigStore;

/// A set of scopes. Serialises as a list of their names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Every scope.
    pub const ALL: Self = Self(0b111);

    /// Whether the set contains `scope`.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The scopes of the set.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contains(*scope))
    }

    pub(crate) fn bits(self) -> i16 {
        i16::from(self.0)
    }
}

impl Column for Scopes {
    type Stored = i16;

    fn of_stored(bits: i16) -> Result<Self, String> {
        Ok(Self((bits & 0b111) as u8))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | (1 << scope as u8)))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for Scopes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Scope>::deserialize(deserializer)?.into_iter().collect())
    }
}

/// SHA-256 of a key's text. Only the hash is stored and looked up. Keys have 256 random bits, so a plain hash is enough.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// Hashes a key as its holder sends it.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

/// A key to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Its name, for people.
    pub name: String,
    /// What the key may do.
    pub scopes: Scopes,
}

/// An API key, without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its public id.
    pub id: KeyId,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its name, for people.
    pub name: String,
    /// What the key may do.
    pub scopes: Scopes,
    /// The configuration version that created it.
    pub version: i64,
    /// When it was created.
    pub created_at: UnixMillis,
    /// When it was last used, to about a minute; `None`: not on record.
    pub last_used_at: Option<UnixMillis>,
}

/// A key that was just created. Its text cannot be read again.
#[derive(Debug)]
pub struct CreatedKey {
    /// The key.
    pub key: ApiKey,
    /// `prk_` and 43 characters of URL-safe base64.
    pub text: SecretString,
}

/// Generates the text of a key, with 256 random bits.
pub(super) fn generate_key() -> Zeroizing<String> {
    let random = Zeroizing::new(rand::random::<[u8; 32]>());
    Zeroizing::new(format!("prk_{}", URL_SAFE_NO_PAD.encode(random.as_slice())))
}

from_row!(ApiKey { id, tenant, name, scopes, version, created_at, last_used_at });

impl ConfigStore {
    /// Creates a key for a tenant.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if the tenant does not exist; [`StoreError::Conflict`] at the limit of keys.
    pub async fn create_key(&self, tenant: TenantId, new: &NewKey) -> Result<CreatedKey, StoreError> {
        let text = generate_key();
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        let version = bump(&tx).await?;
        super::tenants::require(&tx, tenant).await?;
        let sql = "SELECT count(*) AS usage FROM api_keys WHERE tenant = $1 AND deleted_at IS NULL";
        let usage: u32 = tx.query_one(sql, &[&tenant.0]).await?.col("usage")?;
        if usage >= KEYS_PER_TENANT_MAX {
            let detail = format!("the tenant has {usage} of {KEYS_PER_TENANT_MAX} keys; delete one that is not used");
            return Err(StoreError::Conflict(detail));
        }
        let key = ApiKey {
            id: KeyId::generate(),
            tenant,
            name: clean(&new.name).into_owned(),
            scopes: new.scopes,
            version,
            created_at: UnixMillis::now(),
            last_used_at: None,
        };
        let (hash, created_at) = (KeyHash::of(&text), Ts(key.created_at));
        tx.execute(
            "INSERT INTO api_keys (id, tenant, name, hash, scopes, version, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            &[&key.id.0, &tenant.0, &key.name, &&hash.0[..], &key.scopes.bits(), &version, &created_at],
        )
        .await?;
        let made = serde_json::json!({"name": key.name, "scopes": key.scopes});
        self.0.finish_edit(tx, version, Change::of(tenant, AuditAction::KeyCreated, key.id).to(made)).await?;
        Ok(CreatedKey { key, text: SecretString::from(text.as_str()) })
    }

    /// Returns all keys of a tenant, newest first. There is no paging, because a tenant has few keys.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if the tenant does not exist.
    pub async fn list_keys(&self, tenant: TenantId) -> Result<Vec<ApiKey>, StoreError> {
        if self.get_tenant(tenant).await?.is_none() {
            return Err(StoreError::NotFound { what: "tenant" });
        }
        let sql = format!(
            "SELECT {} FROM api_keys WHERE tenant = $1 AND deleted_at IS NULL ORDER BY created_at DESC, id DESC",
            ApiKey::COLUMNS
        );
        self.0.fetch_all(&sql, &[&tenant.0]).await
    }

    /// Records that these keys of tenants and product keys were used at `at`. The configuration version does not change.
    pub async fn note_used_keys(&self, ids: &[KeyId], at: UnixMillis) -> Result<(), StoreError> {
        let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
        let client = self.0.client().await?;
        for table in ["api_keys", "product_keys"] {
            // Locked in the order of their ids, so that two processes cannot deadlock.
            let sql = format!(
                "UPDATE {table} SET last_used_at = greatest(last_used_at, $2) WHERE id IN
                     (SELECT id FROM {table} WHERE id = ANY($1) AND deleted_at IS NULL ORDER BY id FOR UPDATE)"
            );
            client.execute(&sql, &[&ids, &Ts(at)]).await?;
        }
        Ok(())
    }

    /// Deletes a key and the portal links that it created, which ends their sessions. A service refuses the key once the
    /// configuration feed has sent the edit to the service.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_key(&self, tenant: TenantId, id: KeyId) -> Result<(), StoreError> {
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        let version = bump(&tx).await?;
        let sql = "UPDATE api_keys SET version = $3, deleted_at = $4
                   WHERE id = $1 AND tenant = $2 AND deleted_at IS NULL RETURNING name";
        let deleted = tx.query_opt(sql, &[&id.0, &tenant.0, &version, &Ts(UnixMillis::now())]).await?;
        let name: String = deleted.ok_or(StoreError::NotFound { what: "key" })?.col("name")?;
        tx.execute("DELETE FROM portal_links WHERE key_id = $1", &[&id.0]).await?;
        let gone = serde_json::json!({ "name": name });
        self.0.finish_edit(tx, version, Change::of(tenant, AuditAction::KeyDeleted, id).from(gone)).await
    }
}
