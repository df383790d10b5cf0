//! Handles test calls. A test call is one attempt that is made immediately. Its caller waits for the outcome. A test call
//! ignores the pace, and it also reaches inactive endpoints.

use std::time::Duration;

use bytes::Bytes;
use postrider_broker::Queue;
use postrider_model::delivery::{DeliveryStatus, DiscardReason};
use postrider_model::time::UnixMillis;
use postrider_telemetry::spans::{self, Cause};
use postrider_wire::bundle::Member;
use postrider_wire::messages::{DeliveryTask, TestCall};
use tracing::Instrument;

use super::Dispatcher;
use crate::attempt;
use crate::encode::encode;
use crate::endpoint::EndpointState;
use crate::next_step;

/// Maximum time that a reply waits for the broker's confirmation of the outcome. The outcome is published even if this time is
/// exceeded.
const CONFIRM_MAX: Duration = Duration::from_secs(1);

impl Dispatcher {
    /// Makes the attempt and returns the reply, which contains the outcome. Returns `None`, and sends no reply, if the caller's
    /// deadline has passed or the attempt cannot be made now.
    pub(crate) async fn test(&self, request: Member) -> Option<Member> {
        let call: TestCall =
            request.head().inspect_err(|error| tracing::warn!(%error, "cannot read a test call; dropping it")).ok()?;
        let TestCall { task, answer_by } = call;
        let cause = Cause::parent(task.traceparent.as_deref());
        let span = spans::process(Queue::RpcTest.name(), &task.delivery.id, cause);
        self.reply(task, request.payload, answer_by).instrument(span).await
    }

    async fn reply(&self, task: DeliveryTask, body: Bytes, answer_by: UnixMillis) -> Option<Member> {
        let now = UnixMillis::now();
        if answer_by <= now || !self.is_publisher_up() {
            return None;
        }
        let entry = self.shared.endpoints.get_or_create(task.delivery.endpoint);
        let (report, excerpt) = match self.load(&entry, &task).await.ok()? {
            EndpointState::Ready(endpoint) => {
                let attempted = attempt::make(&self.outbound, &self.shared.metrics, &endpoint, &task, body, None).await;
                let (sent, policy) = (attempted.sent, endpoint.retry_policy());
                let (retry_after, ended_at) = (sent.retry_after(), sent.ended_at);
                let step = next_step::after_attempt(task, attempted.record, retry_after, &policy, ended_at, 0.0)
                    .traced(sent.trace);
                (step.report, sent.excerpt())
            }
            EndpointState::Deleted => {
                let reason = Some(DiscardReason::EndpointDeleted);
                (next_step::without_attempt(task, DeliveryStatus::Discarded, reason, now), Bytes::new())
            }
            EndpointState::Unusable => return None,
        };
        let reply = encode(&report, excerpt).ok()?;
        let confirmed = self.outcomes.publish(vec![reply.clone()]);
        if tokio::time::timeout(CONFIRM_MAX, confirmed).await.is_err() {
            tracing::debug!(delivery.id = %report.delivery.id, "replying to a test call before its outcome is confirmed");
        }
        Some(reply)
    }
}
