//! Tenants.

use postrider_model::ids::TenantId;
use postrider_model::time::UnixMillis;

use super::TenantLimits;
use crate::error::{EditError, StoreError};
use crate::log::{Page, PageRequest};
use crate::pool::Store;

/// What an operator says about a tenant: the input of creating and of editing one.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantDraft {
    /// Its name, for people.
    pub name: String,
    /// The profile that its deliveries look like.
    pub profile: String,
    /// The operator's own id for it; unique among tenants that are not deleted.
    pub external_id: Option<String>,
    /// Its limits.
    pub limits: TenantLimits,
    /// Whether events of a type outside the catalog are refused.
    pub enforce_catalog: bool,
    /// Whether events are checked against their type's JSON Schema.
    pub enforce_schemas: bool,
    /// Days of failure after which an endpoint is switched off; `None` is the profile's value, 0 is never.
    pub disable_after_days: Option<u32>,
}

impl TenantDraft {
    /// A tenant with this name and profile and nothing else said.
    pub fn new(name: impl Into<String>, profile: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            profile: profile.into(),
            external_id: None,
            limits: TenantLimits::default(),
            enforce_catalog: false,
            enforce_schemas: false,
            disable_after_days: None,
        }
    }
}

/// A tenant as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// What its operator said.
    pub draft: TenantDraft,
    /// Configuration version of its last edit: its ETag.
    pub version: i64,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it was last edited.
    pub updated_at: UnixMillis,
}

impl Store {
    /// Makes a tenant.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the external id is taken.
    pub async fn create_tenant(&self, draft: &TenantDraft) -> Result<Tenant, StoreError> {
        let _ = draft;
        todo!()
    }

    /// Tenants, newest first.
    ///
    /// # Errors
    /// [`StoreError::InvalidCursor`], or the database's.
    pub async fn list_tenants(&self, page: &PageRequest) -> Result<Page<Tenant>, StoreError> {
        let _ = page;
        todo!()
    }

    /// One tenant, `None` when there is none (any more).
    ///
    /// # Errors
    /// The database's.
    pub async fn get_tenant(&self, id: TenantId) -> Result<Option<Tenant>, StoreError> {
        let _ = id;
        todo!()
    }

    /// Edits a tenant: `edit` gets what it is and leaves what it shall be. It may be called more than once.
    ///
    /// # Errors
    /// Not found, another version than `if_match`, a taken external id; or what `edit` refused.
    pub async fn edit_tenant<E>(
        &self,
        id: TenantId,
        if_match: Option<i64>,
        edit: impl Fn(&mut TenantDraft) -> Result<(), E>,
    ) -> Result<Tenant, EditError<E>> {
        let _ = (id, if_match, edit);
        todo!()
    }

    /// Deletes a tenant with its keys and endpoints.
    ///
    /// # Errors
    /// Not found, another version than `if_match`; [`StoreError::Conflict`] for the operator's own.
    pub async fn delete_tenant(&self, id: TenantId, if_match: Option<i64>) -> Result<(), StoreError> {
        let _ = (id, if_match);
        todo!()
    }
}
