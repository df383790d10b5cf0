//! Who sends a request and for which tenants, and whose each event of it is.
//!
//! A tenant's key publishes for its tenant. A product key (for several tenants or all) and an operator key name the tenant
//! by `?tenant=`, or by `tenant` in each event. A tenant is named by its id or by its external id. A tenant that the key does
//! not publish for is answered like one that does not exist.

use postrider_http::problem::{FieldError, Problem};
use postrider_model::ids::TenantId;
use postrider_store::config::KeyTenants;
use url::form_urlencoded;

use crate::bodies::Payer;
use crate::keys::{Grant, Keys};

/// Says whose an event is, given the tenant that it names itself.
pub(crate) trait Whose {
    /// The tenant of an event.
    ///
    /// # Errors
    /// 422 with the pointer `/tenant` when the name is missing or contradicts the request, 404 when there is no such tenant
    /// for this sender, 503 when it may be newer than what is known here.
    fn tenant(&self, stated: Option<&str>) -> Result<TenantId, Problem>;
}

impl<W: Whose> Whose for &W {
    fn tenant(&self, stated: Option<&str>) -> Result<TenantId, Problem> {
        (**self).tenant(stated)
    }
}

/// The sender of an HTTP request.
pub(crate) struct Sender<'a> {
    keys: &'a Keys,
    grant: Grant,
    named: Option<TenantId>,
}

impl<'a> Sender<'a> {
    /// Reads who sends a request from its `Authorization` header and its query.
    ///
    /// # Errors
    /// 401 without a valid key, 403 for one without the scope, 422 for a query parameter other than one `tenant`, 404 for a
    /// tenant that the key does not publish for, 503 for a key or a tenant that may be newer than what is known here.
    pub(crate) fn of(keys: &'a Keys, authorization: Option<&str>, query: Option<&str>) -> Result<Self, Problem> {
        let mut sender = Self { keys, grant: keys.grant(authorization)?, named: None };
        sender.named = match (tenant_parameter(query)?, &*sender.grant.tenants) {
            (Some(name), _) => Some(sender.find(&name).map_err(|problem| at(problem, "tenant"))?),
            (None, KeyTenants::One(tenant)) => Some(*tenant),
            (None, KeyTenants::Several(_) | KeyTenants::All) => None,
        };
        Ok(sender)
    }

    /// The tenant of all events of the request: the key's only one, or the one that the query names. `None`: each event
    /// names its own.
    pub(crate) fn named(&self) -> Option<TenantId> {
        self.named
    }

    /// Who is charged for the request's body.
    pub(crate) fn payer(&self) -> Payer {
        match (self.named, self.grant.id) {
            (Some(tenant), _) => Payer::Tenant(tenant),
            (None, Some(key)) => Payer::Key(key),
            (None, None) => Payer::Operator,
        }
    }

    /// The tenant of this name, if the key publishes for it.
    fn find(&self, name: &str) -> Result<TenantId, Problem> {
        let tenant = self.keys.find_tenant(name)?;
        if self.grant.tenants.contains(tenant) { Ok(tenant) } else { Err(no_such_tenant()) }
    }
}

impl Whose for Sender<'_> {
    fn tenant(&self, stated: Option<&str>) -> Result<TenantId, Problem> {
        let Some(stated) = stated else {
            return self.named.ok_or_else(|| {
                let detail = "missing: the key publishes for several tenants, so name one by ?tenant=<id or external id>, or by `tenant` in the event";
                Problem::invalid_field("/tenant", detail)
            });
        };
        let found = self.find(stated).map_err(|problem| at(problem, "/tenant"))?;
        match self.named {
            Some(named) if named != found => {
                let detail = format!("the event names {found}, the request's query names {named}");
                Err(Problem::invalid_field("/tenant", detail))
            }
            _ => Ok(found),
        }
    }
}

/// The tenant of a message on the exchange, by its routing key.
pub(crate) struct Routed<'a> {
    pub(crate) keys: &'a Keys,
    pub(crate) tenant: TenantId,
}

impl Whose for Routed<'_> {
    fn tenant(&self, stated: Option<&str>) -> Result<TenantId, Problem> {
        match stated {
            Some(stated) if self.keys.find_tenant(stated) != Ok(self.tenant) => {
                let stated: String = stated.chars().take(80).collect();
                let detail = format!("the routing key is {}'s, the body names {stated:?}", self.tenant);
                Err(Problem::invalid_field("/tenant", detail))
            }
            _ => Ok(self.tenant),
        }
    }
}

/// What a name is answered that stands for no tenant, or for none of the sender's.
pub(crate) fn no_such_tenant() -> Problem {
    Problem::not_found("no such tenant, or not one that this key publishes for")
}

/// The same problem, with the place of the name that caused it.
fn at(mut problem: Problem, pointer: &str) -> Problem {
    if problem.errors.is_empty() {
        problem.errors.push(FieldError::new(pointer, problem.detail.clone()));
    }
    problem
}

/// The value of `?tenant=`, the only parameter.
fn tenant_parameter(query: Option<&str>) -> Result<Option<String>, Problem> {
    let mut named = None;
    let mut errors = Vec::new();
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if name != "tenant" {
            errors.push(FieldError::new(name, "unknown parameter; the only one is `tenant`"));
        } else if named.replace(value.into_owned()).is_some() {
            errors.push(FieldError::new("tenant", "given more than once"));
        }
    }
    if errors.is_empty() { Ok(named) } else { Err(Problem::unprocessable(errors)) }
}

#[cfg(test)]
impl Whose for TenantId {
    fn tenant(&self, stated: Option<&str>) -> Result<TenantId, Problem> {
        match stated {
            Some(stated) if stated != self.to_string() => Err(Problem::invalid_field("/tenant", "another tenant")),
            _ => Ok(*self),
        }
    }
}

#[cfg(test)]
mod tests {
    use postrider_store::config::{Scope, Scopes};

    use super::*;
    use crate::keys::tests::{Known, keys};

    /// Two tenants, `acme` and one without an external id, and keys of each kind.
    struct World {
        keys: Keys,
        acme: TenantId,
        other: TenantId,
    }

    fn world() -> World {
        let (acme, other) = (TenantId::generate(), TenantId::generate());
        let publish: Scopes = [Scope::Publish].into_iter().collect();
        let known = Known::default()
            .tenant(acme, Some("acme"))
            .tenant(other, None)
            .key("one", KeyTenants::One(acme), Scopes::ALL)
            .key("several", KeyTenants::several([acme]), publish)
            .key("all", KeyTenants::All, publish);
        World { keys: keys(known, true), acme, other }
    }

    fn sender<'a>(world: &'a World, key: &str, query: Option<&str>) -> Result<Sender<'a>, Problem> {
        Sender::of(&world.keys, Some(&format!("Bearer {key}")), query)
    }

    #[track_caller]
    fn refused<T>(result: Result<T, Problem>, status: u16, pointer: &str) {
        let problem = result.map(|_| ()).expect_err("a refusal");
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

    #[test]
    fn a_message_is_its_routing_keys_tenants() {
        let world = world();
        let routed = Routed { keys: &world.keys, tenant: world.acme };
        assert_eq!(routed.tenant(Some("acme")), Ok(world.acme));
        assert_eq!(routed.tenant(None), Ok(world.acme));
        refused(routed.tenant(Some(&world.other.to_string())), 422, "/tenant");
    }
}
