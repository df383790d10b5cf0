//! Batched endpoints: several events of one endpoint travel in one request.
//!
//! A batch is gathered when it is sent. Each of its events keeps a delivery of its own, with its own attempts and retries; the
//! members of a batch share the request and its outcome.

use serde::{Deserialize, Serialize};

use crate::ids::BatchId;
use crate::limits::{
    BATCHED_BYTES_DEFAULT, BATCHED_BYTES_MAX, BATCHED_BYTES_MIN, BATCHED_EVENTS_DEFAULT, BATCHED_EVENTS_MAX,
    BATCHED_WAIT_MS_DEFAULT, BATCHED_WAIT_MS_MAX, BATCHED_WAIT_MS_MIN,
};

/// When a batch of an endpoint is complete. It is sent as soon as one of the limits is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Batch {
    /// Maximum number of events in a request, 1 to 1,000.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 1000, default = 100))]
    pub events_max: u32,
    /// Maximum number of bytes of a request's body, 1 KiB to 4 MiB. An event whose own body is larger is sent alone.
    #[cfg_attr(feature = "openapi", schema(minimum = 1024, maximum = 4194304, default = 1048576))]
    pub bytes_max: u32,
    /// Maximum number of milliseconds for which the first event of a batch waits for more events, 10 to 60,000.
    #[cfg_attr(feature = "openapi", schema(minimum = 10, maximum = 60000, default = 1000))]
    pub wait_ms_max: u32,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            events_max: BATCHED_EVENTS_DEFAULT,
            bytes_max: BATCHED_BYTES_DEFAULT,
            wait_ms_max: BATCHED_WAIT_MS_DEFAULT,
        }
    }
}

impl Batch {
    /// The values that are out of range: the name of each, and what is allowed.
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let ranges = [
            ("events_max", self.events_max, 1, BATCHED_EVENTS_MAX, "events"),
            ("bytes_max", self.bytes_max, BATCHED_BYTES_MIN, BATCHED_BYTES_MAX, "bytes"),
            ("wait_ms_max", self.wait_ms_max, BATCHED_WAIT_MS_MIN, BATCHED_WAIT_MS_MAX, "ms"),
        ];
        let wrong = ranges.into_iter().filter(|(_, value, least, most, _)| !(least..=most).contains(&value));
        wrong.map(|(name, _, least, most, unit)| (name, format!("{least} to {most} {unit}"))).collect()
    }
}

/// The place of a delivery in the batch that sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BatchPlace {
    /// The batch, which is one request. Its id is the request's `webhook-id`.
    pub id: BatchId,
    /// The position of the delivery's event in the request, starting with 1.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 1000))]
    pub position: u16,
    /// The number of events in the request.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 1000))]
    pub size: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: &[&str]) {
        let batch: Batch = serde_json::from_str(json).unwrap();
        let wrong: Vec<_> = batch.mistakes().into_iter().map(|(name, _)| name).collect();
        assert_eq!(wrong, expected, "{json}");
    }

    #[test]
    fn absent_values_have_defaults_and_each_value_has_a_range() {
        check("{}", &[]);
        check(r#"{"events_max":1,"bytes_max":1024,"wait_ms_max":10}"#, &[]);
        check(r#"{"events_max":1000,"bytes_max":4194304,"wait_ms_max":60000}"#, &[]);
        check(r#"{"events_max":0,"bytes_max":1023,"wait_ms_max":9}"#, &["events_max", "bytes_max", "wait_ms_max"]);
        check(
            r#"{"events_max":1001,"bytes_max":4194305,"wait_ms_max":60001}"#,
            &["events_max", "bytes_max", "wait_ms_max"],
        );
        assert!(serde_json::from_str::<Batch>(r#"{"events":1}"#).is_err());
        let detail = &Batch { events_max: 0, ..Batch::default() }.mistakes()[0].1;
        assert_eq!(detail, "1 to 1000 events");
    }
}
