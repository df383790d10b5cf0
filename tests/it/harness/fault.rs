//! A row of the fault table: the effects of a fault on a run, printed and passed to `cargo xtask test --faults`.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

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
    /// POSTs after the first of a delivery.
    pub(crate) duplicates: usize,
    /// Maximum time from acceptance to arrival.
    pub(crate) worst_delay: Duration,
    /// Time from the end of the fault to the last delivery.
    pub(crate) recovered_after: Duration,
    /// The result of `postrider audit`, if the run has a database.
    pub(crate) audit: String,
}

impl FaultLine {
    /// Prints the line and adds it to the table, if there is one.
    pub(crate) fn emit(&self) {
        println!("{self:?}");
        let Some(path) = std::env::var_os(FILE) else { return };
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("the file of the table");
        // One write, so that lines of concurrent processes are not mixed.
        file.write_all(self.row().as_bytes()).expect("the table");
    }

    fn row(&self) -> String {
        let Self { fault, delivered, duplicates, .. } = self;
        let accepted = match self.unrecorded {
            0 => self.accepted.to_string(),
            unrecorded => format!("{}, of them {unrecorded} not on record yet", self.accepted),
        };
        let [worst, recovered] = [self.worst_delay, self.recovered_after].map(|time| time.as_secs_f64());
        let audit = if self.audit.is_empty() { "no log" } else { &self.audit };
        // The number of lost deliveries is 0, because otherwise the scenario has failed before.
        format!(
            "| {fault} | {accepted} | {delivered} | 0 | {duplicates} | {worst:.1} s | {recovered:.1} s | {audit} |\n"
        )
    }
}
