//! The fault table: lines that the scenarios wrote, printed and kept in `docs/faults.md`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::{child, marked, report};

/// How the scenarios find the file of their lines.
pub(crate) const VARIABLE: &str = "POSTRIDER_FAULTS_FILE";
const DOCUMENT: &str = "docs/faults.md";
const BEGIN: &str = "<!-- begin: written by `cargo xtask test --faults` -->";

/// What one fault did, as `tests/it/harness/fault.rs` writes it.
#[derive(Debug, Deserialize)]
struct Line {
    fault: String,
    accepted: u64,
    unrecorded: u64,
    delivered: u64,
    lost: u64,
    duplicates: u64,
    worst_delay_ms: u64,
    recovered_after_ms: u64,
    audit: String,
}

/// Where the lines go; empty from now on.
///
/// # Errors
/// The file of an earlier run cannot be removed.
pub(crate) fn begin() -> Result<PathBuf> {
    let path = child::checkout().join("target/faults.jsonl");
    if path.exists() {
        std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    }
    Ok(path)
}

/// Prints the table; writes it into the documentation when the run was `whole` (nothing failed, nothing was left out). False when
/// something was lost.
///
/// # Errors
/// A line or the document cannot be read, or the document cannot be written.
pub(crate) fn end(lines: &Path, whole: bool) -> Result<bool> {
    let text = std::fs::read_to_string(lines).unwrap_or_default();
    let mut found: Vec<Line> = Vec::new();
    for line in text.lines() {
        found.push(serde_json::from_str(line).with_context(|| format!("a line of the fault table: {line}"))?);
    }
    found.sort_by(|one, other| one.fault.cmp(&other.fault));
    let table = table(&found);
    report::line(&table);
    if whole {
        let path = child::checkout().join(DOCUMENT);
        let document = std::fs::read_to_string(&path).with_context(|| format!("reading {DOCUMENT}"))?;
        std::fs::write(&path, marked::replace(&document, BEGIN, &table)?)
            .with_context(|| format!("writing {DOCUMENT}"))?;
        report::line(format!("written to {DOCUMENT}"));
    }
    Ok(found.iter().all(|line| line.lost == 0))
}

fn table(lines: &[Line]) -> String {
    let mut table = String::from(
        "| fault | accepted | delivered | lost | duplicates | worst delay | time to recover | audit |\n\
         |---|---|---|---|---|---|---|---|",
    );
    for line in lines {
        let accepted = match line.unrecorded {
            0 => line.accepted.to_string(),
            unrecorded => format!("{}, of them {unrecorded} not on record yet", line.accepted),
        };
        let seconds = |ms: u64| format!("{:.1} s", ms as f64 / 1_000.0);
        let (worst, recovered) = (seconds(line.worst_delay_ms), seconds(line.recovered_after_ms));
        let audit = if line.audit.is_empty() { "no log" } else { &line.audit };
        table.push_str(&format!(
            "\n| {} | {accepted} | {} | {} | {} | {worst} | {recovered} | {audit} |",
            line.fault, line.delivered, line.lost, line.duplicates
        ));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_a_row_of_the_table() {
        let lines = [Line {
            fault: "power".into(),
            accepted: 10,
            unrecorded: 1,
            delivered: 14,
            lost: 0,
            duplicates: 2,
            worst_delay_ms: 1_234,
            recovered_after_ms: 50,
            audit: "conserved".into(),
        }];
        let row = "| power | 10, of them 1 not on record yet | 14 | 0 | 2 | 1.2 s | 0.1 s | conserved |";
        assert!(table(&lines).ends_with(row), "{}", table(&lines));
    }
}
