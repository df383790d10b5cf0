//! The form that plans a replay: what it selects, as requests to the operation.

use std::collections::BTreeMap;

use postrider_http::problem::{Problem, read_json};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::dashboard::fields::Fields;
use crate::dashboard::format::{local, utc};
use crate::dashboard::page::Page;
use crate::replays::model::{CreateReplay, ReplayPreview};

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
    pub(crate) fn requests(&self) -> Result<Vec<CreateReplay>, Problem> {
        if self.events.len() > CHOSEN_MAX {
            let detail = format!("choose at most {CHOSEN_MAX} events, or replay a date range instead");
            return Err(Problem::invalid_field("/event_id", detail));
        }
        let unlimited = [&self.from, &self.to, &self.event_types, &self.endpoint].into_iter().all(String::is_empty)
            && self.attributes.is_empty()
            && !self.only_failed;
        match self.events.as_slice() {
            [] if unlimited => Err(Problem::invalid_field(
                "",
                "Choose at least a date range, a webhook, an event type or an attribute.",
            )),
            [] => Ok(vec![self.request(None)?]),
            events => events.iter().map(|event| self.request(Some(event))).collect(),
        }
    }

    fn request(&self, event: Option<&str>) -> Result<CreateReplay, Problem> {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let types = self.event_types.split(',').map(str::trim).filter(|name| !name.is_empty());
        let mut body = json!({
            "mode": if self.rematch { "rematch" } else { "redeliver" },
            "from": given(&utc(&self.from)), "to": given(&utc(&self.to)), "endpoint_id": given(&self.endpoint),
            "event_types": types.collect::<Vec<_>>(), "attributes": self.attributes, "only_failed": self.only_failed,
            "event_id": event,
        });
        if let Some(body) = body.as_object_mut() {
            body.retain(|_, value| !value.is_null() && *value != json!([]) && *value != json!({}));
        }
        read_json(body.to_string().as_bytes())
    }

    /// What the requests would do together.
    pub(crate) async fn preview(&self, page: &Page) -> Result<ReplayPreview, Problem> {
        let mut sum = ReplayPreview { events: 0, deliveries: 0 };
        for request in self.requests()? {
            let preview = page.api.preview_replay(page.caller, &request).await?;
            sum.events += preview.events;
            sum.deliveries += preview.deliveries;
        }
        Ok(sum)
    }

    /// Starts the replays and returns their ids. `once` makes a repeated start return the same replays.
    pub(crate) async fn start(&self, page: &Page, once: Option<&str>) -> Result<Vec<String>, Problem> {
        let mut ids = Vec::new();
        for (index, request) in self.requests()?.iter().enumerate() {
            let key = once.map(|once| format!("dashboard-{once}-{index}"));
            ids.push(page.api.start_replay(page.caller, request, key).await?.id);
        }
        Ok(ids)
    }
}
