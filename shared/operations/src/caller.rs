//! Who calls an operation, and what they may do.

use postrider_model::ids::TenantId;
use postrider_model::scope::Scope;
use postrider_store::audit_log::Acting;
use postrider_store::config::Scopes;

use crate::error::{Error, Forbidden};

/// The caller of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// An operator, who may name a tenant.
    Operator {
        /// The tenant named.
        tenant: Option<TenantId>,
        /// How its changes are recorded.
        acting: Acting,
    },
    /// A tenant's key, or a session that a portal link opened.
    Tenant {
        /// Its tenant.
        tenant: TenantId,
        /// What it may do.
        scopes: Scopes,
        /// How its changes are recorded.
        acting: Acting,
    },
}

impl Caller {
    /// Whether the caller is an operator.
    pub fn is_operator(self) -> bool {
        matches!(self, Self::Operator { .. })
    }

    /// Requires an operator.
    ///
    /// # Errors
    /// [`Forbidden::OperatorOnly`] for another caller.
    pub fn operator(self) -> Result<(), Error> {
        if self.is_operator() { Ok(()) } else { Err(Forbidden::OperatorOnly.into()) }
    }

    /// Returns the tenant of the operation. An operator must name a tenant.
    ///
    /// # Errors
    /// [`Forbidden::MissingScope`]; [`Error::Invalid`] for an operator that names no tenant.
    pub fn tenant(self, scope: Scope) -> Result<TenantId, Error> {
        let named = self.visible(scope)?;
        named.ok_or_else(|| Error::invalid("tenant", "an operator key names the tenant by ?tenant=<id or external id>"))
    }

    /// Returns the tenant whose objects the caller can see; `None` if the caller can see the objects of every tenant.
    ///
    /// # Errors
    /// [`Forbidden::MissingScope`] if the caller does not have `scope`.
    pub fn visible(self, scope: Scope) -> Result<Option<TenantId>, Error> {
        match self {
            Self::Operator { tenant, .. } => Ok(tenant),
            Self::Tenant { tenant, scopes, .. } if scopes.contains(scope) => Ok(Some(tenant)),
            Self::Tenant { .. } => Err(Forbidden::MissingScope(scope).into()),
        }
    }

    /// Requires that the caller has `scope` for this tenant.
    ///
    /// # Errors
    /// [`Forbidden::MissingScope`]; [`Error::NotFound`] if `wanted` is not the caller's tenant.
    pub fn may(self, scope: Scope, wanted: TenantId) -> Result<(), Error> {
        match self.visible(scope)? {
            Some(visible) if visible != wanted => Err(Error::NotFound("tenant")),
            _ => Ok(()),
        }
    }

    /// How the caller's changes are recorded.
    pub fn acting(self) -> Acting {
        match self {
            Self::Operator { acting, .. } | Self::Tenant { acting, .. } => acting,
        }
    }

    /// Returns the same caller after `edit` has changed how the caller's changes are recorded.
    #[must_use]
    pub fn with(mut self, edit: impl FnOnce(&mut Acting)) -> Self {
        match &mut self {
            Self::Operator { acting, .. } | Self::Tenant { acting, .. } => edit(acting),
        }
        self
    }
}
