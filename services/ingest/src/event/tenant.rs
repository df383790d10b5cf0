//! The tenant of an event, as specified by the sender and by the event itself.

use postrider_model::ids::TenantId;

use crate::refused::Refused;

/// Determines the tenant to which an event belongs.
pub(crate) trait EventTenant {
    /// Returns the tenant of an event whose `tenant` field is `stated`.
    ///
    /// # Errors
    /// The tenant is not specified, contradicts the request or message, or is not a tenant for which the sender may publish.
    fn tenant(&self, stated: Option<&str>) -> Result<TenantId, Refused>;
}

impl<T: EventTenant> EventTenant for &T {
    fn tenant(&self, stated: Option<&str>) -> Result<TenantId, Refused> {
        (**self).tenant(stated)
    }
}

#[cfg(test)]
impl EventTenant for TenantId {
    fn tenant(&self, stated: Option<&str>) -> Result<TenantId, Refused> {
        match stated {
            Some(stated) if stated != self.to_string() => Err(Refused::field("/tenant", "another tenant")),
            _ => Ok(*self),
        }
    }
}
