//! A line of the fault table: the effects of a fault on a run, printed and, as JSON, passed to `cargo xtask test --faults`.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use serde_json::json;

/// The file of the table, set by `cargo xtask test --faults`.
const FILE: &str = "POSTRIDER_FAULTS_FILE";

/// The effects of one fault.
#[derive(Debug, Clone, Default)]
pub(crate) struct FaultLine {
    /// The fault, in a few words.
    pub(crate) fault: String,
    /// Events accepted with 202 (or confirmed by the exchange).
    pub(crate) accepted: usize,
    /// Accepted events that the broker lost before they were recorded.
    pub(crate) unrecorded: usize,
    /// Distinct deliveries that arrived.
    pub(crate) delivered: usize,
    /// Deliveries of recorded events that did not arrive.
    pub(crate) lost: usize,
    /// POSTs after the first of a delivery.
    pub(crate) duplicates: usize,
    /// Maximum time from acceptance to arrival.
    pub(crate) worst_delay: Duration,
    /// Time from the end of the fault to the last delivery.
    pub(crate) recovered_after: Duration,
    /// The result of `postrider audit`, if the run has a log.
    pub(crate) audit: String,
}

impl FaultLine {
    /// Prints the line and adds it to the table, if there is one.
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
