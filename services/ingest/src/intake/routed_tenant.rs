//! The tenant of a message, determined by the routing key.

use postrider_model::ids::TenantId;

use super::TENANT_SHOWN_MAX;
use crate::admission::tenant_directory::TenantDirectory;
use crate::event::EventTenant;
use crate::refused::Refused;

/// The tenant in the routing key of a message. If the body contains `tenant`, it must be the same tenant.
pub(super) struct RoutedTenant<'a> {
    pub(super) directory: &'a TenantDirectory,
    pub(super) tenant: TenantId,
}

impl EventTenant for RoutedTenant<'_> {
    fn tenant(&self, stated: Option<&str>) -> Result<TenantId, Refused> {
        match stated {
            Some(stated) if self.directory.find(stated) != Ok(self.tenant) => {
                let stated: String = stated.chars().take(TENANT_SHOWN_MAX).collect();
                let detail = format!("the routing key names the tenant {}, but the body names {stated:?}", self.tenant);
                Err(Refused::field("/tenant", detail))
            }
            _ => Ok(self.tenant),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::tenant_directory::tests::{Snapshot, directory};

    #[test]
    fn the_body_names_the_routing_keys_tenant_or_none() {
        let (acme, other) = (TenantId::generate(), TenantId::generate());
        let directory = directory(Snapshot::default().tenant(acme, Some("acme")).tenant(other, None), true);
        let routed = RoutedTenant { directory: &directory, tenant: acme };
        assert_eq!(routed.tenant(Some("acme")), Ok(acme));
        assert_eq!(routed.tenant(None), Ok(acme));
        assert!(matches!(routed.tenant(Some(&other.to_string())), Err(Refused::Invalid(_))));
    }
}
