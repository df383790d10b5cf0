//! Dead letters: what was done with them, and the filter of their list.

use serde::{Deserialize, Serialize};

use crate::filters::{parsed, time};
use crate::text::names;
use crate::time::UnixMillis;

/// What was done with a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterState {
    /// It was neither requeued nor discarded.
    Open,
    /// It was sent back to its queue.
    Requeued,
    /// It was discarded.
    Discarded,
}
names!(DeadLetterState { Open => "open", Requeued => "requeued", Discarded => "discarded" });

/// A filter of dead letters. A field that is `None` does not filter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams, utoipa::ToSchema), into_params(parameter_in = Query))]
#[serde(default, deny_unknown_fields)]
pub struct DeadLetterFilter {
    /// Only dead letters in this state.
    #[serde(deserialize_with = "parsed")]
    #[cfg_attr(feature = "openapi", param(example = "open"), schema(example = "open"))]
    pub state: Option<DeadLetterState>,
    /// Only dead letters whose reason contains this text, in upper or lower case.
    #[serde(deserialize_with = "parsed")]
    #[cfg_attr(feature = "openapi", param(example = "no such tenant"), schema(example = "no such tenant"))]
    pub reason: Option<String>,
    /// Only dead letters that came from this queue, such as `postrider.intake`, or from `unknown`.
    #[serde(deserialize_with = "parsed")]
    #[cfg_attr(feature = "openapi", param(example = "postrider.intake"), schema(example = "postrider.intake"))]
    pub source: Option<String>,
    /// Only dead letters received at or after this time.
    #[serde(deserialize_with = "time")]
    #[cfg_attr(
        feature = "openapi",
        param(value_type = Option<String>, format = DateTime, example = "2026-01-02T00:00:00Z"),
        schema(value_type = Option<String>, format = DateTime, example = "2026-01-02T00:00:00Z")
    )]
    pub from: Option<UnixMillis>,
    /// Only dead letters received before this time.
    #[serde(deserialize_with = "time")]
    #[cfg_attr(
        feature = "openapi",
        param(value_type = Option<String>, format = DateTime, example = "2026-01-03T00:00:00Z"),
        schema(value_type = Option<String>, format = DateTime, example = "2026-01-03T00:00:00Z")
    )]
    pub to: Option<UnixMillis>,
}

impl DeadLetterFilter {
    /// Whether the filter has a condition that no index serves, so that a list examines rows one by one.
    pub fn is_search(&self) -> bool {
        let Self { state, reason, source, from: _, to: _ } = self;
        reason.is_some() || source.is_some() || state.is_some_and(|state| state != DeadLetterState::Open)
    }
}
