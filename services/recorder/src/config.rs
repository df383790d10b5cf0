//! What the recorder is started with.

use std::time::Duration;

use postrider_broker::ConsumeOptions;
use url::Url;

/// What the recorder is started with. The defaults are the values for production.
#[derive(Debug, Clone)]
pub struct Config {
    /// Retention of events, deliveries and attempts, in days. Older partitions are dropped.
    pub retention_days: u32,
    /// Prefetch of each queue in messages (bundles). While the database is unavailable, this number of messages remains
    /// unacked.
    pub prefetch: u16,
    /// Maximum bytes of unacked messages of each queue.
    pub bytes_max: usize,
    /// Number of members at which a batch is complete if no other batch is being written.
    pub batch_members: usize,
    /// Maximum number of members in a batch. A batch grows up to this number while another batch is being written.
    pub batch_members_max: usize,
    /// Maximum time to wait for further members before a smaller batch is written.
    pub batch_wait: Duration,
    /// Interval at which partitions are created ahead and dropped.
    pub maintain_every: Duration,
    /// Pause after partitions could not be created or dropped.
    pub maintain_again_after: Duration,
    /// Lock timeout of each statement that drops a partition. Transactions that read the partition hold a lock on it.
    pub partition_lock_timeout: Duration,
    /// Interval at which counts of attribute values are written.
    pub attributes_every: Duration,
    /// Interval at which the outbox relay checks for entries to publish.
    pub relay_every: Duration,
    /// Minimum age of an entry that the outbox relay publishes. A younger entry is published by the process that committed it.
    pub relay_after: Duration,
    /// The speed of replays.
    pub replay: ReplayConfig,
    /// Times and limits of the reconciler.
    pub reconcile: ReconcileConfig,
    /// The URL of the deployment for people, which links in notices begin with.
    pub public_url: Option<Url>,
    /// Minimum interval between audits of the history. The interval is longer if an audit is slow.
    pub audit_every: Duration,
    /// Minimum interval between counts of pending deliveries. The interval is longer if a count is slow.
    pub count_waiting_every: Duration,
}

/// How the reconciler distinguishes lost messages from late messages, and the speed of its repairs.
#[derive(Debug, Clone)]
pub struct ReconcileConfig {
    /// Minimum interval between scans of the reconciler. The interval is longer if a scan is slow.
    pub every: Duration,
    /// Time for which all queues must be empty, and nothing written, before the reconciler assumes that there are no more
    /// messages to read.
    pub quiet_for: Duration,
    /// An undecided event counts as lost after the decision about an event that was accepted at least this duration later.
    pub decided_after: Duration,
    /// A due attempt counts as lost after the recorder has written an outcome that is at least this duration later than the due
    /// time. The duration must be longer than any hold, because no outcome is published while a delivery is held. A line of an
    /// ordered endpoint stands still if its run has ended on record for this duration and was not reported; so the duration must
    /// also be longer than a run, which takes at most two minutes.
    pub attempted_after: Duration,
    /// Maximum length of the queues, in messages (bundles). If any queue is longer, nothing is repaired.
    pub waiting_max: u32,
    /// Maximum number of events or deliveries in one repair.
    pub page: u32,
    /// Pause before the next page of a scan or a repair.
    pub page_every: Duration,
}

impl Default for ReconcileConfig {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(30),
            quiet_for: Duration::from_secs(30),
            decided_after: Duration::from_secs(120),
            attempted_after: Duration::from_secs(900),
            waiting_max: 20,
            page: 200,
            page_every: Duration::from_secs(1),
        }
    }
}

impl ReconcileConfig {
    /// Sets the time after which attempts count as lost, for deployments with shorter holds and for tests. The other times
    /// become at most this long.
    #[must_use]
    pub fn attempted_after(self, attempted_after: Duration) -> Self {
        Self {
            every: self.every.min(attempted_after),
            quiet_for: self.quiet_for.min(attempted_after),
            decided_after: self.decided_after.min(attempted_after),
            attempted_after,
            ..self
        }
    }
}

/// The speed at which replays create deliveries. It is low enough that live deliveries are not delayed.
#[derive(Debug, Clone)]
pub struct ReplayConfig {
    /// Maximum number of events that are read for a page.
    pub page_events: u32,
    /// A page ends with the event at which it contains this number of deliveries.
    pub page_deliveries: u64,
    /// Pause after each page, and between two checks while the bulk lane is too long.
    pub page_every: Duration,
    /// Length of the bulk lane, in messages (bundles), at which replays pause.
    pub waiting_max: u32,
    /// Maximum time until the broker confirms a page. After that, the page is published again.
    pub confirm_timeout: Duration,
    /// Interval at which the replayer checks for a new replay while no replay is running.
    pub look_every: Duration,
}

impl Default for ReplayConfig {
    fn default() -> Self {
        Self {
            page_events: 100,
            page_deliveries: 200,
            page_every: Duration::from_millis(100),
            waiting_max: 20,
            confirm_timeout: Duration::from_secs(5),
            look_every: Duration::from_millis(500),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            retention_days: 30,
            prefetch: 500,
            bytes_max: 32 * 1024 * 1024,
            batch_members: 2_000,
            batch_members_max: 8_000,
            batch_wait: Duration::from_millis(200),
            maintain_every: Duration::from_secs(3_600),
            maintain_again_after: Duration::from_secs(300),
            partition_lock_timeout: Duration::from_secs(5),
            attributes_every: Duration::from_secs(5),
            relay_every: Duration::from_secs(2),
            relay_after: Duration::from_secs(10),
            replay: ReplayConfig::default(),
            reconcile: ReconcileConfig::default(),
            public_url: None,
            audit_every: Duration::from_secs(3_600),
            count_waiting_every: Duration::from_secs(10),
        }
    }
}

impl Config {
    pub(crate) fn consume_options(&self) -> ConsumeOptions {
        ConsumeOptions { prefetch: self.prefetch, bytes_max: self.bytes_max, ..ConsumeOptions::default() }
    }
}
