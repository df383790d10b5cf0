//! A tenant's catalog as an OpenAPI or AsyncAPI document, for code generators and API portals.

use std::sync::Arc;

use postrider_model::scope::Scope;
use postrider_profiles::{Profile, Source, TimestampFormat};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::sample::SampledEventType;
use crate::{Caller, Error, Operations};

/// A format of the exported catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CatalogFormat {
    /// OpenAPI 3.1: each event type is an entry of `webhooks`.
    #[default]
    Openapi,
    /// AsyncAPI 3.0: each event type is a message of one channel.
    Asyncapi,
}

impl Operations {
    /// Returns the catalog of the caller's tenant as a document.
    ///
    /// # Errors
    /// Requires the scope `read`. [`Error::TooMany`] while another export of the tenant runs.
    pub async fn export_catalog(&self, caller: Caller, format: CatalogFormat) -> Result<Value, Error> {
        let tenant = self.stored_tenant(caller.tenant(Scope::Read)?).await?;
        let profile = Arc::clone(self.profile(&tenant.draft.profile)?);
        let own = self.defined_event_types(tenant.id).await?;
        let export = move || {
            let mut types = super::merge(&profile, own, None, None)
                .filter_map(|(name, own)| SampledEventType::of(&profile, &name, own))
                .collect::<Vec<_>>();
            types.sort_by(|a, b| a.event_type.name.cmp(&b.event_type.name));
            let title = format!("Webhooks of {}", tenant.draft.name);
            let info = json!({"title": title, "version": "1", "description": profile.description});
            match format {
                CatalogFormat::Openapi => openapi(&profile, &types, &info),
                CatalogFormat::Asyncapi => asyncapi(&profile, &types, &info),
            }
        };
        self.heavy.export(tenant.id, export).await
    }
}

/// The name of a type on the wire.
fn wire_name(of: &SampledEventType) -> &str {
    of.event_type.wire_name.as_deref().unwrap_or(&of.event_type.name)
}

/// The example of a body: the rendered sample.
fn example(of: &SampledEventType) -> Option<Value> {
    of.body.as_deref().and_then(|body| serde_json::from_str(body).ok())
}

fn openapi(profile: &Profile, types: &[SampledEventType], info: &Value) -> Value {
    let headers = headers(profile);
    let parameters: Vec<Value> = (headers.iter())
        .map(|(name, text)| json!({"name": name, "in": "header", "description": text, "schema": {"type": "string"}}))
        .collect();
    let webhook = |of: &SampledEventType| {
        let mut content = json!({"schema": body_schema(profile, of)});
        if let Some(example) = example(of) {
            content["example"] = example;
        }
        let mut post = json!({
            "summary": of.event_type.name,
            "description": of.event_type.description,
            "parameters": parameters,
            "requestBody": {"required": true, "content": {"application/json": content}},
            "responses": {"2XX": {"description": "Delivered. Any other status is a failure."}},
        });
        if let Some(group) = &of.event_type.group {
            post["tags"] = json!([group]);
        }
        json!({"post": post})
    };
    let webhooks: Map<String, Value> = types.iter().map(|of| (of.event_type.name.clone(), webhook(of))).collect();
    json!({"openapi": "3.1.0", "info": info, "webhooks": webhooks})
}

fn asyncapi(profile: &Profile, types: &[SampledEventType], info: &Value) -> Value {
    let headers: Map<String, Value> = (headers(profile).into_iter())
        .map(|(name, text)| (name, json!({"type": "string", "description": text})))
        .collect();
    let message = |of: &SampledEventType| {
        let mut message = json!({
            "name": wire_name(of),
            "title": of.event_type.name,
            "summary": of.event_type.description,
            "contentType": "application/json",
            "headers": {"type": "object", "properties": headers},
            "payload": body_schema(profile, of),
        });
        if let Some(example) = example(of) {
            message["examples"] = json!([{"payload": example}]);
        }
        message
    };
    let messages: Map<String, Value> = types.iter().map(|of| (of.event_type.name.clone(), message(of))).collect();
    json!({
        "asyncapi": "3.0.0",
        "info": info,
        "defaultContentType": "application/json",
        "channels": {"webhook": {
            "address": null,
            "description": "The URL of an endpoint: each delivery is a POST.",
            "messages": messages,
        }},
        "operations": {"deliver": {"action": "send", "channel": {"$ref": "#/channels/webhook"}}},
    })
}

/// The headers that identify and sign a delivery, with descriptions.
fn headers(profile: &Profile) -> Vec<(String, &'static str)> {
    let standard = [
        ("webhook-id", "The event's id, the same for every attempt."),
        ("webhook-timestamp", "When this attempt was made, in seconds since 1970."),
        ("webhook-signature", "Signatures of id, timestamp and body, as in Standard Webhooks."),
    ];
    let standard = standard.into_iter().filter(|_| profile.standard_headers);
    let own = profile.signature.iter().map(|scheme| (scheme.header.clone(), "The product's signature of the body."));
    standard.map(|(name, text)| (name.to_owned(), text)).chain(own).collect()
}

/// The JSON Schema of a body: the profile's envelope around the schema of `data`.
fn body_schema(profile: &Profile, of: &SampledEventType) -> Value {
    let (mut properties, mut required, mut flattened) = (Map::new(), Vec::new(), Vec::new());
    for field in &profile.envelope {
        if matches!(field.source, Source::FlattenData { .. }) {
            let mut schema = data_schema(of);
            // The body also has the envelope's fields, which the schema of `data` does not contain.
            if let Value::Object(schema) = &mut schema {
                schema.remove("additionalProperties");
                schema.remove("unevaluatedProperties");
            }
            flattened.push(schema);
            continue;
        }
        properties.insert(field.name.clone(), value_schema(&field.source, of));
        let always =
            matches!(field.source, Source::Type | Source::WireType | Source::Id | Source::Timestamp(_) | Source::Data);
        if always || field.required {
            required.push(field.name.clone());
        }
    }
    let mut schema = json!({"type": "object", "properties": properties, "required": required});
    if !flattened.is_empty() {
        schema["allOf"] = Value::Array(flattened);
    }
    schema
}

fn value_schema(source: &Source, of: &SampledEventType) -> Value {
    match source {
        Source::Type => json!({"const": of.event_type.name}),
        Source::WireType => json!({"const": wire_name(of)}),
        Source::Id | Source::Attribute(_) => json!({"type": "string"}),
        Source::Timestamp(TimestampFormat::IsoMs | TimestampFormat::IsoS) => {
            json!({"type": "string", "format": "date-time"})
        }
        Source::Timestamp(TimestampFormat::UnixS | TimestampFormat::UnixMs) => json!({"type": "integer"}),
        Source::Data | Source::FlattenData { .. } => data_schema(of),
        Source::Metadata => json!({"type": "object"}),
        Source::MetadataMember(_) => json!(true),
    }
}

/// Returns the tenant's schema of `data`, or a schema of any object if the tenant has none.
fn data_schema(of: &SampledEventType) -> Value {
    let schema = of.event_type.schema.as_ref().and_then(|schema| serde_json::from_str(schema.get()).ok());
    match schema {
        Some(Value::Object(mut schema)) => {
            // An id makes the schema a separate resource, so that its references, such as `#/$defs/line`, are resolved within it.
            schema.entry("$id").or_insert_with(|| json!(format!("urn:event-type:{}", urlencoded(&of.event_type.name))));
            Value::Object(schema)
        }
        Some(schema) => schema,
        None => json!({"type": "object"}),
    }
}

/// A name as a part of a URN.
fn urlencoded(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes()).collect()
}
