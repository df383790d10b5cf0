//! Test calls: one attempt now, for whoever waits for its answer. Outside of the pace, also while the endpoint is inactive.

use std::time::Duration;

use bytes::Bytes;
use postrider_broker::Queue;
use postrider_model::delivery::{DeliveryStatus, DiscardReason};
use postrider_model::time::UnixMillis;
use postrider_telemetry::spans::{self, Cause};
use postrider_wire::bundle::Member;
use postrider_wire::messages::{DeliveryTask, TestCall};
use tracing::Instrument;

use crate::attempt;
use crate::conclude;
use crate::dispatcher::{Dispatcher, encode};
use crate::endpoints::Known;

/// Longest time that an answer waits for its outcome to be confirmed; it is published all the same.
const CONFIRM_MAX: Duration = Duration::from_secs(1);

impl Dispatcher {
    /// Makes the attempt that a call asks for; `None`: no answer (nobody waits any more, or nothing can be said now).
    pub(crate) async fn test(&self, request: Member) -> Option<Member> {
        let call: TestCall = request.head().inspect_err(|error| tracing::warn!(%error, "unreadable test call")).ok()?;
        let TestCall { task, answer_by } = call;
        let cause = Cause::parent(task.traceparent.as_deref());
        let span = spans::process(Queue::RpcTest.name(), &task.delivery.id, cause);
        self.answer(task, request.payload, answer_by).instrument(span).await
    }

    async fn answer(&self, task: DeliveryTask, body: Bytes, answer_by: UnixMillis) -> Option<Member> {
        let now = UnixMillis::now();
        if answer_by <= now || !self.is_publisher_up() {
            return None;
        }
        let entry = self.endpoints.entry(task.delivery.endpoint);
        let (report, excerpt) = match self.look_up(&entry, &task).await.ok()? {
            Known::Ready(endpoint) => {
                let attempted = attempt::make(&self.egress, &self.metrics, &endpoint, &task, body, None).await;
                let policy = endpoint.retry_policy();
                let ended_at = attempted.ended_at;
                let retry_after = attempted.retry_after;
                let conclusion = conclude::after_attempt(task, attempted.record, retry_after, &policy, ended_at, 0.0)
                    .traced(attempted.trace);
                (conclusion.report, attempted.excerpt)
            }
            Known::Deleted => {
                let reason = Some(DiscardReason::EndpointDeleted);
                (conclude::without_attempt(task, DeliveryStatus::Discarded, reason, now), Bytes::new())
            }
            Known::Unusable => return None,
        };
        let answer = encode(&report, excerpt).ok()?;
        let confirmed = self.outcomes.publish(vec![answer.clone()]);
        if tokio::time::timeout(CONFIRM_MAX, confirmed).await.is_err() {
            tracing::debug!(delivery.id = %report.delivery.id, "a test is answered before its outcome is confirmed");
        }
        Some(answer)
    }
}
