//! Tenants: the operator's customers.

mod check;
mod usage;

use postrider_model::brand::Brand;
use postrider_model::delivery::FailingEndpoints;
use postrider_model::endpoint::EndpointOrder;
use postrider_model::ids::TenantId;
use postrider_model::scope::Scope;
use postrider_model::timestamp::Timestamp;
use postrider_store::config::{Tenant as StoredTenant, TenantDraft};
use postrider_store::history::PageRequest;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::{Caller, Error, Operations};

pub use postrider_model::tenant_limits::TenantLimits;
pub use usage::{EVENTS_COUNTED_MAX, TenantInList, TenantUsage, TenantsQuery, Usage};

/// A tenant to be created.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTenant {
    /// A name for people, 1 to 200 bytes.
    #[schema(example = "acme")]
    pub name: String,
    /// The profile of its deliveries, see `GET /v1/profiles`.
    #[schema(example = "standard")]
    pub profile: String,
    /// Your own id for the tenant, unique among tenants. It is accepted wherever the tenant's id is, except that an external id
    /// with a dot cannot be used in a routing key. It must not begin with `ten_`.
    pub external_id: Option<String>,
    /// Its limits.
    #[serde(default)]
    pub limits: Option<TenantLimits>,
    /// Whether Postrider refuses events whose type is neither in the profile's catalog nor defined by the tenant, see
    /// `GET /v1/event-types`.
    #[serde(default)]
    pub enforce_catalog: bool,
    /// Whether Postrider refuses events whose data does not match the tenant's JSON Schema for their type.
    #[serde(default)]
    pub enforce_schemas: bool,
    /// The number of days after which an endpoint is disabled if all of its attempts failed; 0 means never. If absent, the
    /// profile's value applies.
    pub disable_after_days: Option<u32>,
    /// Whether an endpoint that fails for too long, or answers 410 where the profile honours that, is disabled or paused.
    #[serde(default)]
    #[serde(rename = "when_failing")]
    pub failing_endpoints: FailingEndpoints,
    /// What the dashboard shows of the product. A field that is left out has the profile's value.
    #[serde(default)]
    pub brand: Option<Brand>,
}

/// An edit of a tenant. A field that is left out keeps its value; `null` removes the value.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditTenant {
    /// A name for people, 1 to 200 bytes.
    #[schema(example = "acme")]
    pub name: Option<String>,
    /// The profile; it can only change while the tenant has no endpoints.
    pub profile: Option<String>,
    /// Your own id for the tenant.
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<String>)]
    pub external_id: Option<Option<String>>,
    /// Replaces all limits.
    pub limits: Option<TenantLimits>,
    /// Whether events of unknown types are refused.
    pub enforce_catalog: Option<bool>,
    /// Whether events whose data does not match the schema of their type are refused.
    pub enforce_schemas: Option<bool>,
    /// The number of days after which an endpoint is disabled if all of its attempts failed; 0 means never.
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<u32>)]
    pub disable_after_days: Option<Option<u32>>,
    /// Whether an endpoint that fails for too long is disabled or paused.
    #[serde(rename = "when_failing")]
    pub failing_endpoints: Option<FailingEndpoints>,
    /// Replaces the whole brand.
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<Brand>)]
    pub brand: Option<Option<Brand>>,
}

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its name.
    #[schema(example = "acme")]
    pub name: String,
    /// The profile of its deliveries.
    #[schema(example = "standard")]
    pub profile: String,
    /// Your own id for the tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Its limits.
    pub limits: TenantLimits,
    /// Whether events of unknown types are refused.
    pub enforce_catalog: bool,
    /// Whether events whose data does not match the schema of their type are refused.
    pub enforce_schemas: bool,
    /// The number of days after which an endpoint is disabled if all of its attempts failed; 0 means never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_after_days: Option<u32>,
    /// Whether an endpoint that fails for too long is disabled or paused.
    #[serde(rename = "when_failing")]
    pub failing_endpoints: FailingEndpoints,
    /// What the dashboard shows of the product, where it differs from the profile's brand.
    #[serde(skip_serializing_if = "Brand::is_empty")]
    pub brand: Brand,
    /// The version, which every edit increases. The ETag is `"v<version>"`.
    pub version: i64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last edited.
    pub updated_at: Timestamp,
}

impl From<StoredTenant> for Tenant {
    fn from(tenant: StoredTenant) -> Self {
        let StoredTenant { id, draft, version, created_at, updated_at } = tenant;
        Self {
            id,
            name: draft.name,
            profile: draft.profile,
            external_id: draft.external_id,
            limits: draft.limits,
            enforce_catalog: draft.enforce_catalog,
            enforce_schemas: draft.enforce_schemas,
            disable_after_days: draft.disable_after_days,
            failing_endpoints: draft.failing_endpoints,
            brand: draft.brand,
            version,
            created_at: created_at.into(),
            updated_at: updated_at.into(),
        }
    }
}

impl From<CreateTenant> for TenantDraft {
    fn from(request: CreateTenant) -> Self {
        Self {
            name: request.name,
            profile: request.profile,
            external_id: request.external_id,
            limits: request.limits.unwrap_or_default(),
            enforce_catalog: request.enforce_catalog,
            enforce_schemas: request.enforce_schemas,
            disable_after_days: request.disable_after_days,
            failing_endpoints: request.failing_endpoints,
            brand: request.brand.unwrap_or_default(),
        }
    }
}

impl EditTenant {
    fn apply(self, draft: &mut TenantDraft) {
        set(&mut draft.name, self.name);
        set(&mut draft.profile, self.profile);
        set(&mut draft.external_id, self.external_id);
        set(&mut draft.limits, self.limits);
        set(&mut draft.enforce_catalog, self.enforce_catalog);
        set(&mut draft.enforce_schemas, self.enforce_schemas);
        set(&mut draft.disable_after_days, self.disable_after_days);
        set(&mut draft.failing_endpoints, self.failing_endpoints);
        set(&mut draft.brand, self.brand.map(Option::unwrap_or_default));
    }
}

/// Replaces `value` if a value is given.
fn set<T>(value: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *value = given;
    }
}

/// For edits: distinguishes a field that is left out (`None`) from `null` (`Some(None)`), which removes the value.
pub(crate) fn clearable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

impl Operations {
    /// Returns the id of the tenant with this id or external id. An id is not looked up, so the tenant may not exist; in this
    /// case the operation that uses the id fails.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a name that is neither an id nor the external id of a tenant.
    pub async fn find_tenant(&self, name: &str) -> Result<TenantId, Error> {
        if let Ok(id) = name.parse() {
            return Ok(id);
        }
        // No external id begins with `ten_`, and the database stores no NUL.
        if name.starts_with("ten_") || name.contains('\0') {
            return Err(Error::NotFound("tenant"));
        }
        self.store.config().tenant_by_external_id(name).await?.ok_or(Error::NotFound("tenant"))
    }

    /// Returns a tenant as it is stored.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the tenant does not exist.
    pub async fn stored_tenant(&self, id: TenantId) -> Result<StoredTenant, Error> {
        self.store.config().get_tenant(id).await?.ok_or(Error::NotFound("tenant"))
    }

    /// Creates a tenant.
    ///
    /// # Errors
    /// Operators only. [`Error::Conflict`] when the external id is taken.
    pub async fn create_tenant(&self, caller: Caller, request: CreateTenant) -> Result<Tenant, Error> {
        caller.operator()?;
        let draft = TenantDraft::from(request);
        check::check(&draft, &self.profiles)?;
        Ok(self.edits_of(caller)?.config().create_tenant(&draft).await?.into())
    }

    /// Reads a tenant by its id or external id. Requires the scope `read`.
    pub async fn read_tenant(&self, caller: Caller, id: &str) -> Result<Tenant, Error> {
        let id = self.find_tenant(id).await?;
        caller.may(Scope::Read, id)?;
        Ok(self.stored_tenant(id).await?.into())
    }

    /// Edits a tenant if its version is `expected`. `None` accepts any version.
    ///
    /// # Errors
    /// Operators only. [`Error::Conflict`] if the edit changes the profile while the tenant has endpoints.
    pub async fn edit_tenant(
        &self,
        caller: Caller,
        id: &str,
        expected: Option<i64>,
        request: EditTenant,
    ) -> Result<Tenant, Error> {
        caller.operator()?;
        let id = self.find_tenant(id).await?;
        if let Some(profile) = &request.profile {
            self.refuse_other_profile(id, profile).await?;
        }
        let apply = |draft: &mut TenantDraft| {
            request.clone().apply(draft);
            check::check(draft, &self.profiles)
        };
        Ok(self.edits_of(caller)?.config().edit_tenant(id, expected, apply).await?.into())
    }

    /// Refuses another profile for a tenant with endpoints, because the endpoints were checked against the rules of the current
    /// profile.
    async fn refuse_other_profile(&self, id: TenantId, profile: &str) -> Result<(), Error> {
        if self.stored_tenant(id).await?.draft.profile == profile {
            return Ok(());
        }
        let first = PageRequest { limit: 1, cursor: None };
        let usage = self.store.config().list_endpoints(id, EndpointOrder::Newest, &first).await?.usage;
        if usage > 0 {
            Err(Error::Conflict(format!("the tenant has {usage} endpoints of its profile")))
        } else {
            Ok(())
        }
    }

    /// Deletes a tenant with its keys and endpoints, if its version is `expected`. Operators only.
    pub async fn delete_tenant(&self, caller: Caller, id: &str, expected: Option<i64>) -> Result<(), Error> {
        caller.operator()?;
        let id = self.find_tenant(id).await?;
        Ok(self.edits_of(caller)?.config().delete_tenant(id, expected).await?)
    }
}
