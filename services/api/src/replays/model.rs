//! Replays as requests and answers show them.

use std::collections::BTreeMap;
use std::str::FromStr;

use postrider_http::problem::{FieldError, Problem};
use postrider_model::event::is_attribute_name;
use postrider_model::limits::{ATTRIBUTES_MAX, EVENT_TYPES_MAX};
use postrider_model::replay::{ReplayMode, ReplaySelection};
use postrider_model::subscription::TypePattern;
use postrider_model::time::UnixMillis;
use postrider_store::replay::{Counted, Replay as StoredReplay};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::request::escape;
use crate::time::{shown, shown_if};

/// Who gets the events again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// The endpoints that were decided then, as far as they are active today.
    #[default]
    Redeliver,
    /// Whoever subscribes to them today.
    Rematch,
}

/// Which events are delivered again, and to whom. Each field narrows it down; at least one of them does.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateReplay {
    /// To this endpoint only.
    #[schema(example = "ep_0197e7a1b2c37d4e8f90a1b2c3d4e5f6")]
    endpoint_id: Option<String>,
    /// This event only.
    event_id: Option<String>,
    /// Events accepted at or after this; absent: as far back as the log goes.
    #[schema(format = DateTime, example = "2026-01-31T10:00:00Z")]
    from: Option<String>,
    /// Events accepted before this; absent, or in the future: now.
    #[schema(format = DateTime, example = "2026-01-31T12:00:00Z")]
    to: Option<String>,
    /// Events of these types; `email.*` and `*` are patterns.
    #[schema(max_items = 100)]
    event_types: Option<Vec<String>>,
    /// Events with these attribute values.
    attributes: Option<BTreeMap<String, String>>,
    /// Only where delivering failed: the event never reached the endpoint, and at least one delivery of it failed or was
    /// discarded.
    only_failed: Option<bool>,
    /// Who gets them; absent: `redeliver`.
    mode: Option<Mode>,
    /// Only count.
    dry_run: Option<bool>,
}

/// What a replay would do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReplayPreview {
    /// Events that somebody would get again.
    pub(crate) events: u64,
    /// Deliveries that would be made.
    pub(crate) deliveries: u64,
}

/// A replay that was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReplayAccepted {
    #[schema(example = "rpl_0197e7a1b2c37d4e8f90a1b2c3d4e5f6")]
    pub(crate) id: String,
}

/// A replay as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Replay {
    #[schema(example = "rpl_0197e7a1b2c37d4e8f90a1b2c3d4e5f6")]
    pub(crate) id: String,
    pub(crate) tenant_id: String,
    /// `running`, `paused`, `finished` (all deliveries are made; they end as all do) or `cancelled`.
    pub(crate) status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) from: Option<String>,
    /// Where it ends: never later than it was asked for.
    #[schema(format = DateTime)]
    pub(crate) to: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) event_types: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) only_failed: bool,
    pub(crate) mode: Mode,
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
    #[schema(format = DateTime)]
    pub(crate) updated_at: String,
    /// When its last delivery was made, or it was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) finished_at: Option<String>,
    pub(crate) progress: ReplayProgress,
}

/// How far a replay has come.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReplayProgress {
    /// Events that were looked at, oldest first.
    pub(crate) walked: u64,
    /// Of these, events that somebody gets again.
    pub(crate) events: u64,
    /// Deliveries that were made.
    pub(crate) deliveries: u64,
    /// When the last event that was looked at had been accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) reached_at: Option<String>,
}

impl CreateReplay {
    pub(crate) fn is_dry_run(&self) -> bool {
        self.dry_run.unwrap_or_default()
    }

    /// What is asked for, at `now`.
    ///
    /// # Errors
    /// 422 with a pointer to each mistake.
    pub(crate) fn selection(&self, now: UnixMillis) -> Result<ReplaySelection, Problem> {
        let mut errors = Vec::new();
        let endpoint = parse(self.endpoint_id.as_deref(), "/endpoint_id", &mut errors);
        let event = parse(self.event_id.as_deref(), "/event_id", &mut errors);
        let from: Option<UnixMillis> = parse(self.from.as_deref(), "/from", &mut errors);
        let to: Option<UnixMillis> = parse(self.to.as_deref(), "/to", &mut errors);
        let to = to.map_or(now, |to| to.min(now));
        if let Some(from) = from.filter(|from| *from >= to) {
            let detail = format!("must lie before `to` and in the past, got {}", shown(from));
            errors.push(FieldError::new("/from", detail));
        }
        let types = self.event_types.as_deref().unwrap_or_default();
        if self.event_types.is_some() && !(1..=EVENT_TYPES_MAX).contains(&types.len()) {
            let detail = format!("1 to {EVENT_TYPES_MAX} event types, got {}", types.len());
            errors.push(FieldError::new("/event_types", detail));
        }
        let pattern = |(index, text): (usize, &String)| {
            parse::<TypePattern>(Some(text), &format!("/event_types/{index}"), &mut errors)
        };
        let event_types = types.iter().enumerate().filter_map(pattern).collect();
        let attributes = self.attributes.clone().unwrap_or_default();
        if self.attributes.is_some() && !(1..=ATTRIBUTES_MAX).contains(&attributes.len()) {
            let detail = format!("1 to {ATTRIBUTES_MAX} attributes, got {}", attributes.len());
            errors.push(FieldError::new("/attributes", detail));
        }
        for (name, value) in &attributes {
            if !is_attribute_name(name) || value.contains('\0') {
                let pointer = format!("/attributes/{}", escape(name));
                errors.push(FieldError::new(pointer, "not an attribute's name and value"));
            }
        }
        let only_failed = self.only_failed.unwrap_or_default();
        let narrowed = self.endpoint_id.is_some()
            || self.event_id.is_some()
            || self.from.is_some()
            || self.to.is_some()
            || self.event_types.is_some()
            || self.attributes.is_some()
            || only_failed;
        if !narrowed {
            let detail = "say what to replay: at least one of endpoint_id, event_id, from, to, event_types, attributes, only_failed";
            errors.push(FieldError::new("", detail));
        }
        if !errors.is_empty() {
            return Err(Problem::unprocessable(errors));
        }
        let mode = match self.mode.unwrap_or_default() {
            Mode::Redeliver => ReplayMode::Redeliver,
            Mode::Rematch => ReplayMode::Rematch,
        };
        Ok(ReplaySelection { endpoint, event, from, to, event_types, attributes, only_failed, mode })
    }
}

/// Reads a field, if it is there, by its type's `FromStr`.
fn parse<T: FromStr<Err: std::fmt::Display>>(
    text: Option<&str>,
    pointer: &str,
    errors: &mut Vec<FieldError>,
) -> Option<T> {
    match text?.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            errors.push(FieldError::new(pointer, T::Err::to_string(&error)));
            None
        }
    }
}

impl From<Counted> for ReplayPreview {
    fn from(counted: Counted) -> Self {
        Self { events: counted.events, deliveries: counted.deliveries }
    }
}

impl From<StoredReplay> for Replay {
    fn from(replay: StoredReplay) -> Self {
        let StoredReplay { selection, progress, .. } = replay;
        Self {
            id: replay.id.to_string(),
            tenant_id: replay.tenant.to_string(),
            status: replay.status.to_string(),
            endpoint_id: selection.endpoint.map(|id| id.to_string()),
            event_id: selection.event.map(|id| id.to_string()),
            from: shown_if(selection.from),
            to: shown(selection.to),
            event_types: selection.event_types.iter().map(ToString::to_string).collect(),
            attributes: selection.attributes,
            only_failed: selection.only_failed,
            mode: match selection.mode {
                ReplayMode::Redeliver => Mode::Redeliver,
                ReplayMode::Rematch => Mode::Rematch,
            },
            created_at: shown(replay.created_at),
            updated_at: shown(replay.updated_at),
            finished_at: shown_if(replay.finished_at),
            progress: ReplayProgress {
                walked: progress.walked,
                events: progress.events,
                deliveries: progress.deliveries,
                reached_at: shown_if(progress.reached_at),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn selection(body: Value) -> Result<ReplaySelection, Vec<String>> {
        let asked: CreateReplay = serde_json::from_value(body).expect("a request");
        let pointers = |problem: Problem| problem.errors.into_iter().map(|error| error.pointer).collect();
        asked.selection("2026-01-31T00:00:00Z".parse().unwrap()).map_err(pointers)
    }

    #[test]
    fn each_mistake_is_found_at_its_place() {
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
        ] {
            let found = selection(body.clone()).expect_err("a mistake");
            assert_eq!(found, pointers, "{body}");
        }
    }

    #[test]
    fn a_replay_never_reaches_into_the_future() {
        let now: UnixMillis = "2026-01-31T00:00:00Z".parse().unwrap();
        assert_eq!(selection(json!({"only_failed": true})).unwrap().to, now);
        assert_eq!(selection(json!({"to": "2027-01-01T00:00:00Z"})).unwrap().to, now);
        let past = selection(json!({"to": "2026-01-01T00:00:00Z"})).unwrap().to;
        assert_eq!(past, "2026-01-01T00:00:00Z".parse().unwrap());
    }
}
