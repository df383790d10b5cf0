//! How an endpoint is reached, and the kind of key that signs its deliveries.

use serde::{Deserialize, Serialize};

use crate::text::names;

/// How deliveries reach an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// An HTTP POST to the endpoint's URL.
    #[default]
    Web,
    /// A message to a Pushover user. Only for profiles whose `channels` include it.
    Pushover,
}
names!(Channel { Web => "web", Pushover => "pushover" });

/// The order of a list of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EndpointOrder {
    /// Newest first.
    #[default]
    Newest,
    /// By trouble: disabled by Postrider; failing; 1 to 4 failures in a row; no failures; inactive. Within each group, newest
    /// first.
    Trouble,
    /// By name. Upper and lower case are equal.
    Name,
}
names!(EndpointOrder { Newest => "newest", Trouble => "trouble", Name => "name" });

/// The kind of key that makes `webhook-signature`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SignatureKey {
    /// HMAC-SHA256 with the shared secret (`v1`).
    #[default]
    Hmac,
    /// Ed25519 with a key pair (`v1a`): the receiver holds the public key. Only for profiles whose only signature is
    /// `webhook-signature`.
    Ed25519,
}
names!(SignatureKey { Hmac => "hmac", Ed25519 => "ed25519" });

/// The schemes that endpoint URLs may have, in addition to the deployment's rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UrlRule {
    /// Only `https`.
    HttpsOnly,
    /// `http` is allowed; `https` is recommended.
    HttpAllowed,
}
