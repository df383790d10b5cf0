//! `GET /v1/system`: the deployment at a glance, for the operator.
//!
//! Services report themselves by rows in the database (`services/postrider`'s heartbeat), depths are asked of the broker, and
//! breakers are what the dispatchers say. While the broker is away its part is missing, and the rest is answered all the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use postrider_broker::{Queue, QueueDepth};
use postrider_http::problem::Problem;
use postrider_model::breaker::BreakerState;
use postrider_model::delivery::Lane;
use postrider_model::ids::TenantId;
use postrider_store::history::DeadLettersNotKept;
use postrider_store::services::{LastAudit, ServiceStatus};
use postrider_store::waiting::Waiting;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Api;
use crate::auth::Caller;
use crate::errors::store_problem;
use crate::request::Params;
use crate::time::shown;

/// Longest time that the broker is waited for.
const ASK_MAX: Duration = Duration::from_secs(2);

/// Tenants that are named of which most deliveries wait.
const TENANTS_WAITING: u32 = 10;

/// The queues, in the order in which work flows.
const QUEUES: [Queue; 9] = [
    Queue::Intake,
    Queue::Fanout,
    Queue::EventLog,
    Queue::Lane(Lane::Live),
    Queue::Lane(Lane::Slow),
    Queue::Lane(Lane::Bulk),
    Queue::Decisions,
    Queue::Outcomes,
    Queue::DeadLetters,
];

/// The deployment at a glance.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct System {
    /// Processes heard of within the last day. One that stopped in order is not among them; one that was killed is, with an old
    /// `last_seen_at`.
    pub(crate) services: Vec<Service>,
    /// What waits, in the order in which work flows. What consumers have in hand is not counted.
    pub(crate) queues: Vec<QueueStatus>,
    pub(crate) breakers: BreakersOpen,
    pub(crate) waiting: WaitingDeliveries,
    /// Tenants whose producers' dead letters of a day are more than are kept: of the last seven days, newest first, at most 50.
    pub(crate) dead_letters_not_kept: Vec<NotKept>,
    /// `null`: none has run.
    #[schema(required = true)]
    pub(crate) last_audit: Option<Audit>,
}

/// A process.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Service {
    /// What it runs: `ingest`, `fanout`, `dispatcher`, `recorder`, `api`, or `all`.
    #[schema(example = "dispatcher")]
    pub(crate) name: String,
    /// Its host's name and a number drawn at its start.
    #[schema(example = "dispatcher-0-1f2e3d4c")]
    pub(crate) instance: String,
    #[schema(example = "0.1.0")]
    pub(crate) version: String,
    #[schema(format = DateTime)]
    pub(crate) started_at: String,
    /// It reports every 10 s.
    #[schema(format = DateTime)]
    pub(crate) last_seen_at: String,
}

/// A queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueStatus {
    #[schema(example = "postrider.lane.live")]
    pub(crate) name: &'static str,
    /// Messages; `null` while the broker is away.
    #[schema(required = true)]
    pub(crate) messages: Option<u32>,
    /// The events, deliveries or reports in them, about: a message holds up to 32, on average as many as those that were taken
    /// from the queue lately. `null` while the broker is away.
    #[schema(required = true)]
    pub(crate) members: Option<u64>,
    /// Who consumes it; `null` while the broker is away.
    #[schema(required = true)]
    pub(crate) consumers: Option<u32>,
}

/// Endpoints that are held back because they fail.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BreakersOpen {
    /// Breakers that are open.
    pub(crate) open: u64,
    /// Breakers that are about to close.
    pub(crate) half_open: u64,
}

/// Deliveries that wait: for their first attempt, for a retry or for their turn. Counted every 10 s from the log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WaitingDeliveries {
    /// Of all tenants. Beyond 10,000,000 publishing is answered with 503.
    pub(crate) deliveries: u64,
    /// The ten tenants of which most wait, those with most first.
    pub(crate) tenants: Vec<TenantWaiting>,
    /// `null` where nothing waits, or nobody has counted for five minutes.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    pub(crate) counted_at: Option<String>,
}

/// Deliveries of one tenant that wait.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantWaiting {
    #[schema(example = "ten_0197e7a1b2c3748e8f90a1b2c3d4e5f6")]
    pub(crate) tenant_id: String,
    pub(crate) deliveries: u64,
}

impl From<Waiting> for WaitingDeliveries {
    fn from(waiting: Waiting) -> Self {
        let Waiting { deliveries, tenants, counted_at } = waiting;
        let tenant = |(id, deliveries): (TenantId, u64)| TenantWaiting { tenant_id: id.to_string(), deliveries };
        Self { deliveries, tenants: tenants.into_iter().map(tenant).collect(), counted_at: counted_at.map(shown) }
    }
}

/// Dead letters of a tenant's producers on one day.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NotKept {
    /// The tenant that the messages' routing keys name; empty where they name none.
    #[schema(example = "ten_0197e7a1b2c3748e8f90a1b2c3d4e5f6")]
    pub(crate) tenant_id: String,
    /// The day (UTC) that they were received on.
    #[schema(format = Date, example = "2026-01-31")]
    pub(crate) day: String,
    /// Dead letters that were kept.
    pub(crate) kept: u64,
    /// Dead letters that were counted alone.
    pub(crate) not_kept: u64,
}

impl From<DeadLettersNotKept> for NotKept {
    fn from(counted: DeadLettersNotKept) -> Self {
        let DeadLettersNotKept { producer, day, kept, not_kept } = counted;
        Self { tenant_id: producer, day: day.to_string(), kept, not_kept }
    }
}

/// Whether everything that was accepted is accounted for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Audit {
    #[schema(format = DateTime)]
    pub(crate) ran_at: String,
    /// Whether nothing is missing.
    pub(crate) conserved: bool,
    /// Its figures.
    #[schema(value_type = Object)]
    report: serde_json::Value,
}

impl From<ServiceStatus> for Service {
    fn from(seen: ServiceStatus) -> Self {
        let ServiceStatus { report, seen_at } = seen;
        Self {
            name: report.name,
            instance: report.instance,
            version: report.version,
            started_at: shown(report.started_at),
            last_seen_at: shown(seen_at),
        }
    }
}

impl From<LastAudit> for Audit {
    fn from(audit: LastAudit) -> Self {
        Self { ran_at: shown(audit.ran_at), conserved: audit.conserved, report: audit.report }
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

/// For each queue the mean of what those say who consume it.
fn members_per_message(services: &[ServiceStatus]) -> BTreeMap<&str, f64> {
    let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (queue, members) in services.iter().flat_map(|seen| &seen.report.members_per_message) {
        let (sum, count) = sums.entry(queue).or_default();
        (*sum, *count) = (*sum + members, *count + 1.0);
    }
    sums.into_iter().map(|(queue, (sum, count))| (queue, sum / count)).collect()
}

impl Api {
    /// What a queue holds; `None` while the broker does not say.
    async fn depth(&self, queue: Queue) -> Option<QueueDepth> {
        tokio::time::timeout(ASK_MAX, self.broker.queue_depth(queue.name())).await.ok()?.ok()
    }
}

/// Read the deployment's state
///
/// Takes an operator key.
#[utoipa::path(get, operation_id = "read_system", path = "/v1/system", tag = "operations",
    responses((status = 200, body = System), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn read(State(api): State<Arc<Api>>, caller: Caller, params: Params) -> Result<Json<System>, Problem> {
    params.only(&[], None)?;
    caller.operator()?;
    let asked = tokio::join!(
        api.store.services().list(),
        api.store.history().last_audit(),
        api.store.history().dead_letters_not_kept(),
        api.store.history().waiting(TENANTS_WAITING),
        futures::future::join_all(QUEUES.map(|queue| api.depth(queue)))
    );
    let (services, last_audit) = (asked.0.map_err(store_problem)?, asked.1.map_err(store_problem)?);
    let (not_kept, waiting) = (asked.2.map_err(store_problem)?, asked.3.map_err(store_problem)?);
    let depths = asked.4;
    let sizes = members_per_message(&services);
    let queues = QUEUES.into_iter().zip(depths).map(|(queue, depth)| {
        // Messages of producers, and those that are dead, are alone; so is what nobody has said anything about.
        QueueStatus::new(queue, depth, sizes.get(queue.name()).copied().unwrap_or(1.0))
    });
    let count = |state| api.breakers.count(state) as u64;
    Ok(Json(System {
        queues: queues.collect(),
        services: services.into_iter().map(Service::from).collect(),
        breakers: BreakersOpen { open: count(BreakerState::Open), half_open: count(BreakerState::HalfOpen) },
        waiting: waiting.into(),
        dead_letters_not_kept: not_kept.into_iter().map(NotKept::from).collect(),
        last_audit: last_audit.map(Audit::from),
    }))
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
    fn members_are_messages_times_what_consumers_took_from_each_on_average() {
        let services = [seen(10.0), seen(20.0)];
        let sizes = members_per_message(&services);
        let depth = Some(QueueDepth { messages: 7, consumers: 2 });
        assert_eq!(QueueStatus::new(Queue::Fanout, depth, sizes["postrider.fanout"]).members, Some(105));
        assert_eq!(QueueStatus::new(Queue::Fanout, None, 1.0).members, None);
    }
}
