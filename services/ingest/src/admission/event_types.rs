//! The event types that a tenant defines, and the schemas for the data of these types.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use postrider_model::event::EventType;

/// The event types that one tenant defines.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventTypes(HashMap<EventType, Definition>);

/// What a tenant defines about an event type.
#[derive(Debug, Clone)]
struct Definition {
    /// The schema, if the tenant enforces one.
    schema: Option<Arc<Schema>>,
    /// The time after which events of the type expire, unless they state another expiry.
    ttl: Option<Duration>,
}

/// A schema as the tenant wrote it.
#[derive(Debug)]
pub(crate) struct Schema {
    /// The number of the schema in this process. An edited schema gets a new number.
    pub(crate) id: u64,
    pub(crate) text: String,
}

impl Schema {
    fn new(text: String) -> Arc<Self> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self { id: LAST.fetch_add(1, Ordering::Relaxed), text })
    }
}

impl EventTypes {
    /// Adds or replaces an event type. `schema` is `None` if the tenant enforces no schema for the type, and `ttl_seconds` if
    /// the type has no default expiry.
    pub(crate) fn set(&mut self, name: EventType, schema: Option<String>, ttl_seconds: Option<u32>) {
        let before = self.0.remove(&name).and_then(|before| before.schema);
        let schema = schema.map(|text| match before {
            Some(before) if before.text == text => before,
            _ => Schema::new(text),
        });
        self.0.insert(name, Definition { schema, ttl: ttl_seconds.map(|ttl| Duration::from_secs(ttl.into())) });
    }

    pub(crate) fn remove(&mut self, name: &EventType) {
        self.0.remove(name);
    }

    /// Whether the tenant defines this type.
    pub(crate) fn has(&self, name: &EventType) -> bool {
        self.0.contains_key(name)
    }

    /// Returns the schema that the tenant enforces for this type.
    pub(crate) fn schema(&self, name: &EventType) -> Option<&Arc<Schema>> {
        self.0.get(name)?.schema.as_ref()
    }

    /// Returns the time after which events of this type expire, unless they state another expiry.
    pub(crate) fn ttl(&self, name: &EventType) -> Option<Duration> {
        self.0.get(name)?.ttl
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_edit_makes_another_schema() {
        let mut types = EventTypes::default();
        let name: EventType = "a.b".parse().unwrap();
        let id = |types: &EventTypes| types.schema(&"a.b".parse().unwrap()).map(|schema| schema.id);
        types.set(name.clone(), Some("true".into()), None);
        let first = id(&types);
        types.set(name.clone(), Some("true".into()), Some(60));
        assert_eq!((id(&types), types.ttl(&name)), (first, Some(Duration::from_secs(60))));
        types.set(name.clone(), Some("false".into()), None);
        assert_ne!(id(&types), first);
        types.set(name.clone(), None, None);
        assert!(id(&types).is_none() && types.has(&name));
        types.remove(&name);
        assert!(!types.has(&name));
    }
}
