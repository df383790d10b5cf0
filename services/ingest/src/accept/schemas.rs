//! Checks events by the schemas that their tenants enforce.
//!
//! A check that may take long runs on a blocking thread. At most two such checks of a tenant run at the same time. Compiling a
//! schema counts as a check. The cache of compiled schemas has a size limit per tenant and a total size limit. It evicts the
//! least recently used schemas first.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use postrider_http::problem::FieldError;
use postrider_model::ids::TenantId;
use postrider_model::limits::EVENT_SCHEMA_CHECKS_AT_ONCE;
use postrider_schema::{EventSchema, Mistake};
use postrider_telemetry::slots::{Full, Slots};

use crate::admission::event_types::{EventTypes, Schema};
use crate::event::Event;
use crate::refused::Refused;

/// Maximum number of steps (about a millisecond) of a check that runs on the async thread.
const IN_PLACE_STEPS_MAX: u64 = 300_000;
/// Maximum number of concurrent checks of all tenants on blocking threads.
const AT_ONCE: usize = 8;
/// Maximum time that a check waits before it starts.
const WAIT: Duration = Duration::from_secs(2);
/// Maximum memory of the compiled schemas of one tenant and of all tenants. The sizes are approximate.
const TENANT_BYTES_MAX: usize = 16 * 1024 * 1024;
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Checks events by schemas.
pub(crate) struct SchemaChecks {
    compiled: Arc<Compiled>,
    slots: Slots<TenantId>,
}

impl SchemaChecks {
    pub(crate) fn new() -> Self {
        let compiled = Arc::new(Compiled::new(TENANT_BYTES_MAX, BYTES_MAX));
        Self { compiled, slots: Slots::new(EVENT_SCHEMA_CHECKS_AT_ONCE, AT_ONCE) }
    }

    /// Checks the data of an event by the schema that the tenant enforces for the event's type, if any.
    ///
    /// # Errors
    /// The data violates the schema, too many checks are running, or this build cannot read the schema. The last case is
    /// logged.
    pub(crate) async fn check(&self, tenant: TenantId, types: &EventTypes, event: &Event<'_>) -> Result<(), Refused> {
        let Some(schema) = types.schema(&event.event_type) else { return Ok(()) };
        let data = event.data.get();
        let checked = match self.compiled.get(tenant, schema.id) {
            Some(compiled) if compiled.steps_at_most(data.len()) <= IN_PLACE_STEPS_MAX => Some(compiled.check(data)),
            known => self.check_elsewhere(tenant, schema, known, data).await?,
        };
        match checked {
            Some(Ok(())) => Ok(()),
            Some(Err(mistakes)) => {
                let error = |mistake: Mistake| FieldError::new(format!("/data{}", mistake.pointer), mistake.detail);
                Err(Refused::Invalid(mistakes.into_iter().map(error).collect()))
            }
            None => {
                tracing::error!(event.r#type = %event.event_type, "cannot read an event type's schema; its events are answered with 503");
                let detail = format!("the schema of {} cannot be read by this service", event.event_type);
                Err(Refused::later(detail, Duration::from_secs(30)))
            }
        }
    }

    /// Checks data on a blocking thread. Returns `None` if this build cannot read the schema.
    async fn check_elsewhere(
        &self,
        tenant: TenantId,
        schema: &Arc<Schema>,
        known: Option<Arc<EventSchema>>,
        data: &str,
    ) -> Result<Option<Result<(), Vec<Mistake>>>, Refused> {
        let slot = self.slots.enter(tenant, WAIT).await.map_err(busy)?;
        let (compiled, schema, data) = (Arc::clone(&self.compiled), Arc::clone(schema), data.to_owned());
        let check = move || {
            let _slot = slot;
            let known = known.or_else(|| compiled.get(tenant, schema.id));
            let ready = known.or_else(|| compiled.keep(tenant, schema.id, EventSchema::read(&schema.text).ok()?))?;
            Some(ready.check(&data))
        };
        Ok(tokio::task::spawn_blocking(check).await.unwrap_or_default())
    }
}

fn busy(full: Full) -> Refused {
    match full {
        Full::Owner => {
            let detail = format!(
                "{EVENT_SCHEMA_CHECKS_AT_ONCE} events of this tenant are being checked by their schemas, which is the most at once"
            );
            Refused::limited(detail, WAIT)
        }
        Full::Process => Refused::later("too many events are being checked by their schemas", WAIT),
    }
}

/// The cache of compiled schemas, by tenant and by the schema's id.
struct Compiled {
    tenant_bytes_max: usize,
    bytes_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    tenants: HashMap<TenantId, OfTenant>,
    bytes: usize,
    /// Number of uses so far. Each schema stores the number of its last use; the lowest number is the least recently used
    /// schema.
    uses: u64,
}

#[derive(Default)]
struct OfTenant {
    schemas: HashMap<u64, (u64, Arc<EventSchema>)>,
    bytes: usize,
}

impl Compiled {
    fn new(tenant_bytes_max: usize, bytes_max: usize) -> Self {
        Self { tenant_bytes_max, bytes_max, kept: Mutex::default() }
    }

    fn get(&self, tenant: TenantId, schema: u64) -> Option<Arc<EventSchema>> {
        let mut kept = self.kept.lock();
        kept.uses += 1;
        let now = kept.uses;
        let (used, compiled) = kept.tenants.get_mut(&tenant)?.schemas.get_mut(&schema)?;
        *used = now;
        Some(Arc::clone(compiled))
    }

    /// Adds a schema. Before that, removes other schemas until there is enough room: first schemas of this tenant, then schemas
    /// of the tenant with the most bytes.
    fn keep(&self, tenant: TenantId, schema: u64, compiled: EventSchema) -> Option<Arc<EventSchema>> {
        let (bytes, compiled) = (compiled.memory_bytes(), Arc::new(compiled));
        let mut kept = self.kept.lock();
        kept.make_room(tenant, bytes, self.tenant_bytes_max, self.bytes_max);
        kept.uses += 1;
        let used = kept.uses;
        let of_tenant = kept.tenants.entry(tenant).or_default();
        let before = of_tenant.schemas.insert(schema, (used, Arc::clone(&compiled)));
        if before.is_none() {
            of_tenant.bytes += bytes;
            kept.bytes += bytes;
        }
        Some(compiled)
    }
}

impl Kept {
    fn make_room(&mut self, tenant: TenantId, bytes: usize, tenant_bytes_max: usize, bytes_max: usize) {
        while self.tenants.get(&tenant).is_some_and(|of| of.bytes > 0 && of.bytes + bytes > tenant_bytes_max) {
            self.remove_oldest(tenant);
        }
        while self.bytes > 0 && self.bytes + bytes > bytes_max {
            let Some(most) = self.tenants.iter().max_by_key(|(_, of)| of.bytes).map(|(tenant, _)| *tenant) else {
                return;
            };
            self.remove_oldest(most);
        }
    }

    fn remove_oldest(&mut self, tenant: TenantId) {
        let Some(of_tenant) = self.tenants.get_mut(&tenant) else { return };
        let oldest = of_tenant.schemas.iter().min_by_key(|(_, (used, _))| *used).map(|(schema, _)| *schema);
        if let Some((_, compiled)) = oldest.and_then(|oldest| of_tenant.schemas.remove(&oldest)) {
            let bytes = compiled.memory_bytes();
            of_tenant.bytes -= bytes;
            self.bytes -= bytes;
        }
        if of_tenant.schemas.is_empty() {
            self.tenants.remove(&tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use postrider_http::problem::Problem;

    use super::*;
    use crate::event::json::{Source, read_event};

    fn types(schema: &str) -> EventTypes {
        let mut types = EventTypes::default();
        types.set("a.b".parse().unwrap(), Some(schema.into()), None);
        types
    }

    async fn check(checks: &SchemaChecks, types: &EventTypes, data: &str) -> Result<(), Problem> {
        let json = format!(r#"{{"type":"a.b","data":{data}}}"#);
        let event = read_event(TenantId::OPERATOR, json.as_bytes(), Source::HttpBatch).unwrap();
        Ok(checks.check(TenantId::OPERATOR, types, &event).await?)
    }

    #[tokio::test]
    async fn data_is_checked_by_its_types_schema_whatever_its_size() {
        let (checks, types) = (SchemaChecks::new(), types(r#"{"properties": {"n": {"type": "integer"}}}"#));
        let padding = format!("[{}]", vec!["1"; 50_000].join(","));
        for more in ["1", &padding] {
            check(&checks, &types, &format!(r#"{{"n": 1, "more": {more}}}"#)).await.unwrap();
            let refused = check(&checks, &types, &format!(r#"{{"n": "1", "more": {more}}}"#)).await.unwrap_err();
            assert_eq!((refused.status, refused.errors.len()), (422, 1), "{refused:?}");
        }
        let refused = check(&checks, &types, r#"{"n": "1"}"#).await.unwrap_err();
        assert_eq!(refused.errors[0].pointer, "/data/n", "{refused:?}");
    }

    #[tokio::test]
    async fn a_tenant_with_two_checks_waits_and_then_is_refused_and_others_are_not() {
        tokio::time::pause();
        let (checks, types) = (SchemaChecks::new(), types("false"));
        let mut held = Vec::new();
        for _ in 0..EVENT_SCHEMA_CHECKS_AT_ONCE {
            held.push(checks.slots.enter(TenantId::OPERATOR, WAIT).await.unwrap());
        }
        let refused = check(&checks, &types, "1").await.unwrap_err();
        assert_eq!(refused.status, 429);
        assert!(refused.detail.contains("checked by their schemas"), "{}", refused.detail);
        assert!(checks.slots.enter(TenantId::generate(), WAIT).await.is_ok());
        held.clear();
        assert_eq!(check(&checks, &types, "1").await.unwrap_err().status, 422);
    }

    #[tokio::test]
    async fn only_an_edit_of_its_schema_makes_a_type_compile_again() {
        let (checks, mut types) = (SchemaChecks::new(), types("true"));
        check(&checks, &types, "1").await.unwrap();
        let name = "a.b".parse().unwrap();
        let id = types.schema(&name).unwrap().id;
        let before = checks.compiled.get(TenantId::OPERATOR, id).unwrap();
        types.set(name.clone(), Some("true".into()), None);
        check(&checks, &types, "1").await.unwrap();
        assert!(Arc::ptr_eq(&before, &checks.compiled.get(TenantId::OPERATOR, id).unwrap()));
        types.set(name, Some("false".into()), None);
        assert_eq!(check(&checks, &types, "1").await.unwrap_err().status, 422);
    }

    #[tokio::test]
    async fn a_schema_that_cannot_be_read_refuses_nothing_for_good() {
        let types = types(r#"{"$ref": "https://example.com/"}"#);
        assert_eq!(check(&SchemaChecks::new(), &types, "1").await.unwrap_err().status, 503);
    }

    #[test]
    fn compiled_schemas_stay_within_their_bounds_and_the_largest_owner_gives_way() {
        let schema = || EventSchema::read("true").unwrap();
        let each = schema().memory_bytes();
        let compiled = Compiled::new(3 * each, 4 * each);
        let (one, other) = (TenantId::generate(), TenantId::generate());
        (0..3).for_each(|n| drop(compiled.keep(one, n, schema())));
        assert!(compiled.get(one, 0).is_some());
        compiled.keep(one, 3, schema());
        assert!(compiled.get(one, 0).is_some() && compiled.get(one, 1).is_none());
        compiled.keep(other, 10, schema());
        compiled.keep(other, 11, schema());
        let (of_one, of_other) = (&[0, 2, 3], &[10, 11]);
        let kept = |tenant, schemas: &[u64]| schemas.iter().filter(|id| compiled.get(tenant, **id).is_some()).count();
        assert_eq!((kept(one, of_one), kept(other, of_other)), (2, 2));
        assert_eq!(compiled.kept.lock().bytes, 4 * each);
    }
}
