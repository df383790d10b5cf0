//! A line of the fault table: what a fault did to a run, for people and, as JSON, for `cargo xtask test --faults`.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use serde_json::json;

/// Where the lines go; set by `cargo xtask test --faults`.
const FILE: &str = "POSTRIDER_FAULTS_FILE";

/// What one fault did.
#[derive(Debug, Clone, Default)]
pub(crate) struct FaultLine {
    /// The fault, in a few words.
    pub(crate) fault: String,
    /// Events that were answered with 202 (or confirmed by the exchange).
    pub(crate) accepted: usize,
    /// Of these, events that the broker lost before they were recorded.
    pub(crate) unrecorded: usize,
    /// Deliveries that arrived, each once.
    pub(crate) delivered: usize,
    /// Deliveries of recorded events that did not arrive.
    pub(crate) lost: usize,
    /// POSTs beyond the first of a delivery.
    pub(crate) duplicates: usize,
    /// The longest time from accepted to arrived.
    pub(crate) worst_delay: Duration,
    /// From the end of the fault to the last delivery.
    pub(crate) recovered_after: Duration,
    /// What `postrider audit` said, where the run has a log.
    pub(crate) audit: String,
}

impl FaultLine {
    /// Prints it, and adds it to the table if there is one.
    pub(crate) fn emit(&self) {
        println!("{self:?}");
        let Some(path) = std::env::var_os(FILE) else { return };
        let line = json!({
            "fault": self.fault, "accepted": self.accepted, "unrecorded": self.unrecorded, "delivered": self.delivered,
            "lost": self.lost, "duplicates": self.duplicates, "worst_delay_ms": millis(self.worst_delay),
            "recovered_after_ms": millis(self.recovered_after), "audit": self.audit,
        });
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("the file of the table");
        // One write, so that lines of several processes stay whole.
        file.write_all(format!("{line}\n").as_bytes()).expect("the table");
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
