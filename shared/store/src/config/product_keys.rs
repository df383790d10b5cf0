//! Product keys: keys of the operator that publish events for several tenants or for all.

use postrider_model::ids::{KeyId, TenantId};
use postrider_model::time::UnixMillis;
use secrecy::SecretString;
use uuid::Uuid;

use super::config_version::bump;
use super::keys::{KeyHash, generate_key};
use crate::audit_log::{AuditAction, Change};
use crate::error::StoreError;
use crate::sql::{Column, RowExt, Ts, clean, from_row};
use crate::store::ConfigStore;

/// The tenants for which a key is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyTenants {
    /// One tenant: the key is an API key of that tenant.
    One(TenantId),
    /// Several tenants, sorted. A deleted tenant remains in the list, but the key cannot publish for it.
    Several(Vec<TenantId>),
    /// Every tenant, including future ones.
    All,
}

impl KeyTenants {
    /// Whether the key is valid for `tenant`.
    pub fn contains(&self, tenant: TenantId) -> bool {
        match self {
            Self::One(one) => *one == tenant,
            Self::Several(tenants) => tenants.binary_search(&tenant).is_ok(),
            Self::All => true,
        }
    }

    /// Builds a sorted list without duplicates, as [`KeyTenants::contains`] needs it.
    pub fn several(tenants: impl IntoIterator<Item = TenantId>) -> Self {
        let mut tenants: Vec<TenantId> = tenants.into_iter().collect();
        tenants.sort_unstable();
        tenants.dedup();
        Self::Several(tenants)
    }

    /// The audit log's representation.
    fn shown(&self) -> serde_json::Value {
        match self.column() {
            Some(tenants) => tenants.into_iter().map(|tenant| TenantId(tenant).to_string()).collect(),
            None => "all".into(),
        }
    }

    fn column(&self) -> Option<Vec<Uuid>> {
        match self {
            Self::One(tenant) => Some(vec![tenant.0]),
            Self::Several(tenants) => Some(tenants.iter().map(|tenant| tenant.0).collect()),
            Self::All => None,
        }
    }
}

/// A product key, without its text. Its only permission is to publish events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductKey {
    /// Its public id.
    pub id: KeyId,
    /// Its name, for people.
    pub name: String,
    /// The tenants for which it is valid.
    pub tenants: KeyTenants,
    /// The configuration version that created it.
    pub version: i64,
    /// When it was created.
    pub created_at: UnixMillis,
    /// When it was last used, to about a minute; `None`: not on record.
    pub last_used_at: Option<UnixMillis>,
}

/// A product key that was just created. Its text cannot be read again.
#[derive(Debug)]
pub struct CreatedProductKey {
    /// The key.
    pub key: ProductKey,
    /// `prk_` and 43 characters of URL-safe base64.
    pub text: SecretString,
}

from_row!(ProductKey { id, name, tenants, version, created_at, last_used_at });

impl Column for KeyTenants {
    type Stored = Option<Vec<Uuid>>;

    fn of_stored(tenants: Self::Stored) -> Result<Self, String> {
        Ok(tenants.map_or(Self::All, |tenants| Self::several(tenants.into_iter().map(TenantId))))
    }
}

impl ConfigStore {
    /// Creates a product key that publishes for `tenants`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for a tenant that does not exist.
    pub async fn create_product_key(&self, name: &str, tenants: KeyTenants) -> Result<CreatedProductKey, StoreError> {
        let text = generate_key();
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        let version = bump(&tx).await?;
        let column = tenants.column();
        for tenant in column.iter().flatten() {
            super::tenants::require(&tx, TenantId(*tenant)).await?;
        }
        let key = ProductKey {
            id: KeyId::generate(),
            name: clean(name).into_owned(),
            tenants,
            version,
            created_at: UnixMillis::now(),
            last_used_at: None,
        };
        let (hash, created_at) = (KeyHash::of(&text), Ts(key.created_at));
        tx.execute(
            "INSERT INTO product_keys (id, name, hash, tenants, version, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
            &[&key.id.0, &key.name, &&hash.0[..], &column, &version, &created_at],
        )
        .await?;
        let made = serde_json::json!({"name": key.name, "scopes": ["publish"], "tenants": key.tenants.shown()});
        self.0
            .finish_edit(tx, version, Change::of(TenantId::OPERATOR, AuditAction::KeyCreated, key.id).to(made))
            .await?;
        Ok(CreatedProductKey { key, text: SecretString::from(text.as_str()) })
    }

    /// Returns all product keys, newest first. There is no paging, because there are few product keys.
    pub async fn list_product_keys(&self) -> Result<Vec<ProductKey>, StoreError> {
        let sql = format!(
            "SELECT {} FROM product_keys WHERE deleted_at IS NULL ORDER BY created_at DESC, id DESC",
            ProductKey::COLUMNS
        );
        self.0.fetch_all(&sql, &[]).await
    }

    /// Deletes a product key.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_product_key(&self, id: KeyId) -> Result<(), StoreError> {
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        let version = bump(&tx).await?;
        let sql = "UPDATE product_keys SET version = $2, deleted_at = $3
                   WHERE id = $1 AND deleted_at IS NULL RETURNING name";
        let deleted = tx.query_opt(sql, &[&id.0, &version, &Ts(UnixMillis::now())]).await?;
        let name: String = deleted.ok_or(StoreError::NotFound { what: "key" })?.col("name")?;
        let gone = serde_json::json!({ "name": name });
        self.0.finish_edit(tx, version, Change::of(TenantId::OPERATOR, AuditAction::KeyDeleted, id).from(gone)).await
    }
}
