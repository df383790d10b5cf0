//! Maps KumoMTA's log records to events, by the mapping of the tenant's profile.

use std::borrow::Cow;

use postrider_model::event::Origin;
use postrider_model::ids::TenantId;
use postrider_profiles::{MappedEvent, Mappings};

use super::message_event::MessageEvent;
use crate::event::json::check_size;
use crate::event::{RawEvent, RawWindow, check, hash};
use crate::refused::Refused;

/// Returns the events of a record, or none if the mapping of the profile ignores the record.
///
/// # Errors
/// The profile has no mapping, or the bytes are not a record.
pub(super) fn read<'a>(
    tenant: TenantId,
    record: &'a [u8],
    profile: &str,
    mappings: &Mappings,
) -> Result<Vec<MessageEvent<'a>>, Refused> {
    check_size(record)?;
    let mapping = mappings.get(profile).ok_or_else(|| {
        let detail = format!(
            "profile {profile} has no mapping of KumoMTA's records; {profile}.toml in POSTRIDER_MAPPINGS_DIR would be one"
        );
        Refused::Malformed(detail)
    })?;
    let mapped = mapping.events(record).map_err(|error| Refused::Malformed(error.to_string()))?;
    Ok(mapped.into_iter().map(|mapped| message_event(tenant, mapped)).collect())
}

fn message_event<'a>(tenant: TenantId, mapped: MappedEvent) -> MessageEvent<'a> {
    // The id is a hash of the whole record. Equal records are the same event, and different records are different events.
    let id = format!("evt_{}", hash(&[b"kumomta", mapped.record.as_bytes(), mapped.recipient.as_bytes()]));
    let fields = RawEvent {
        event_type: Cow::Owned(mapped.event_type.as_str().to_owned()),
        data: Cow::Owned(mapped.data),
        id: Some(Cow::Owned(id)),
        key: None,
        timestamp: Some(Cow::Owned(mapped.occurred_at.to_rfc3339_millis())),
        metadata: mapped.metadata.map(Cow::Owned),
        attributes: mapped.attributes,
        origin: Origin::Api,
        source: None,
        window: RawWindow::default(),
    };
    MessageEvent { event: check(tenant, fields).map_err(Refused::Invalid), alone: None }
}
