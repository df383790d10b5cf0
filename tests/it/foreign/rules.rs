//! The key that each operation of the API requires, and a valid body.
//!
//! An operation without a rule here fails the walk: add a rule that says who may call it.

use Access::{Manage, Operator, Publish, Read};

/// The required key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// A tenant's, with this scope.
    Publish,
    Read,
    Manage,
    /// An operator's.
    Operator,
}

impl Access {
    /// The scope, if a tenant's key is sufficient.
    pub(super) fn scope(self) -> Option<&'static str> {
        match self {
            Publish => Some("publish"),
            Read => Some("read"),
            Manage => Some("manage"),
            Operator => None,
        }
    }
}

/// Method and path as in the document, the required key, and a valid body (empty: none is sent).
pub(super) const RULES: &[(&str, &str, Access, &str)] = &[
    ("post", "/v1/publish", Publish, r#"{"type": "a.b", "data": {}}"#),
    ("post", "/v1/publish/batch", Publish, r#"{"events": [{"type": "a.b", "data": {}}]}"#),
    ("get", "/v1/tenants", Operator, ""),
    ("post", "/v1/tenants", Operator, r#"{"name": "third", "profile": "standard"}"#),
    ("get", "/v1/tenants/{id}", Read, ""),
    ("patch", "/v1/tenants/{id}", Operator, r#"{"name": "taken over"}"#),
    ("delete", "/v1/tenants/{id}", Operator, ""),
    ("get", "/v1/tenants/{id}/usage", Read, ""),
    ("get", "/v1/tenants/{id}/keys", Read, ""),
    ("post", "/v1/tenants/{id}/keys", Manage, r#"{"name": "stolen", "scopes": ["manage"]}"#),
    ("delete", "/v1/tenants/{id}/keys/{key_id}", Manage, ""),
    ("post", "/v1/tenants/{id}/portal-links", Manage, "{}"),
    ("delete", "/v1/tenants/{id}/portal-sessions", Manage, ""),
    ("get", "/v1/keys", Operator, ""),
    ("post", "/v1/keys", Operator, r#"{"name": "all", "scopes": ["publish"], "tenants": "all"}"#),
    ("delete", "/v1/keys/{key_id}", Operator, ""),
    ("get", "/v1/endpoints", Read, ""),
    ("post", "/v1/endpoints", Manage, r#"{"name": "n", "url": "https://example.com/", "event_types": ["*"]}"#),
    ("get", "/v1/endpoints/{id}", Read, ""),
    ("patch", "/v1/endpoints/{id}", Manage, r#"{"name": "taken over"}"#),
    ("delete", "/v1/endpoints/{id}", Manage, ""),
    ("post", "/v1/endpoints/{id}/test", Manage, "{}"),
    ("post", "/v1/endpoints/{id}/rotate-secret", Manage, "{}"),
    ("post", "/v1/endpoints/{id}/recover", Manage, r#"{"since": "2026-01-01T00:00:00Z", "dry_run": true}"#),
    ("post", "/v1/endpoints/{id}/skip-paused", Manage, ""),
    ("get", "/v1/endpoints/{id}/held-keys", Read, ""),
    ("post", "/v1/endpoints/{id}/held-keys/release", Manage, r#"{"key": "k", "action": "skip"}"#),
    ("get", "/v1/endpoints/{id}/stats", Read, ""),
    ("get", "/v1/endpoints/{id}/stats/failures", Read, ""),
    ("get", "/v1/stats", Read, ""),
    ("get", "/v1/stats/failures", Read, ""),
    ("get", "/v1/attributes/{name}", Read, ""),
    ("get", "/v1/catalog", Read, ""),
    ("get", "/v1/events", Read, ""),
    ("get", "/v1/events/{id}", Read, ""),
    ("get", "/v1/events/{id}/explain", Read, ""),
    ("delete", "/v1/events/{id}/payload", Manage, ""),
    ("get", "/v1/deliveries", Read, ""),
    ("post", "/v1/deliveries/retry", Manage, r#"{"filter": {}}"#),
    ("post", "/v1/deliveries/cancel", Manage, r#"{"filter": {}}"#),
    ("get", "/v1/deliveries/{id}", Read, ""),
    ("post", "/v1/deliveries/{id}/retry", Manage, ""),
    ("post", "/v1/deliveries/{id}/cancel", Manage, ""),
    ("get", "/v1/replays", Read, ""),
    ("post", "/v1/replays", Manage, r#"{"dry_run": true}"#),
    ("get", "/v1/replays/{id}", Read, ""),
    ("post", "/v1/replays/{id}/pause", Manage, ""),
    ("post", "/v1/replays/{id}/resume", Manage, ""),
    ("post", "/v1/replays/{id}/cancel", Manage, ""),
    ("get", "/v1/erasures", Read, ""),
    ("post", "/v1/erasures", Manage, r#"{"value": "belongs-to-nobody", "dry_run": true}"#),
    ("get", "/v1/erasures/{id}", Read, ""),
    ("post", "/v1/erasures/{id}/cancel", Manage, ""),
    ("get", "/v1/event-types", Read, ""),
    ("get", "/v1/event-types/{name}", Read, ""),
    ("put", "/v1/event-types/{name}", Manage, r#"{"description": "taken over"}"#),
    ("delete", "/v1/event-types/{name}", Manage, ""),
    ("get", "/v1/profiles", Read, ""),
    ("get", "/v1/dead-letters", Operator, ""),
    ("get", "/v1/dead-letters/{id}", Operator, ""),
    ("post", "/v1/dead-letters/{id}/requeue", Operator, ""),
    ("post", "/v1/dead-letters/requeue", Operator, r#"{"ids": ["1"]}"#),
    ("post", "/v1/dead-letters/discard", Operator, r#"{"ids": ["1"]}"#),
    ("get", "/v1/audit-log", Read, ""),
    ("get", "/v1/system", Operator, ""),
    ("get", "/v1/system/trouble", Operator, ""),
];

/// Parameters and members with an id, and the kind of object.
pub(super) const IDS: &[(&str, Noun)] = &[
    ("tenant", Noun::Tenant),
    ("tenant_id", Noun::Tenant),
    ("endpoint_id", Noun::Endpoint),
    ("event_id", Noun::Event),
    ("delivery_id", Noun::Delivery),
    ("origin_id", Noun::Delivery),
    ("replay_id", Noun::Replay),
    ("key_id", Noun::Key),
];

/// Members with names like ids that the caller chooses, or that only operators may send.
pub(super) const MADE_UP: &[&str] = &["id", "ids", "external_id", "chat_id"];

/// Query parameters that cannot name an object. (`cursor` and attribute filters have their own checks.)
pub(super) const HARMLESS: &[&str] = &[
    "limit",
    "format",
    "cursor",
    "type",
    "group",
    "status",
    "status_code",
    "phase",
    "sort",
    "payload",
    "outcome",
    "order",
    "failed_attempts",
    "from",
    "to",
    "test",
    "interval",
    "resolution",
    "by",
    "q",
    // Parameters of the operator's lists.
    "state",
    "reason",
    "source",
    // Parameters of the audit log, which only filter what the caller may see.
    "action",
    "actor",
    "target",
];

/// Reads with responses that change by themselves. They are not compared before and after.
pub(super) const CHANGES_BY_ITSELF: &[&str] = &[
    "/v1/stats",
    "/v1/stats/failures",
    "/v1/endpoints/{id}/stats",
    "/v1/endpoints/{id}/stats/failures",
    "/v1/tenants/{id}/usage",
    "/v1/system",
];

/// The kind of object of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Noun {
    Tenant,
    Key,
    Endpoint,
    Event,
    Delivery,
    Replay,
    Erasure,
    DeadLetter,
    EventType,
    Attribute,
}

/// The kind of object of a path parameter.
pub(super) fn noun_of(path: &str, parameter: &str) -> Noun {
    if let Some((_, noun)) = IDS.iter().find(|(name, _)| *name == parameter) {
        return *noun;
    }
    match path.split('/').nth(2) {
        Some("tenants") => Noun::Tenant,
        Some("endpoints") => Noun::Endpoint,
        Some("events") => Noun::Event,
        Some("deliveries") => Noun::Delivery,
        Some("replays") => Noun::Replay,
        Some("erasures") => Noun::Erasure,
        Some("dead-letters") => Noun::DeadLetter,
        Some("event-types") => Noun::EventType,
        Some("attributes") => Noun::Attribute,
        _ => panic!("{path}: nothing says what {{{parameter}}} is; add it to IDS or here"),
    }
}
