//! The state of the deployment, for the operator.
//!
//! Each process reports its state in a row of the database, the broker reports the numbers of messages in queues, and the
//! dispatchers report the states of breakers. While the broker is not available, the numbers of messages are missing.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use postrider_broker::{Queue, QueueDepth};
use postrider_model::breaker::BreakerState;
use postrider_model::delivery::Lane;
use postrider_model::ids::TenantId;
use postrider_model::timestamp::Timestamp;
use postrider_store::history::DeadLettersNotKept;
use postrider_store::services::{LastAudit, ServiceStatus};
use postrider_store::waiting::Waiting;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{Caller, Error, Operations};

/// How long to wait for the broker.
const ASK_MAX: Duration = Duration::from_secs(2);

/// Maximum number of tenants with waiting deliveries that are listed.
const TENANTS_WAITING: u32 = 10;

/// The queues, in the order in which work flows.
pub(crate) const QUEUES: [Queue; 11] = [
    Queue::Intake,
    Queue::Fanout,
    Queue::FanoutOrdered,
    Queue::EventLog,
    Queue::Ordered,
    Queue::Lane(Lane::Live),
    Queue::Lane(Lane::Slow),
    Queue::Lane(Lane::Bulk),
    Queue::Decisions,
    Queue::Outcomes,
    Queue::DeadLetters,
];

/// The state of the deployment.
#[derive(Debug, Serialize, ToSchema)]
pub struct System {
    /// Processes that reported within the last day. A process that was stopped in the normal way is not listed. A process that
    /// was killed is listed, with an old `last_seen_at`.
    pub services: Vec<Service>,
    /// The queues, in the order in which work flows. Messages in flight to consumers are not counted.
    pub queues: Vec<QueueStatus>,
    /// The numbers of endpoints whose attempts are held back.
    pub breakers: BreakersOpen,
    /// The numbers of deliveries that wait.
    pub waiting: WaitingDeliveries,
    /// Tenants whose producers caused more dead letters on one day than are kept, with the day. Covers the last seven days,
    /// newest first, at most 50 entries.
    pub dead_letters_not_kept: Vec<NotKept>,
    /// The last audit; `null` if none has run.
    #[schema(required = true)]
    pub last_audit: Option<Audit>,
}

/// A running process of Postrider.
#[derive(Debug, Serialize, ToSchema)]
pub struct Service {
    /// Its role: `ingest`, `fanout`, `dispatcher`, `recorder`, `api`, or `all`.
    #[schema(example = "dispatcher")]
    pub name: String,
    /// The name of its host, and a random number.
    #[schema(example = "dispatcher-0-1f2e3d4c")]
    pub instance: String,
    /// Its version.
    #[schema(example = "0.1.0")]
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// When it last reported. It reports every 10 s.
    pub last_seen_at: Timestamp,
}

/// A queue.
#[derive(Debug, Serialize, ToSchema)]
pub struct QueueStatus {
    /// Its name.
    #[schema(example = "postrider.lane.live")]
    pub name: &'static str,
    /// The number of messages; `null` while the broker is not available.
    #[schema(required = true)]
    pub messages: Option<u32>,
    /// The estimated number of events, deliveries or reports in these messages. Each message has up to 32 of them. `null` while
    /// the broker is not available.
    #[schema(required = true)]
    pub members: Option<u64>,
    /// The number of consumers; `null` while the broker is not available.
    #[schema(required = true)]
    pub consumers: Option<u32>,
}

/// The numbers of endpoints whose attempts are held back because they fail.
#[derive(Debug, Serialize, ToSchema)]
pub struct BreakersOpen {
    /// Endpoints whose breaker is open.
    pub open: u64,
    /// Endpoints whose breaker is half open.
    pub half_open: u64,
}

/// The numbers of deliveries that wait for their first attempt, for a retry or for the endpoint's rate. They are counted every 10
/// s.
#[derive(Debug, Serialize, ToSchema)]
pub struct WaitingDeliveries {
    /// Waiting deliveries of all tenants. Above 10,000,000, requests to publish are answered with 503.
    pub deliveries: u64,
    /// The ten tenants with the most waiting deliveries, in descending order of waiting deliveries.
    pub tenants: Vec<TenantWaiting>,
    /// When the deliveries were counted; `null` if no delivery waits, or if the count is older than five minutes.
    #[schema(required = true)]
    pub counted_at: Option<Timestamp>,
}

/// Waiting deliveries of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub struct TenantWaiting {
    /// The tenant.
    pub tenant_id: TenantId,
    /// Its name.
    #[schema(example = "acme")]
    pub tenant_name: String,
    /// Its waiting deliveries.
    pub deliveries: u64,
}

/// The numbers of dead letters of a tenant's producers on one day.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotKept {
    /// The tenant in the messages' routing keys; empty if the routing keys name no tenant.
    #[schema(example = "ten_0197e7a1b2c3748e8f90a1b2c3d4e5f6")]
    pub tenant_id: String,
    /// The day (UTC) on which the dead letters were received.
    #[schema(format = Date, example = "2026-01-31")]
    pub day: String,
    /// The number of dead letters that were kept.
    pub kept: u64,
    /// The number of dead letters that were counted but not kept.
    pub not_kept: u64,
}

impl From<DeadLettersNotKept> for NotKept {
    fn from(counted: DeadLettersNotKept) -> Self {
        let DeadLettersNotKept { producer, day, kept, not_kept } = counted;
        Self { tenant_id: producer, day: day.to_string(), kept, not_kept }
    }
}

/// The result of an audit, which checks that no accepted event or delivery is missing in the history.
#[derive(Debug, Serialize, ToSchema)]
pub struct Audit {
    /// When it ran.
    pub ran_at: Timestamp,
    /// Whether nothing is missing.
    pub conserved: bool,
    /// The figures of the audit.
    #[schema(value_type = Object)]
    pub report: serde_json::Value,
}

impl From<ServiceStatus> for Service {
    fn from(seen: ServiceStatus) -> Self {
        let ServiceStatus { report, seen_at } = seen;
        Self {
            name: report.name,
            instance: report.instance,
            version: report.version,
            started_at: report.started_at.into(),
            last_seen_at: seen_at.into(),
        }
    }
}

impl From<LastAudit> for Audit {
    fn from(audit: LastAudit) -> Self {
        Self { ran_at: audit.ran_at.into(), conserved: audit.conserved, report: audit.report }
    }
}

impl QueueStatus {
    fn new(queue: Queue, depth: Option<QueueDepth>, members_per_message: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive estimate, rounded")]
        let members = |messages: u32| (f64::from(messages) * members_per_message).round() as u64;
        Self {
            name: queue.name(),
            messages: depth.map(|depth| depth.messages),
            members: depth.map(|depth| members(depth.messages)),
            consumers: depth.map(|depth| depth.consumers),
        }
    }
}

/// Returns the mean number of members per message of each queue, from the reports of its consumers.
fn members_per_message(services: &[ServiceStatus]) -> BTreeMap<&str, f64> {
    let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (queue, members) in services.iter().flat_map(|seen| &seen.report.members_per_message) {
        let (sum, count) = sums.entry(queue).or_default();
        (*sum, *count) = (*sum + members, *count + 1.0);
    }
    sums.into_iter().map(|(queue, (sum, count))| (queue, sum / count)).collect()
}

impl Operations {
    /// The depth of a queue; `None` if the broker does not answer in time.
    async fn depth(&self, queue: Queue) -> Option<QueueDepth> {
        tokio::time::timeout(ASK_MAX, self.broker.queue_depth(queue.name())).await.ok()?.ok()
    }

    /// The last count of waiting deliveries, with the names of tenants.
    async fn waiting_deliveries(&self) -> Result<WaitingDeliveries, Error> {
        let Waiting { deliveries, tenants, counted_at } = self.store.history().waiting(TENANTS_WAITING).await?;
        let ids: Vec<TenantId> = tenants.iter().map(|(id, _)| *id).collect();
        let mut names: HashMap<TenantId, String> =
            self.store.config().names_of_tenants(&ids).await?.into_iter().collect();
        let tenants = tenants.into_iter().map(|(id, deliveries)| TenantWaiting {
            tenant_id: id,
            tenant_name: names.remove(&id).unwrap_or_default(),
            deliveries,
        });
        Ok(WaitingDeliveries { deliveries, tenants: tenants.collect(), counted_at: counted_at.map(Timestamp) })
    }

    /// The state of the deployment. Operators only.
    pub async fn read_system(&self, caller: Caller) -> Result<System, Error> {
        caller.operator()?;
        let (services, last_audit, not_kept, waiting, depths) = tokio::join!(
            self.store.services().list(),
            self.store.history().last_audit(),
            self.store.history().dead_letters_not_kept(),
            self.waiting_deliveries(),
            futures::future::join_all(QUEUES.map(|queue| self.depth(queue)))
        );
        let services = services?;
        let sizes = members_per_message(&services);
        let queues = QUEUES.into_iter().zip(depths).map(|(queue, depth)| {
            // Producers' messages and dead letters have one member each. A queue without a report is assumed to have such
            // messages.
            QueueStatus::new(queue, depth, sizes.get(queue.name()).copied().unwrap_or(1.0))
        });
        let count = |state| self.breakers.count(state) as u64;
        Ok(System {
            queues: queues.collect(),
            services: services.into_iter().map(Service::from).collect(),
            breakers: BreakersOpen { open: count(BreakerState::Open), half_open: count(BreakerState::HalfOpen) },
            waiting: waiting?,
            dead_letters_not_kept: not_kept?.into_iter().map(NotKept::from).collect(),
            last_audit: last_audit?.map(Audit::from),
        })
    }
}

#[cfg(test)]
mod tests {
    use postrider_model::time::UnixMillis;
    use postrider_store::services::ServiceReport;

    use super::*;

    fn seen(members: f64) -> ServiceStatus {
        let report = ServiceReport {
            instance: String::new(),
            name: String::new(),
            version: String::new(),
            started_at: UnixMillis(0),
            members_per_message: [("postrider.fanout".to_owned(), members)].into(),
            bytes_per_message: Default::default(),
        };
        ServiceStatus { report, seen_at: UnixMillis(0) }
    }

    #[test]
    fn members_are_estimated_by_the_consumers_average_message() {
        let services = [seen(10.0), seen(20.0)];
        let sizes = members_per_message(&services);
        let depth = Some(QueueDepth { messages: 7, consumers: 2 });
        assert_eq!(QueueStatus::new(Queue::Fanout, depth, sizes["postrider.fanout"]).members, Some(105));
        assert_eq!(QueueStatus::new(Queue::Fanout, None, 1.0).members, None);
    }
}
