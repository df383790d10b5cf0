//! Settings of the recorder.

use std::time::Duration;

use postrider_broker::ConsumeOptions;

/// Settings of the recorder. The defaults are for production.
#[derive(Debug, Clone)]
pub struct Config {
    /// Retention of events, deliveries and attempts, in days; older partitions are dropped.
    pub retention_days: u32,
    /// Prefetch of each queue in messages (bundles): as many are held while the database is away.
    pub prefetch: u16,
    /// Maximum bytes of unacked messages from each queue.
    pub bytes_max: usize,
    /// Members that complete a batch when no other batch is being written.
    pub batch_members: usize,
    /// Maximum members of a batch, which gathers while another batch is being written.
    pub batch_members_max: usize,
    /// How long an incomplete batch gathers before it is written.
    pub batch_wait: Duration,
    /// How often partitions are created ahead and dropped.
    pub maintain_every: Duration,
    /// The pause after creating or dropping partitions failed.
    pub maintain_again_after: Duration,
    /// Lock timeout for dropping a partition that has readers.
    pub partition_lock_timeout: Duration,
    /// How often counts of attribute values are written.
    pub attributes_every: Duration,
    /// How often the outbox relay looks for entries.
    pub relay_every: Duration,
    /// How old an entry must be before the outbox relay publishes it. Younger entries are left to the process that wrote them.
    pub relay_after: Duration,
    /// How replays are fed.
    pub replay: ReplayConfig,
    /// How lost messages are found and published again.
    pub reconcile: ReconcileConfig,
    /// How often the log is audited; less often when an audit is slow.
    pub audit_every: Duration,
    /// How often pending deliveries are counted; less often when counting is slow.
    pub count_waiting_every: Duration,
}

/// How the reconciler tells lost messages from late ones, and how fast it repairs.
#[derive(Debug, Clone)]
pub struct ReconcileConfig {
    /// How often it scans; less often when a scan is slow.
    pub every: Duration,
    /// How long the queues must be empty with nothing written before the reconciler assumes that it has read everything.
    pub settle: Duration,
    /// An undecided event counts as lost once an event accepted this much later is decided.
    pub decided_after: Duration,
    /// The same for attempts. Longer than any hold, because a held delivery reports nothing.
    pub attempted_after: Duration,
    /// Queue depth in messages (bundles) above which nothing is repaired.
    pub waiting_max: u32,
    /// Maximum events or deliveries repaired at once.
    pub page: u32,
    /// The pause after each page.
    pub page_every: Duration,
}

impl Default for ReconcileConfig {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(30),
            settle: Duration::from_secs(30),
            decided_after: Duration::from_secs(120),
            attempted_after: Duration::from_secs(900),
            waiting_max: 20,
            page: 200,
            page_every: Duration::from_secs(1),
        }
    }
}

impl ReconcileConfig {
    /// Sets when attempts are overdue, for deployments with shorter holds and for tests. Every other wait is capped at the same
    /// duration.
    #[must_use]
    pub fn attempted_after(self, attempted_after: Duration) -> Self {
        Self {
            every: self.every.min(attempted_after),
            settle: self.settle.min(attempted_after),
            decided_after: self.decided_after.min(attempted_after),
            attempted_after,
            ..self
        }
    }
}

/// How fast replays are fed: slowly enough not to delay live deliveries.
#[derive(Debug, Clone)]
pub struct ReplayConfig {
    /// Maximum events of a page.
    pub page_events: u32,
    /// Deliveries that complete a page.
    pub page_deliveries: u64,
    /// The pause after each page, and between checks of a bulk lane that is full.
    pub page_every: Duration,
    /// Depth of the bulk lane in messages (bundles) at which feeding pauses.
    pub waiting_max: u32,
    /// How long the broker may take to confirm a page before the page is fed again.
    pub confirm_timeout: Duration,
    /// How often to look for a new replay while none is running.
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
