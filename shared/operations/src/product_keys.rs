//! Product keys: API keys that publish for several or all tenants, so that a whole product needs only one key.

use postrider_model::ids::{KeyId, TenantId};
use postrider_model::limits::PRODUCT_KEY_TENANTS_MAX;
use postrider_model::name::check_name;
use postrider_model::scope::Scope;
use postrider_model::timestamp::Timestamp;
use postrider_store::config::{KeyTenants, ProductKey as StoredKey};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Error, Mistakes, parse_id};
use crate::page::List;
use crate::{Caller, Operations};

/// The tenants that a key publishes for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(untagged, expecting = "expected \"all\", or an array of tenants by id or external id")]
#[schema(example = json!(["ten_0197e7a1b2c37d4e8f90a1b2c3d4e5f6", "acme"]))]
pub enum Tenants {
    /// All tenants, including future ones: `all`.
    All(All),
    /// 1 to 1,000 tenants, by id or external id. Answers show their ids.
    Several(Vec<String>),
}

/// All tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum All {
    /// `all`
    All,
}

/// A product key to be created.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProductKey {
    /// A name for people, 1 to 200 bytes.
    #[schema(example = "backend")]
    pub name: String,
    /// `publish`, the only scope that a product key can have.
    #[schema(example = json!(["publish"]))]
    pub scopes: Vec<Scope>,
    /// The tenants that the key publishes for.
    pub tenants: Tenants,
}

/// A product key, without its text.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProductKey {
    /// Its id.
    pub id: KeyId,
    /// Its name.
    #[schema(example = "backend")]
    pub name: String,
    /// What the key allows.
    #[schema(example = json!(["publish"]))]
    pub scopes: Vec<Scope>,
    /// The tenants that the key publishes for.
    pub tenants: Tenants,
    /// When it was created.
    pub created_at: Timestamp,
    /// When the key was last used, recorded up to a minute late; `null` if no use is on record. Earlier versions of Postrider did
    /// not record uses.
    #[schema(required = true, example = "2026-01-02T03:04:05.006Z")]
    pub last_used_at: Option<Timestamp>,
}

/// A product key that was just created.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedProductKey {
    /// The text of the key. It is only shown in this answer.
    #[schema(example = "prk_0pXk4l1c0tQm7v2yZb8sWn5dRf3hJg6a")]
    pub key: String,
    /// The other fields of the key.
    #[serde(flatten)]
    pub shown: ProductKey,
}

impl From<StoredKey> for ProductKey {
    fn from(key: StoredKey) -> Self {
        let several = |ids: &[TenantId]| ids.iter().map(ToString::to_string).collect();
        let tenants = match &key.tenants {
            KeyTenants::All => Tenants::All(All::All),
            KeyTenants::Several(ids) => Tenants::Several(several(ids)),
            KeyTenants::One(id) => Tenants::Several(several(&[*id])),
        };
        let (created_at, last_used_at) = (key.created_at.into(), key.last_used_at.map(Timestamp));
        Self { id: key.id, name: key.name, scopes: vec![Scope::Publish], tenants, created_at, last_used_at }
    }
}

impl Operations {
    /// Checks a request for a key, and returns the tenants that it names.
    async fn tenants_of(&self, request: &CreateProductKey) -> Result<KeyTenants, Error> {
        let mut mistakes = Mistakes::default();
        mistakes.check("/name", check_name(&request.name));
        if request.scopes != [Scope::Publish] {
            mistakes.add("/scopes", "a key for several tenants has the one scope `publish`");
        }
        let names = match &request.tenants {
            Tenants::All(All::All) => &[][..],
            Tenants::Several(names) if (1..=PRODUCT_KEY_TENANTS_MAX).contains(&names.len()) => names,
            Tenants::Several(names) => {
                let detail = format!("1 to {PRODUCT_KEY_TENANTS_MAX} tenants or \"all\", got {}", names.len());
                mistakes.add("/tenants", detail);
                &[]
            }
        };
        let mut found = Vec::new();
        for (index, name) in names.iter().enumerate() {
            match self.find_tenant(name).await {
                Ok(tenant) => found.push(tenant),
                Err(missing @ Error::NotFound(_)) => mistakes.add(format!("/tenants/{index}"), missing.to_string()),
                Err(error) => return Err(error),
            }
        }
        mistakes.finish()?;
        Ok(if names.is_empty() { KeyTenants::All } else { KeyTenants::several(found) })
    }

    /// Creates a product key. Operators only.
    pub async fn create_product_key(
        &self,
        caller: Caller,
        request: CreateProductKey,
    ) -> Result<CreatedProductKey, Error> {
        caller.operator()?;
        let tenants = self.tenants_of(&request).await?;
        let created = self.edits_of(caller)?.config().create_product_key(&request.name, tenants).await?;
        Ok(CreatedProductKey { key: created.text.expose_secret().to_owned(), shown: created.key.into() })
    }

    /// Lists every product key. Operators only.
    pub async fn list_product_keys(&self, caller: Caller) -> Result<List<ProductKey>, Error> {
        caller.operator()?;
        Ok(List::whole(self.store.config().list_product_keys().await?.into_iter().map(ProductKey::from)))
    }

    /// Deletes a product key. Operators only.
    pub async fn delete_product_key(&self, caller: Caller, key: &str) -> Result<(), Error> {
        caller.operator()?;
        let key = parse_id("key", key)?;
        Ok(self.edits_of(caller)?.config().delete_product_key(key).await?)
    }
}
