//! Profiles: what deliveries look like.

use std::collections::BTreeMap;
use std::sync::Arc;

use postrider_model::brand::Brand;
use postrider_model::endpoint::Channel;
use postrider_model::endpoint::UrlRule;
use postrider_model::scope::Scope;
use postrider_model::subscription::MatchKind;
use postrider_profiles::{Language, Profile as LoadedProfile};
use postrider_store::config::Tenant as StoredTenant;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::page::List;
use crate::{Caller, Error, Operations};

/// A profile: everything that makes deliveries look like the deliveries of one product.
#[derive(Debug, Serialize, ToSchema)]
pub struct Profile {
    /// Its name.
    #[schema(example = "standard")]
    pub name: String,
    /// A description in one sentence.
    #[schema(example = "Standard Webhooks")]
    pub description: String,
    /// The event types that the product documents.
    pub event_types: Vec<EventTypeInfo>,
    /// Whether events of other types are accepted too.
    pub open_catalog: bool,
    /// How filters on each attribute match: `exact`, `domain` or `ip`.
    #[schema(example = json!({"bridge": "exact"}))]
    pub attributes: BTreeMap<String, &'static str>,
    /// Whether endpoints may have `http` URLs.
    pub http_allowed: bool,
    /// The delays between attempts, in seconds.
    pub retry_schedule_seconds: Vec<u32>,
    /// The timeout of an attempt, in seconds.
    pub timeout_seconds: f64,
    /// Maximum wait in seconds that a response can request with `Retry-After`. A longer wait is shortened to this maximum.
    pub retry_after_seconds_max: f64,
    /// Default rate of an endpoint, attempts per second; absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<f64>,
    /// The product's own signature header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature_header: Option<String>,
    /// Whether `webhook-id`, `webhook-timestamp` and `webhook-signature` are sent.
    pub standard_headers: bool,
    /// The channels that its endpoints may have.
    pub channels: Vec<Channel>,
    /// The times within which the product promises the first attempt; absent: it promises none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promise: Option<PromisedTimes>,
    /// What the dashboard shows of the product.
    #[serde(skip_serializing_if = "Brand::is_empty")]
    pub brand: Brand,
}

/// The times within which a product promises the first attempt of a delivery.
#[derive(Debug, Serialize, ToSchema)]
pub struct PromisedTimes {
    /// Within 5 s of the acceptance of the event.
    pub within_5s: bool,
    /// Within 30 s of the acceptance of the event.
    pub within_30s: bool,
}

/// An event type of a catalog.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventTypeInfo {
    /// Its name.
    #[schema(example = "email.bounced")]
    pub name: String,
    /// The name of the type in the bodies of deliveries, if it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wire_name: Option<String>,
    /// A description in one sentence.
    #[schema(example = "A message bounced")]
    pub description: String,
    /// An example of `data`.
    #[schema(value_type = serde_json::Value, example = json!({"email": "recipient@example.com"}))]
    pub sample: Box<RawValue>,
}

impl From<&LoadedProfile> for Profile {
    fn from(profile: &LoadedProfile) -> Self {
        let event_types = profile.catalog.iter().map(|info| EventTypeInfo {
            name: info.name.to_string(),
            wire_name: info.wire_name.clone(),
            description: info.description.clone(),
            sample: info.sample.clone(),
        });
        let kind = |kind: &MatchKind| match kind {
            MatchKind::Exact => "exact",
            MatchKind::Domain => "domain",
            MatchKind::Ip => "ip",
        };
        Self {
            name: profile.name.clone(),
            description: profile.description.clone(),
            event_types: event_types.collect(),
            open_catalog: profile.open_catalog,
            attributes: profile.attributes.iter().map(|(name, how)| (name.clone(), kind(how))).collect(),
            http_allowed: profile.url_rule == UrlRule::HttpAllowed,
            retry_schedule_seconds: profile.retry_schedule.seconds().to_vec(),
            timeout_seconds: profile.timeout.as_secs_f64(),
            retry_after_seconds_max: profile.retry_after_max.as_secs_f64(),
            rate_per_second: profile.rate_per_second,
            signature_header: profile.signature.as_ref().map(|scheme| scheme.header.clone()),
            standard_headers: profile.standard_headers,
            channels: profile.channels.clone(),
            promise: Some(profile.promise)
                .filter(|promise| promise.is_made())
                .map(|promise| PromisedTimes { within_5s: promise.within_5s, within_30s: promise.within_30s }),
            brand: profile.brand.clone(),
        }
    }
}

impl Operations {
    /// Lists all profiles; for a tenant, only the tenant's profile. Requires the scope `read`.
    pub async fn list_profiles(&self, caller: Caller) -> Result<List<Profile>, Error> {
        match caller.visible(Scope::Read)? {
            None => Ok(List::whole(self.profiles.iter().map(|profile| Profile::from(profile.as_ref())))),
            Some(tenant) => {
                let tenant = self.stored_tenant(tenant).await?;
                Ok(List::whole([Profile::from(self.profile(&tenant.draft.profile)?.as_ref())]))
            }
        }
    }

    /// Returns the brand of a deployment with one product: the brand that all profiles with a brand have. Returns `None` if these
    /// profiles have different brands, and the empty brand if no profile has a brand.
    pub fn deployment_brand(&self) -> Option<&Brand> {
        static NO_BRAND: Brand = Brand::NONE;
        let mut brands = self.profiles.iter().map(|profile| &profile.brand).filter(|brand| !brand.is_empty());
        let Some(first) = brands.next() else { return Some(&NO_BRAND) };
        brands.all(|other| other == first).then_some(first)
    }

    /// Returns the brand that a tenant's pages show: the tenant's brand, with the profile's values in the fields that the tenant
    /// does not set.
    ///
    /// # Errors
    /// [`Error::Internal`] when the profile is not loaded.
    pub fn brand_of(&self, tenant: &StoredTenant) -> Result<Brand, Error> {
        let profile = self.profile(&tenant.draft.profile)?;
        Ok(tenant.draft.brand.clone().over(&profile.brand))
    }

    /// Returns the language that a brand names; `None` for a brand without a language, and for a language that is no longer
    /// loaded.
    pub fn language_of(&self, brand: &Brand) -> Option<&Arc<Language>> {
        self.profiles.languages().get(brand.language.as_deref()?)
    }

    /// The names of all profiles.
    pub fn profile_names(&self) -> impl Iterator<Item = &str> {
        self.profiles.names()
    }
}
