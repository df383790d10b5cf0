//! The sender of a request, and the tenant of each event in the request.
//!
//! The key of a tenant publishes for that tenant. With a product key (for several or all tenants) or an operator key, the
//! request specifies the tenant by `?tenant=`, or each event specifies it by `tenant`. A tenant is specified by its id or its
//! external id. The response for a tenant that the key does not publish for is the same as for a tenant that does not exist.

use postrider_http::problem::FieldError;
use postrider_model::ids::TenantId;
use postrider_store::config::KeyTenants;
use url::form_urlencoded;

use crate::admission::tenant_directory::{Grant, TenantDirectory};
use crate::event::EventTenant;
use crate::http::bodies::Payer;
use crate::refused::{Refused, TenantError};

/// The sender of an HTTP request.
pub(crate) struct Sender<'a> {
    directory: &'a TenantDirectory,
    grant: Grant,
    named: Option<TenantId>,
}

impl<'a> Sender<'a> {
    /// Reads the sender from the `Authorization` header and the query.
    ///
    /// # Errors
    /// The key is invalid, the key does not publish for the tenant, or the query contains another parameter.
    pub(crate) fn of(
        directory: &'a TenantDirectory,
        authorization: Option<&str>,
        query: Option<&str>,
    ) -> Result<Self, Refused> {
        let mut sender = Self { directory, grant: directory.grant(authorization)?, named: None };
        sender.named = match (tenant_parameter(query)?, &*sender.grant.tenants) {
            (Some(name), _) => Some(sender.find(&name).map_err(|error| at(error, "tenant"))?),
            (None, KeyTenants::One(tenant)) => Some(*tenant),
            (None, KeyTenants::Several(_) | KeyTenants::All) => None,
        };
        Ok(sender)
    }

    /// Returns the tenant of all events of the request: the key's only tenant, or the tenant that the query specifies. Returns
    /// `None` if each event specifies its tenant.
    pub(crate) fn named(&self) -> Option<TenantId> {
        self.named
    }

    /// Returns the payer of the request's body.
    pub(crate) fn payer(&self) -> Payer {
        match (self.named, self.grant.id) {
            (Some(tenant), _) => Payer::Tenant(tenant),
            (None, Some(key)) => Payer::Key(key),
            (None, None) => Payer::Operator,
        }
    }

    /// Returns the tenant with this id or external id, if the key publishes for the tenant.
    fn find(&self, name: &str) -> Result<TenantId, TenantError> {
        let tenant = self.directory.find(name)?;
        if self.grant.tenants.contains(tenant) { Ok(tenant) } else { Err(TenantError::NotFound) }
    }
}

impl EventTenant for Sender<'_> {
    fn tenant(&self, stated: Option<&str>) -> Result<TenantId, Refused> {
        let Some(stated) = stated else {
            return self.named.ok_or_else(|| {
                let detail = "missing: the key publishes for several tenants, so name one by ?tenant=<id or external id>, or by `tenant` in the event";
                Refused::field("/tenant", detail)
            });
        };
        let found = self.find(stated).map_err(|error| at(error, "/tenant"))?;
        match self.named {
            Some(named) if named != found => {
                let detail = format!("the event names the tenant {found}, but the query of the request names {named}");
                Err(Refused::field("/tenant", detail))
            }
            _ => Ok(found),
        }
    }
}

/// Returns the refusal of a tenant that the request specifies at `pointer`.
fn at(error: TenantError, pointer: &str) -> Refused {
    Refused::Tenant { error, at: Some(pointer.to_owned()) }
}

/// Returns the value of `?tenant=`, which is the only allowed parameter.
fn tenant_parameter(query: Option<&str>) -> Result<Option<String>, Refused> {
    let mut named = None;
    let mut errors = Vec::new();
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if name != "tenant" {
            errors.push(FieldError::new(name, "unknown parameter; the only one is `tenant`"));
        } else if named.replace(value.into_owned()).is_some() {
            errors.push(FieldError::new("tenant", "given more than once"));
        }
    }
    if errors.is_empty() { Ok(named) } else { Err(Refused::Invalid(errors)) }
}

#[cfg(test)]
mod tests {
    use postrider_model::scope::Scope;
    use postrider_store::config::Scopes;

    use super::*;
    use postrider_http::problem::Problem;

    use crate::admission::tenant_directory::tests::{Snapshot, directory};

    /// Two tenants (`acme`, and one without an external id), and keys of each kind.
    struct World {
        directory: TenantDirectory,
        acme: TenantId,
        other: TenantId,
    }

    fn world() -> World {
        let (acme, other) = (TenantId::generate(), TenantId::generate());
        let publish: Scopes = [Scope::Publish].into_iter().collect();
        let known = Snapshot::default()
            .tenant(acme, Some("acme"))
            .tenant(other, None)
            .key("one", KeyTenants::One(acme), Scopes::ALL)
            .key("several", KeyTenants::several([acme]), publish)
            .key("all", KeyTenants::All, publish);
        World { directory: directory(known, true), acme, other }
    }

    fn sender<'a>(world: &'a World, key: &str, query: Option<&str>) -> Result<Sender<'a>, Refused> {
        Sender::of(&world.directory, Some(&format!("Bearer {key}")), query)
    }

    #[track_caller]
    fn refused<T>(result: Result<T, Refused>, status: u16, pointer: &str) {
        let problem = Problem::from(result.map(|_| ()).expect_err("a refusal"));
        let pointers: Vec<&str> = problem.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!((problem.status, pointers), (status, vec![pointer]), "{problem}");
    }

    #[test]
    fn a_tenants_key_publishes_for_its_tenant_however_it_is_named() {
        let world = world();
        let id = world.acme.to_string();
        for query in [None, Some("tenant=acme".to_owned()), Some(format!("tenant={id}"))] {
            let sender = sender(&world, "one", query.as_deref()).unwrap();
            assert_eq!((sender.named(), sender.payer()), (Some(world.acme), Payer::Tenant(world.acme)));
            for stated in [None, Some("acme"), Some(id.as_str())] {
                assert_eq!(sender.tenant(stated), Ok(world.acme));
            }
            refused(sender.tenant(Some(&world.other.to_string())), 404, "/tenant");
            refused(sender.tenant(Some("nobody")), 404, "/tenant");
        }
        refused(sender(&world, "one", Some(&format!("tenant={}", world.other))), 404, "tenant");
    }

    #[test]
    fn a_key_for_several_tenants_names_one_of_them() {
        let world = world();
        let several = sender(&world, "several", None).unwrap();
        assert_eq!(several.named(), None);
        assert!(matches!(several.payer(), Payer::Key(_)));
        refused(several.tenant(None), 422, "/tenant");
        assert_eq!(several.tenant(Some("acme")), Ok(world.acme));
        refused(several.tenant(Some(&world.other.to_string())), 404, "/tenant");
        for key in ["all", "operator"] {
            let all = sender(&world, key, None).unwrap();
            assert_eq!(all.tenant(Some("acme")), Ok(world.acme));
            assert_eq!(all.tenant(Some(&world.other.to_string())), Ok(world.other));
            refused(all.tenant(Some("ten_00000000000000000000000000000001")), 404, "/tenant");
            let named = sender(&world, key, Some("tenant=acme")).unwrap();
            assert_eq!(named.tenant(None), Ok(world.acme));
            refused(named.tenant(Some(&world.other.to_string())), 422, "/tenant");
        }
    }

    #[test]
    fn a_query_has_no_parameter_but_one_tenant() {
        let world = world();
        refused(sender(&world, "one", Some("dry_run=true")), 422, "dry_run");
        refused(sender(&world, "all", Some("tenant=acme&tenant=acme")), 422, "tenant");
        refused(sender(&world, "all", Some("tenant=")), 404, "tenant");
    }
}
