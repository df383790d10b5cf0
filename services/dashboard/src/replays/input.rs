//! The form that plans a replay: what it selects, as requests to the operation.

use std::collections::BTreeMap;

use postrider_model::ids::ReplayId;
use postrider_model::replay::ReplayMode;
use postrider_operations::Error;
use postrider_operations::replays::{CreateReplay, ReplayPreview};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::fields::Fields;
use crate::format::{local, utc};
use crate::page::Page;

/// Most events that one form replays one by one.
const CHOSEN_MAX: usize = 50;

/// The form.
pub(crate) struct ReplayInput {
    /// `datetime-local` values, in UTC.
    pub(crate) from: String,
    pub(crate) to: String,
    /// Separated by commas.
    pub(crate) event_types: String,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) endpoint: String,
    pub(crate) rematch: bool,
    pub(crate) only_failed: bool,
    /// Events that were chosen from the list. The form then shows no range, types and attributes.
    pub(crate) events: Vec<String>,
}

impl ReplayInput {
    pub(crate) fn of(page: &Page, fields: &Fields) -> Self {
        let attribute = |name: &String| Some((name.clone(), fields.optional(&format!("attributes.{name}"))?));
        Self {
            from: local(fields.get("from")).to_owned(),
            to: local(fields.get("to")).to_owned(),
            event_types: fields.get("event_types").to_owned(),
            attributes: page.profile.attributes.keys().filter_map(attribute).collect(),
            endpoint: fields.get("endpoint_id").to_owned(),
            rematch: fields.get("mode") == "rematch",
            only_failed: fields.is_checked("only_failed"),
            events: fields.all("event_id"),
        }
    }

    /// Identifies the selection, so that a form that changed after it was counted is recognised.
    pub(crate) fn fingerprint(&self) -> String {
        let Self { from, to, event_types, attributes, endpoint, rematch, only_failed, events } = self;
        let selection = json!([from, to, event_types, attributes, endpoint, rematch, only_failed, events]);
        hex::encode(&Sha256::digest(selection.to_string())[..8])
    }

    /// The requests: one replay, or one for each chosen event.
    pub(crate) fn requests(&self) -> Result<Vec<CreateReplay>, Error> {
        if self.events.len() > CHOSEN_MAX {
            let detail = format!("choose at most {CHOSEN_MAX} events, or replay a date range instead");
            return Err(Error::invalid("/event_id", detail));
        }
        let unlimited = [&self.from, &self.to, &self.event_types, &self.endpoint].into_iter().all(String::is_empty)
            && self.attributes.is_empty()
            && !self.only_failed;
        match self.events.as_slice() {
            [] if unlimited => {
                Err(Error::invalid("", "Choose at least a date range, a webhook, an event type or an attribute."))
            }
            [] => Ok(vec![self.request(None)]),
            events => Ok(events.iter().map(|event| self.request(Some(event))).collect()),
        }
    }

    fn request(&self, event: Option<&String>) -> CreateReplay {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let types = self.event_types.split(',').map(str::trim).filter(|name| !name.is_empty());
        let types: Vec<String> = types.map(str::to_owned).collect();
        CreateReplay {
            endpoint_id: given(&self.endpoint),
            event_id: event.cloned(),
            from: given(&utc(&self.from)),
            to: given(&utc(&self.to)),
            event_types: (!types.is_empty()).then_some(types),
            attributes: (!self.attributes.is_empty()).then(|| self.attributes.clone()),
            only_failed: Some(self.only_failed),
            mode: Some(if self.rematch { ReplayMode::Rematch } else { ReplayMode::Redeliver }),
            dry_run: None,
        }
    }

    /// What the requests would do together.
    pub(crate) async fn preview(&self, page: &Page) -> Result<ReplayPreview, Error> {
        let mut sum = ReplayPreview { events: 0, deliveries: 0 };
        for request in self.requests()? {
            let preview = page.operations.preview_replay(page.caller, &request).await?;
            sum.events += preview.events;
            sum.deliveries += preview.deliveries;
        }
        Ok(sum)
    }

    /// Starts the replays and returns their ids. `once` makes a repeated start return the same replays.
    pub(crate) async fn start(&self, page: &Page, once: Option<&str>) -> Result<Vec<ReplayId>, Error> {
        let mut ids = Vec::new();
        for (index, request) in self.requests()?.iter().enumerate() {
            let key = once.map(|once| format!("dashboard-{once}-{index}"));
            ids.push(page.operations.start_replay(page.caller, request, key).await?.id);
        }
        Ok(ids)
    }
}
