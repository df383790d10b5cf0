//! Event types: a tenant's catalog, made of its profile's types and its own definitions.

mod definition;
mod export;
mod sample;

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postrider_model::event::EventType as Name;
use postrider_model::ids::TenantId;
use postrider_model::scope::Scope;
use postrider_model::timestamp::Timestamp;
use postrider_profiles::{EventTypeInfo, Profile};
use postrider_store::StoreError;
use postrider_store::config::{EventTypePage, TenantEventType};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::error::parse_id;
use crate::page::{List, PageQuery, cursor_of, place_in};
use crate::{Caller, Error, Operations};

pub use definition::PutEventType;
pub use export::CatalogFormat;
pub use sample::SampledEventType;
pub(crate) use sample::{SAMPLE_ID, SAMPLED_AT};

/// The name of the list of event types in cursors.
const LIST: &str = "event_types";

/// Who defined an event type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The profile; the tenant may override its description, sample and schema.
    Profile,
    /// The tenant alone.
    Tenant,
}

/// An event type of the tenant's catalog.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "name": "order.paid", "group": "order", "source": "tenant", "description": "An order was paid",
    "sample": {"order": "4711", "amount": 42}, "schema": {"type": "object", "required": ["order"]}, "version": 7,
    "created_at": "2026-01-02T03:04:05.006Z", "updated_at": "2026-01-02T03:04:05.006Z",
}))]
pub struct EventType {
    /// Its name.
    pub name: String,
    /// The part of the name before its first dot; absent if the name has no dot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Who defined the type.
    pub source: Source,
    /// The name of the type in the bodies of deliveries, if it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wire_name: Option<String>,
    /// A description; may be empty.
    pub description: String,
    /// An example of `data`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = serde_json::Value, required = false)]
    pub sample: Option<Box<RawValue>>,
    /// The JSON Schema of `data`, unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = serde_json::Value, required = false)]
    pub schema: Option<Box<RawValue>>,
    /// The number of seconds after which events of this type expire, unless they state another expiry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u32>,
    /// The version of the tenant's definition; its ETag is `"v<version>"`. The version and the times are absent if the tenant has
    /// not defined the type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// When the tenant defined it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When the tenant last changed its definition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
}

impl EventType {
    /// Merges the profile's type with the tenant's definition of it. `None` if both are missing.
    fn of(profile: Option<&EventTypeInfo>, own: Option<TenantEventType>) -> Option<Self> {
        let name = profile.map(|info| &info.name).or(own.as_ref().map(|own| &own.name))?.to_string();
        let draft = own.as_ref().map(|own| own.draft.clone()).unwrap_or_default();
        let raw = |text: Option<String>| text.and_then(|text| RawValue::from_string(text).ok());
        let description = draft.description.or_else(|| profile.map(|info| info.description.clone()));
        Some(Self {
            group: name.split_once('.').map(|(group, _)| group.to_owned()),
            name,
            source: if profile.is_some() { Source::Profile } else { Source::Tenant },
            wire_name: profile.and_then(|info| info.wire_name.clone()),
            description: description.unwrap_or_default(),
            sample: raw(draft.sample).or_else(|| profile.map(|info| info.sample.clone())),
            schema: raw(draft.schema),
            ttl_seconds: draft.ttl_seconds,
            version: own.as_ref().map(|own| own.version),
            created_at: own.as_ref().map(|own| own.created_at.into()),
            updated_at: own.as_ref().map(|own| own.updated_at.into()),
        })
    }
}

/// Returns the names of the profile's types and of the tenant's definitions `own`, sorted, each with the tenant's definition if
/// there is one. Of the profile's types, includes only types of `group` whose names come after `after`. Includes all of `own`.
fn merge(
    profile: &Profile,
    own: Vec<TenantEventType>,
    after: Option<&str>,
    group: Option<&str>,
) -> impl Iterator<Item = (Name, Option<TenantEventType>)> {
    let belongs = |name: &str| {
        let below = |group: &str| name.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        after.is_none_or(|after| name > after) && group.is_none_or(below)
    };
    let named = profile.catalog.iter().filter(|info| belongs(info.name.as_str()));
    let mut page: BTreeMap<Name, Option<TenantEventType>> = named.map(|info| (info.name.clone(), None)).collect();
    page.extend(own.into_iter().map(|own| (own.name.clone(), Some(own))));
    page.into_iter()
}

/// Like [`merge`], but returns event types of the catalog.
fn catalog_page(
    profile: &Profile,
    own: Vec<TenantEventType>,
    after: Option<&str>,
    group: Option<&str>,
) -> impl Iterator<Item = EventType> {
    merge(profile, own, after, group).filter_map(|(name, own)| EventType::of(profile.event_type(name.as_str()), own))
}

/// Returns the names of a tenant's catalog, for error messages.
pub(crate) fn names(profile: &Profile, own: &[Name]) -> String {
    let named = profile.catalog.iter().map(|info| &info.name);
    let added = own.iter().filter(|name| profile.event_type(name.as_str()).is_none());
    named.chain(added).map(Name::as_str).collect::<Vec<_>>().join(", ")
}

/// Reads the last name of the previous page from a cursor.
fn read_cursor(cursor: &str) -> Result<String, Error> {
    let decoded = URL_SAFE_NO_PAD.decode(place_in(LIST, cursor)?).ok();
    let name = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(name.filter(|name| name.parse::<Name>().is_ok()).ok_or(StoreError::InvalidCursor)?)
}

impl Operations {
    async fn profile_of(&self, tenant: TenantId) -> Result<&Arc<Profile>, Error> {
        self.profile(&self.stored_tenant(tenant).await?.draft.profile)
    }

    /// Returns the whole catalog of the caller's tenant, sorted by name. Requires the scope `read`.
    pub async fn catalog(&self, caller: Caller) -> Result<Vec<EventType>, Error> {
        self.whole_catalog(caller.tenant(Scope::Read)?).await
    }

    /// Returns the whole catalog of a tenant, sorted by name.
    pub(crate) async fn whole_catalog(&self, tenant: TenantId) -> Result<Vec<EventType>, Error> {
        let own = self.defined_event_types(tenant).await?;
        Ok(catalog_page(self.profile_of(tenant).await?, own, None, None).collect())
    }

    /// All event types that the tenant defines.
    async fn defined_event_types(&self, tenant: TenantId) -> Result<Vec<TenantEventType>, Error> {
        let (mut own, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = EventTypePage { after: after.as_deref(), group: None, limit: u32::MAX };
            let list = self.store.config().list_event_types(tenant, page).await?;
            own.extend(list.items);
            after = own.last().map(|own: &TenantEventType| own.name.to_string());
            if !list.is_cut {
                return Ok(own);
            }
        }
    }

    /// A page of the catalog, sorted by name. `group` selects the type with this name and the types below it. Requires the scope
    /// `read`.
    pub async fn list_event_types(
        &self,
        caller: Caller,
        group: Option<&Name>,
        page: &PageQuery,
    ) -> Result<List<EventType>, Error> {
        let tenant = caller.tenant(Scope::Read)?;
        let after = page.cursor.as_deref().map(read_cursor).transpose()?;
        let (after, group) = (after.as_deref(), group.map(Name::as_str));
        let profile = self.profile_of(tenant).await?;
        // Reads one more type than the page has, which shows whether another page follows.
        let asked = EventTypePage { after, group, limit: page.limit + 1 };
        let own = self.store.config().list_event_types(tenant, asked).await?;
        let last = own.items.last().filter(|_| own.is_cut).map(|last| last.name.to_string());
        let mut data: Vec<EventType> = catalog_page(profile, own.items, after, group).collect();
        // If the store cut the list of the tenant's types, the page ends at the last type that the store returned.
        data.retain(|event_type| last.as_deref().is_none_or(|last| event_type.name.as_str() <= last));
        let limit = page.limit as usize;
        let more = last.is_some() || data.len() > limit;
        data.truncate(limit);
        let last = data.last().filter(|_| more);
        let next_cursor = last.map(|last| cursor_of(LIST, &URL_SAFE_NO_PAD.encode(&last.name)));
        Ok(List { data, next_cursor })
    }

    /// Reads an event type of the catalog. Requires the scope `read`.
    pub async fn read_event_type(&self, caller: Caller, name: &str) -> Result<EventType, Error> {
        let (tenant, name): (_, Name) = (caller.tenant(Scope::Read)?, parse_id("event type", name)?);
        let named = self.profile_of(tenant).await?.event_type(name.as_str());
        let own = self.store.config().get_event_type(tenant, &name).await?;
        EventType::of(named, own).ok_or(Error::NotFound("event type"))
    }

    /// Defines an event type, or replaces its definition if the definition's version is `expected`. Returns whether it is new.
    ///
    /// # Errors
    /// Requires the scope `manage`. [`Error::Conflict`] if a limit of the tenant is reached.
    pub async fn put_event_type(
        &self,
        caller: Caller,
        name: &str,
        expected: Option<i64>,
        request: PutEventType,
    ) -> Result<(EventType, bool), Error> {
        let tenant = caller.tenant(Scope::Manage)?;
        let name: Name = name.parse().map_err(|error| Error::invalid("name", format!("{error}")))?;
        let named = self.profile_of(tenant).await?.event_type(name.as_str());
        let draft = self.heavy.check_schema(tenant, move || request.check()).await??;
        let saved = self.edits_of(caller)?.config().put_event_type(tenant, &name, &draft, expected).await?;
        let event_type = EventType::of(named, Some(saved.event_type)).ok_or(Error::Internal)?;
        Ok((event_type, saved.created))
    }

    /// Deletes the tenant's definition of an event type if its version is `expected`.
    ///
    /// # Errors
    /// Requires the scope `manage`. [`Error::Conflict`] for a type of the profile that the tenant does not override.
    pub async fn delete_event_type(&self, caller: Caller, name: &str, expected: Option<i64>) -> Result<(), Error> {
        let (tenant, name): (_, Name) = (caller.tenant(Scope::Manage)?, parse_id("event type", name)?);
        let profile = self.profile_of(tenant).await?;
        match self.edits_of(caller)?.config().delete_event_type(tenant, &name, expected).await {
            Err(StoreError::NotFound { .. }) if profile.event_type(name.as_str()).is_some() => {
                Err(Error::Conflict(format!(
                    "{name} is a type of the profile {} and cannot be deleted; the tenant does not override it",
                    profile.name
                )))
            }
            deleted => Ok(deleted?),
        }
    }
}
