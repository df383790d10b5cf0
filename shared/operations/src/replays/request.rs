//! The request of a replay, and how it becomes a selection of events.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use postrider_model::event::is_attribute_name;
use postrider_model::json::pointer_token;
use postrider_model::limits::{ATTRIBUTES_MAX, EVENT_TYPES_MAX};
use postrider_model::replay::{ReplayMode, ReplaySelection};
use postrider_model::subscription::TypePattern;
use postrider_model::time::UnixMillis;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Error, Mistakes};

/// Which events are delivered again, and to which endpoints. Each field narrows the selection; at least one is required.
#[derive(Debug, Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateReplay {
    /// Deliver to this endpoint only.
    #[schema(example = "ep_0197e7a1b2c37d4e8f90a1b2c3d4e5f6")]
    pub endpoint_id: Option<String>,
    /// Deliver this event only.
    pub event_id: Option<String>,
    /// Only events accepted at or after this time.
    #[schema(format = DateTime, example = "2026-01-31T10:00:00Z")]
    pub from: Option<String>,
    /// Only events accepted before this time. If it is absent or in the future, the current time is used.
    #[schema(format = DateTime, example = "2026-01-31T12:00:00Z")]
    pub to: Option<String>,
    /// Only events of these types; `email.*` and `*` are patterns.
    #[schema(max_items = 100)]
    pub event_types: Option<Vec<String>>,
    /// Only events with these attribute values.
    pub attributes: Option<BTreeMap<String, String>>,
    /// Whether only failed events are delivered again. An event failed if no delivery of it reached the endpoint, and at least
    /// one failed or was discarded.
    pub only_failed: Option<bool>,
    /// Which endpoints get the events; `redeliver` if absent.
    pub mode: Option<ReplayMode>,
    /// Whether to count the events and deliveries without creating any.
    pub dry_run: Option<bool>,
}

impl CreateReplay {
    /// Whether the request is a dry run, which only counts.
    pub fn is_dry_run(&self) -> bool {
        self.dry_run.unwrap_or_default()
    }

    /// Checks the request and converts it to a selection of events that were accepted before `now`.
    pub(super) fn selection(&self, now: UnixMillis) -> Result<ReplaySelection, Error> {
        let mut mistakes = Mistakes::default();
        let endpoint = parse(self.endpoint_id.as_deref(), "/endpoint_id", &mut mistakes);
        let event = parse(self.event_id.as_deref(), "/event_id", &mut mistakes);
        let from: Option<UnixMillis> = parse(self.from.as_deref(), "/from", &mut mistakes);
        let to: Option<UnixMillis> = parse(self.to.as_deref(), "/to", &mut mistakes);
        let to = to.map_or(now, |to| to.min(now));
        if let Some(from) = from.filter(|from| *from >= to) {
            mistakes.add("/from", format!("must lie before `to` and in the past, got {from}"));
        }
        let event_types = self.patterns(&mut mistakes);
        self.check_attributes(&mut mistakes);
        let only_failed = self.only_failed.unwrap_or_default();
        let mode = self.mode.unwrap_or_default();
        if mode == ReplayMode::Recover && self.endpoint_id.is_none() {
            mistakes.add("/endpoint_id", "the mode `recover` recovers one endpoint: name it");
        }
        if mode == ReplayMode::Recover && only_failed {
            mistakes.add("/only_failed", "leave it out: the mode `recover` delivers what failed and what was missed");
        }
        let narrowed = [&self.endpoint_id, &self.event_id, &self.from, &self.to].into_iter().any(Option::is_some)
            || self.event_types.is_some()
            || self.attributes.is_some()
            || only_failed;
        if !narrowed {
            let detail = "say what to replay: at least one of endpoint_id, event_id, from, to, event_types, attributes, \
                          only_failed";
            mistakes.add("", detail);
        }
        mistakes.finish()?;
        let attributes = self.attributes.clone().unwrap_or_default();
        Ok(ReplaySelection { endpoint, event, from, to, event_types, attributes, only_failed, mode })
    }

    fn patterns(&self, mistakes: &mut Mistakes) -> Vec<TypePattern> {
        let types = self.event_types.as_deref().unwrap_or_default();
        if self.event_types.is_some() && !(1..=EVENT_TYPES_MAX).contains(&types.len()) {
            mistakes.add("/event_types", format!("1 to {EVENT_TYPES_MAX} event types, got {}", types.len()));
        }
        let pattern = |(index, text): (usize, &String)| parse(Some(text), &format!("/event_types/{index}"), mistakes);
        types.iter().enumerate().filter_map(pattern).collect()
    }

    fn check_attributes(&self, mistakes: &mut Mistakes) {
        let Some(attributes) = &self.attributes else { return };
        if !(1..=ATTRIBUTES_MAX).contains(&attributes.len()) {
            mistakes.add("/attributes", format!("1 to {ATTRIBUTES_MAX} attributes, got {}", attributes.len()));
        }
        for (name, value) in attributes {
            if !is_attribute_name(name) || value.contains('\0') {
                mistakes.add(format!("/attributes/{}", pointer_token(name)), "not an attribute's name and value");
            }
        }
    }
}

/// Parses a field if it is given. Adds a wrong value to `mistakes`.
fn parse<T: FromStr<Err: Display>>(text: Option<&str>, pointer: &str, mistakes: &mut Mistakes) -> Option<T> {
    match text?.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            mistakes.add(pointer, T::Err::to_string(&error));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn selection(body: Value) -> Result<ReplaySelection, Vec<String>> {
        let request: CreateReplay = serde_json::from_value(body).expect("a request");
        match request.selection("2026-01-31T00:00:00Z".parse().unwrap()) {
            Ok(selection) => Ok(selection),
            Err(Error::Invalid(errors)) => Err(errors.into_iter().map(|error| error.pointer).collect()),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn each_mistake_is_reported_at_its_place() {
        for (body, pointers) in [
            (json!({}), &[""][..]),
            (json!({"dry_run": true, "mode": "rematch"}), &[""]),
            (json!({"only_failed": false}), &[""]),
            (json!({"endpoint_id": "x"}), &["/endpoint_id"]),
            (json!({"event_id": "a b"}), &["/event_id"]),
            (json!({"from": "yesterday", "to": "tomorrow"}), &["/from", "/to"]),
            (json!({"from": "2026-01-02T00:00:00Z", "to": "2026-01-02T00:00:00Z"}), &["/from"]),
            (json!({"from": "2026-01-31T00:00:00Z", "to": "2026-02-02T00:00:00Z"}), &["/from"]),
            (json!({"event_types": []}), &["/event_types"]),
            (json!({"event_types": ["a", "b*"]}), &["/event_types/1"]),
            (json!({"attributes": {"a/b": "x"}}), &["/attributes/a~1b"]),
            (json!({"attributes": {}}), &["/attributes"]),
            (json!({"mode": "recover", "only_failed": true}), &["/endpoint_id", "/only_failed"]),
        ] {
            let found = selection(body.clone()).expect_err("a mistake");
            assert_eq!(found, pointers, "{body}");
        }
    }

    #[test]
    fn a_replay_never_selects_future_events() {
        let now: UnixMillis = "2026-01-31T00:00:00Z".parse().unwrap();
        assert_eq!(selection(json!({"only_failed": true})).unwrap().to, now);
        assert_eq!(selection(json!({"to": "2027-01-01T00:00:00Z"})).unwrap().to, now);
        let past = selection(json!({"to": "2026-01-01T00:00:00Z"})).unwrap().to;
        assert_eq!(past, "2026-01-01T00:00:00Z".parse().unwrap());
    }
}
