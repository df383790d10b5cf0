//! The tenant of an event, as its sender and the event itself name it.

use postrider_model::ids::TenantId;

use crate::refused::Refused;

/// Decides which tenant an event belongs to.
pub(crate) trait EventTenant {
    /// The tenant of an event whose own `tenant` field is `stated`.
    ///
    /// # Errors
    /// The name is missing, contradicts the request or message, or is not a tenant that the sender publishes for.
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
