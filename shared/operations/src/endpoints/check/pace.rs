//! An endpoint's retry schedule, timeout, rate, order and batches.

use std::time::Duration;

use postrider_model::batch::Batch;
use postrider_model::limits::{ATTEMPT_TIMEOUT_MAX, ATTEMPT_TIMEOUT_MIN, DELIVERY_LIFETIME};
use postrider_model::ordering::KeyReader;
use postrider_model::retry_schedule::{InvalidSchedule, RetrySchedule};
use postrider_store::config::EndpointDocument;

use super::{ORDERED_AND_BATCHED, Rules, is_ordered_and_batched};
use crate::error::Mistakes;

/// Minimum rate of an endpoint: one attempt in 100 s.
const RATE_MIN: f64 = 0.01;
/// Maximum rate of an endpoint, in attempts per second, unless its tenant's limit is lower.
const RATE_MAX: f64 = 100_000.0;

impl Rules<'_> {
    pub(super) fn pace(&self, document: &EndpointDocument, mistakes: &mut Mistakes) {
        match document.retry_schedule_seconds.clone().map(RetrySchedule::from_seconds) {
            Some(Err(invalid)) => {
                let pointer = match invalid {
                    InvalidSchedule::TooMany(_) => "/retry_schedule_seconds".to_owned(),
                    InvalidSchedule::Delay { index, .. } => format!("/retry_schedule_seconds/{index}"),
                };
                mistakes.add(pointer, invalid.to_string());
            }
            Some(Ok(schedule)) if schedule.total() >= DELIVERY_LIFETIME => {
                let (total, lifetime) = (schedule.total().as_secs(), DELIVERY_LIFETIME.as_secs());
                let detail = format!(
                    "the delays add up to {total} s; a delivery is discarded {lifetime} s after it was made, so the last \
                     attempts would never be made"
                );
                mistakes.add("/retry_schedule_seconds", detail);
            }
            Some(Ok(_)) | None => {}
        }
        if let Some(seconds) = document.timeout_seconds {
            let (shortest, longest) = (ATTEMPT_TIMEOUT_MIN.as_secs(), self.timeout_max().as_secs());
            if !(shortest..=longest).contains(&seconds.into()) {
                mistakes.add("/timeout_seconds", format!("{shortest} to {longest} s"));
            }
        }
        if let Some(Err(detail)) = document.ordering.as_ref().map(KeyReader::compile) {
            mistakes.add("/ordering/key", detail);
        }
        if let Some(rate) = document.rate_per_second {
            let highest = self.limits.rate_per_second_max.unwrap_or(RATE_MAX).min(RATE_MAX);
            if !(rate >= RATE_MIN.min(highest) && rate <= highest) {
                mistakes.add("/rate_per_second", format!("{RATE_MIN} to {highest}"));
            }
        }
    }

    pub(super) fn batch(&self, document: &EndpointDocument, mistakes: &mut Mistakes) {
        for (field, detail) in document.batch.iter().flat_map(Batch::mistakes) {
            mistakes.add(format!("/batch/{field}"), detail);
        }
        if is_ordered_and_batched(document) {
            mistakes.add("/batch", ORDERED_AND_BATCHED);
        }
    }

    fn timeout_max(&self) -> Duration {
        let limit = self.limits.timeout_seconds_max.map(|seconds| Duration::from_secs(seconds.into()));
        limit.unwrap_or(ATTEMPT_TIMEOUT_MAX).min(ATTEMPT_TIMEOUT_MAX)
    }
}
