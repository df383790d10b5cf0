//! Converts the form that plans a replay to requests for the operation.

use postrider_model::ids::ReplayId;
use postrider_model::replay::ReplayMode;
use postrider_operations::Error;
use postrider_operations::replays::{CreateReplay, ReplayPreview};
use sha2::{Digest, Sha256};

use crate::fields::{FieldReader, Fields};
use crate::format::utc;
use crate::page::Page;

/// Maximum number of chosen events in one form. Each chosen event becomes a replay.
const CHOSEN_MAX: usize = 50;

/// The requests of a form: one replay, or one replay for each event that was chosen in the list.
pub(crate) struct Requests(Vec<CreateReplay>);

impl Requests {
    pub(crate) fn of(page: &Page, fields: &Fields) -> Result<Self, Error> {
        let events = fields.all("event_id");
        if events.len() > CHOSEN_MAX {
            let detail = format!("choose at most {CHOSEN_MAX} events, or replay a date range instead");
            return Err(Error::invalid("/event_id", detail));
        }
        let time = |name| Some(utc(fields.get(name))).filter(|time| !time.is_empty());
        let types = fields.get("event_types").split(',').map(str::trim).filter(|name| !name.is_empty());
        let types: Vec<String> = types.map(str::to_owned).collect();
        let mut attributes = fields.by_suffix("attributes.");
        attributes.retain(|name, _| page.profile.attributes.contains_key(name));
        let only_failed = fields.is_checked("only_failed");
        let mut reader = FieldReader::new(fields);
        let request = CreateReplay {
            endpoint_id: fields.optional("endpoint_id"),
            event_id: None,
            from: time("from"),
            to: time("to"),
            event_types: (!types.is_empty()).then_some(types),
            attributes: (!attributes.is_empty()).then_some(attributes),
            only_failed: Some(only_failed),
            mode: Some(reader.parse("/mode").unwrap_or(ReplayMode::Redeliver)),
            dry_run: None,
        };
        let request = reader.finish(request)?;
        if !events.is_empty() {
            let of_event = |event| CreateReplay { event_id: Some(event), ..request.clone() };
            return Ok(Self(events.into_iter().map(of_event).collect()));
        }
        let CreateReplay { endpoint_id, from, to, event_types, attributes, .. } = &request;
        let texts = [endpoint_id, from, to].into_iter().any(Option::is_some);
        if !texts && event_types.is_none() && attributes.is_none() && !only_failed {
            let detail = "Choose at least a date range, a webhook, an event type or an attribute.";
            return Err(Error::invalid("", detail));
        }
        Ok(Self(vec![request]))
    }

    /// A hash of the requests. It shows whether the form was changed after its preview.
    pub(crate) fn fingerprint(&self) -> String {
        let requests = serde_json::to_vec(&self.0).unwrap_or_default();
        hex::encode(&Sha256::digest(requests)[..8])
    }

    /// Returns the sums of the events and deliveries of all requests.
    pub(crate) async fn preview(&self, page: &Page) -> Result<ReplayPreview, Error> {
        let mut sum = ReplayPreview { events: 0, deliveries: 0, retrying: 0 };
        for request in &self.0 {
            let preview = page.operations.preview_replay(page.caller, request).await?;
            sum.events += preview.events;
            sum.deliveries += preview.deliveries;
            sum.retrying += preview.retrying;
        }
        Ok(sum)
    }

    /// Starts the replays and returns their ids. Another start with the same `once` returns the same replays.
    pub(crate) async fn start(&self, page: &Page, once: Option<&str>) -> Result<Vec<ReplayId>, Error> {
        let mut ids = Vec::new();
        for (index, request) in self.0.iter().enumerate() {
            let key = once.map(|once| format!("dashboard-{once}-{index}"));
            ids.push(page.operations.start_replay(page.caller, request, key).await?.id);
        }
        Ok(ids)
    }
}
