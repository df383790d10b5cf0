//! The problems that a route can answer with, as components of the OpenAPI document.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{OpenApi, Ref, RefOr};
use utoipa::{IntoResponses, Modify};

/// A refusal: its status, its title, when an operation answers with it, and the detail of its example.
struct Refusal(u16, &'static str, &'static str, &'static str);

const REFUSALS: &[Refusal] = &[
    Refusal(
        400,
        "Bad Request",
        "The body cannot be read.",
        "the body is not valid JSON: a value is expected (line 1 column 1)",
    ),
    Refusal(
        401,
        "Unauthorized",
        "The request has no key, or an unknown one.",
        "send a key: `Authorization: Bearer <key>`",
    ),
    Refusal(
        403,
        "Forbidden",
        "The key's scopes do not allow this operation.",
        "this requires a key with the scope `manage`",
    ),
    Refusal(404, "Not Found", "The object does not exist, or it belongs to another tenant.", "no such endpoint"),
    Refusal(
        409,
        "Conflict",
        "The request contradicts the current state, such as a retry of a delivery that is being attempted.",
        "the id belongs to another event",
    ),
    Refusal(
        412,
        "Precondition Failed",
        "`If-Match` names another version than the current one.",
        "If-Match names another version than the current one, \"v7\"; read it again",
    ),
    Refusal(413, "Payload Too Large", "The body is larger than allowed.", "a request body has at most 262144 bytes"),
    Refusal(415, "Unsupported Media Type", "The body is not JSON.", "send the body as application/json"),
    Refusal(
        422,
        "Unprocessable Entity",
        "A field is wrong: `errors` names it by a JSON pointer into the body, or by the name of a parameter or header.",
        "/url: only https is allowed",
    ),
    Refusal(
        429,
        "Too Many Requests",
        "The tenant exceeds a limit on its events, requests or edits. Nothing was done.",
        "the tenant may publish 100 events a second",
    ),
    Refusal(
        503,
        "Service Unavailable",
        "The database or the broker is not available, or too many deliveries wait. Whether the request took effect is unknown: \
         repeat it.",
        "the database is not available",
    ),
];

impl Refusal {
    /// The component's name: the title as one word.
    fn name(&self) -> String {
        self.1.replace(' ', "")
    }

    fn response(&self) -> Response {
        let Self(status, title, description, detail) = self;
        let mut problem = json!({"type": "about:blank", "title": title, "status": status, "detail": detail});
        if *status == 422 {
            let (pointer, wrong) = detail.split_once(": ").unwrap_or_default();
            problem["errors"] = Value::from(vec![json!({"pointer": pointer, "detail": wrong})]);
        }
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).example(Some(problem));
        let response = ResponseBuilder::new().description(*description).content(CONTENT_TYPE, content.build());
        if !matches!(status, 429 | 503) {
            return response.build();
        }
        let seconds = ObjectBuilder::new().schema_type(Type::Integer);
        let after = HeaderBuilder::new().schema(Some(seconds)).description(Some("Seconds after which to try again."));
        response.header("Retry-After", after.build()).build()
    }
}

const CONTENT_TYPE: &str = "application/problem+json";

/// Adds the refusals to the document's components.
pub(crate) struct Components;

impl Modify for Components {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_default();
        for refusal in REFUSALS {
            components.responses.insert(refusal.name(), RefOr::T(refusal.response()));
        }
    }
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident: $($status:literal)+;)+) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                references(&[$($status),+])
            }
        }
    )+};
}

fn references(statuses: &[u16]) -> BTreeMap<String, RefOr<Response>> {
    let refusals = REFUSALS.iter().filter(|refusal| statuses.contains(&refusal.0));
    refusals.map(|refusal| (refusal.0.to_string(), Ref::from_response_name(refusal.name()).into())).collect()
}

refusals! {
    /// Refusals of every operation.
    Refused: 401 403 404 422 429 503;
    /// Refusals of an operation that has a request body.
    BadBody: 400 413 415;
    /// Refusals of an operation that accepts an `Idempotency-Key`.
    KeyInUse: 400 409 413;
    /// The refusal of a request that contradicts the current state.
    Conflict: 409;
    /// The refusal of a request whose `If-Match` names another version than the current one.
    Stale: 412;
}
