//! What parameters, refusals and members that occur everywhere are called, and what they look like.

/// Name, description, and an example (empty: none helps).
pub(super) const PARAMETERS: &[(&str, &str, &str)] = &[
    (
        "tenant",
        "the tenant, by id or external id: with an operator key, or a key for several tenants",
        "ten_0197e7a1b2c37d4e8f90a1b2c3d4e5f6",
    ),
    ("id", "its id, as it was answered when it was made", ""),
    ("key_id", "the key's id, as it was answered when it was made", "key_0197e7a1b2c37d4e8f90a1b2c3d4e5f6"),
    ("name", "its name", ""),
    ("limit", "members of a page: 1 to 200, 50 when absent", "50"),
    ("cursor", "the page before's `next_cursor`; absent: the first page", ""),
    (
        "If-Match",
        "the ETag that a read gave: the edit is refused with 412 if somebody else edited since; absent: no check",
        "",
    ),
    (
        "Idempotency-Key",
        "1 to 256 visible characters of your own; the same again means the same request, not another",
        "order-4711-paid",
    ),
    ("type", "events of this type only", "email.bounced"),
    ("event_type", "events of this type only", "email.bounced"),
    ("endpoint_id", "of this endpoint only", "ep_0197e7a1b2c37d4e8f90a1b2c3d4e5f6"),
    ("event_id", "of this event only", "evt_0197e7a1b2c37d4e8f90a1b2c3d4e5f6"),
    ("status", "with this status only", ""),
    ("status_code", "whose last attempt was answered so", "503"),
    ("test", "test calls only, or none of them", "false"),
    ("from", "at or after this", "2026-01-02T00:00:00Z"),
    ("to", "before this", "2026-01-03T00:00:00Z"),
];

/// Status, its phrase, when it is answered, and an example's detail.
pub(super) type Refusal = (u16, &'static str, &'static str, &'static str);

/// How operations refuse.
pub(super) const REFUSALS: &[Refusal] = &[
    (
        400,
        "Bad Request",
        "The body cannot be read.",
        "the body is not valid JSON: a value is expected (line 1 column 1)",
    ),
    (401, "Unauthorized", "No key was sent, or one that nobody has.", "send a key: `Authorization: Bearer <key>`"),
    (403, "Forbidden", "The key may not do this.", "this takes a key with the scope `manage`"),
    (404, "Not Found", "There is no such thing, or it is another tenant's.", "no such endpoint"),
    (409, "Conflict", "It contradicts what is there.", "the id belongs to another event"),
    (
        412,
        "Precondition Failed",
        "`If-Match` names another version than the current one.",
        "If-Match names another version than the current one, \"v7\"; read it again",
    ),
    (413, "Payload Too Large", "The body is larger than allowed.", "a request body has at most 262144 bytes"),
    (415, "Unsupported Media Type", "The body is not JSON.", "send the body as application/json"),
    (
        422,
        "Unprocessable Entity",
        "A field is wrong: `errors` says which, by a JSON pointer into the body, or by the name of a parameter or header.",
        "/url: only https is allowed",
    ),
    (
        429,
        "Too Many Requests",
        "The tenant publishes, asks or changes too much; nothing was done.",
        "the tenant may publish 100 events a second",
    ),
    (
        503,
        "Service Unavailable",
        "The database or the broker is away, or too much waits; nothing is known about the request, so repeat it.",
        "the database is not available",
    ),
];

/// Members by name, where their schema has no example of its own: JSON, or a text.
pub(super) const VALUES: &[(&str, &str)] = &[
    ("actual", "\"b2\""),
    ("attributes", r#"{"bridge": "b1"}"#),
    ("body", r#""{\"type\":\"email.bounced\"}""#),
    ("body_excerpt", r#""{}""#),
    ("check", "filters.bridge"),
    ("channels", r#"["web"]"#),
    ("delivery_id", "dlv_0197e7a1b2c3548e8f90a1b2c3d4e5f6"),
    ("description", "Bounces of the newsletter"),
    ("detail", "not a URL"),
    ("endpoint_id", "ep_0197e7a1b2c37d4e8f90a1b2c3d4e5f6"),
    ("event_id", "evt_0197e7a1b2c37d4e8f90a1b2c3d4e5f6"),
    ("event_type", "email.bounced"),
    ("expected", r#"["b1"]"#),
    ("filters", r#"{"bridge": ["b1"]}"#),
    ("generation", "first"),
    ("lane", "live"),
    ("message_id", "null"),
    ("name", "bounces"),
    ("next_cursor", "null"),
    ("origin", "api"),
    ("outcome", "success"),
    ("pointer", "/url"),
    ("previous_secrets_until", r#"["2026-01-03T03:04:05Z"]"#),
    ("profile", "standard"),
    ("public_key", "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="),
    ("reason", "no such tenant"),
    ("requeued_at", "null"),
    ("routing_key", "ten_0197e7a1b2c37d4e8f90a1b2c3d4e5f6.email.bounced"),
    ("send_id", "0197e7a1b2c37d4e8f90a1b2c3d4e5f6"),
    ("source", "postrider.intake"),
    ("specversion", "1.0"),
    ("status", "delivered"),
    ("tenant_id", "ten_0197e7a1b2c37d4e8f90a1b2c3d4e5f6"),
    ("title", "Unprocessable Entity"),
    ("trigger", "first"),
    ("type", "email.bounced"),
    ("url", "https://example.com/hooks"),
    ("value", "application/json"),
    ("warnings", "[]"),
];
