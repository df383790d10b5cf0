//! Settings of the recorder.

use std::time::Duration;

use postrider_broker::ConsumeOptions;

/// Settings of the recorder; the defaults are what production runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Days that events, deliveries and attempts are kept: older partitions are dropped.
    pub retention_days: u32,
    /// Messages (bundles) that each queue sends ahead: what is held while the database is away.
    pub prefetch: u16,
    /// Bytes of messages in hand at most, of each queue.
    pub bytes_max: usize,
    /// Members that are enough for a batch when nothing is being written.
    pub batch_members: usize,
    /// Members of a batch at most, which gather while another batch is being written.
    pub batch_members_max: usize,
    /// How long members gather before they are written although they are few.
    pub batch_wait: Duration,
    /// How often partitions are made ahead and dropped.
    pub maintain_every: Duration,
    /// The pause after making or dropping partitions failed.
    pub maintain_again_after: Duration,
    /// Longest that dropping a partition waits for its readers before it is tried again.
    pub partition_lock_timeout: Duration,
    /// How often counted values of events' attributes are written.
    pub attributes_every: Duration,
    /// How often the outbox relay looks for entries.
    pub relay_every: Duration,
    /// How old an entry must be before the outbox relay publishes it: its author publishes it at once.
    pub relay_after: Duration,
    /// How a replay is fed.
    pub replay: ReplayConfig,
    /// How what was lost behind our back is found and repaired.
    pub reconcile: ReconcileConfig,
    /// How often the log is audited; more rarely where an audit takes long.
    pub audit_every: Duration,
    /// How often the deliveries that wait are counted; more rarely where counting takes long.
    pub count_waiting_every: Duration,
}

/// How the reconciler tells what is lost from what is late, and how fast it repairs.
#[derive(Debug, Clone)]
pub struct ReconcileConfig {
    /// How often it looks; more rarely where a look takes long.
    pub every: Duration,
    /// How long the queues must have been empty, and nothing written, to count as all there is.
    pub settle: Duration,
    /// How much younger than an event those must be that are decided already, for it to be overtaken for good.
    pub decided_after: Duration,
    /// The same of attempts: longer than any hold, for a held delivery reports nothing.
    pub attempted_after: Duration,
    /// Messages (bundles) waiting in a queue from which on nothing is repaired.
    pub waiting_max: u32,
    /// Events or deliveries that are repaired at once at most.
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
    /// The same for deployments whose deliveries are held at most this long, and for impatient tests: attempts are overdue after so
    /// long, and whatever else is waited for is no longer than that.
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

/// How fast replays are fed; slow enough not to delay live deliveries.
#[derive(Debug, Clone)]
pub struct ReplayConfig {
    /// Events of one page at most.
    pub page_events: u32,
    /// Deliveries that are enough for a page.
    pub page_deliveries: u64,
    /// The pause after each page, and between looks at a bulk lane that has enough to do.
    pub page_every: Duration,
    /// Messages (bundles) waiting in the bulk lane from which on nothing is fed.
    pub waiting_max: u32,
    /// How long the broker may take to confirm a page, before it is given up and fed again.
    pub confirm_timeout: Duration,
    /// How often a new replay is looked for while there is none.
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
