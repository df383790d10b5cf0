//! Settings of the recorder.

use std::time::Duration;

use postrider_broker::ConsumeOptions;

/// Settings of the recorder. The defaults are for production.
#[derive(Debug, Clone)]
pub struct Config {
    /// Retention of events, deliveries and attempts, in days; older partitions are dropped.
    pub retention_days: u32,
    /// Prefetch of each queue in messages (bundles). While the database is away the recorder keeps this many unacked.
    pub prefetch: u16,
    /// Maximum bytes of unacked messages from each queue.
    pub bytes_max: usize,
    /// Members that end the gathering of a batch if no other batch is being written.
    pub batch_members: usize,
    /// Maximum members of a batch. It gathers up to this many while another batch is being written.
    pub batch_members_max: usize,
    /// How long a batch with fewer members gathers before it is written.
    pub batch_wait: Duration,
    /// How often partitions are created ahead and dropped.
    pub maintain_every: Duration,
    /// The pause after a failure to create or drop partitions.
    pub maintain_again_after: Duration,
    /// Lock timeout of each statement that drops a partition; readers of the partition hold the lock.
    pub partition_lock_timeout: Duration,
    /// How often counts of attribute values are written.
    pub attributes_every: Duration,
    /// How often the outbox relay looks for entries to publish.
    pub relay_every: Duration,
    /// Minimum age of an entry that the outbox relay publishes. Younger entries are left to the process that committed them.
    pub relay_after: Duration,
    /// Settings of the replayer.
    pub replay: ReplayConfig,
    /// Settings of the reconciler.
    pub reconcile: ReconcileConfig,
    /// How often the history is audited; less often if an audit is slow.
    pub audit_every: Duration,
    /// How often pending deliveries are counted; less often if a count is slow.
    pub count_waiting_every: Duration,
}

/// How the reconciler distinguishes lost messages from late ones, and how fast it repairs.
#[derive(Debug, Clone)]
pub struct ReconcileConfig {
    /// How often the reconciler scans; less often if a scan is slow.
    pub every: Duration,
    /// How long all queues must stay empty, with nothing written, before the reconciler assumes that nothing is left to read.
    pub quiet_for: Duration,
    /// An undecided event counts as lost once an event that was accepted this much later is decided.
    pub decided_after: Duration,
    /// An attempt counts as lost once an outcome this much later is recorded. Longer than any hold: a hold reports nothing.
    pub attempted_after: Duration,
    /// Depth of any queue in messages (bundles) above which nothing is repaired.
    pub waiting_max: u32,
    /// Maximum events or deliveries in one repair.
    pub page: u32,
    /// The pause before the next page of a scan or a repair.
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
    /// Sets when attempts count as lost, for deployments with shorter holds and for tests. Caps all other waits at that time.
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

/// How fast replays are fed; slow enough not to delay live deliveries.
#[derive(Debug, Clone)]
pub struct ReplayConfig {
    /// Maximum events that are read for a page.
    pub page_events: u32,
    /// A page ends with the event that reaches this number of deliveries.
    pub page_deliveries: u64,
    /// The pause after each page, and between checks of a bulk lane that is too deep.
    pub page_every: Duration,
    /// Depth of the bulk lane in messages (bundles) at which feeding pauses.
    pub waiting_max: u32,
    /// How long the broker may take to confirm a page. After that the page is fed again.
    pub confirm_timeout: Duration,
    /// How often to look for a replay while none is running.
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
            batch_wait: Duration::from_millis(100),
            maintain_every: Duration::from_secs(3_600),
            maintain_again_after: Duration::from_secs(300),
            partition_lock_timeout: Duration::from_secs(5),
            attributes_every: Duration::from_secs(5),
            relay_every: Duration::from_secs(2),
            relay_after: Duration::from_secs(10),
            replay: ReplayConfig::default(),
            reconcile: ReconcileConfig::default(),
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
