//! The fault table: the rows that the scenarios write (`tests/it/harness/fault.rs`). The table is printed and written to
//! `docs/faults.md`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{child, marked, report};

/// The variable that contains the path of the file to which scenarios append their rows.
pub(crate) const VARIABLE: &str = "POSTRIDER_FAULTS_FILE";
const DOCUMENT: &str = "docs/faults.md";
const HEADER: &str = "| fault | accepted | delivered | lost | duplicates | worst delay | time to recover | audit |\n|---|---|---|---|---|---|---|---|";
const BEGIN: &str = "<!-- begin: written by `cargo xtask test --faults` -->";

/// Removes the results of an earlier run, and returns the path of the file for the results.
///
/// # Errors
/// The results of an earlier run cannot be removed.
pub(crate) fn begin() -> Result<PathBuf> {
    let path = child::checkout().join("target/faults.md");
    if path.exists() {
        std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    }
    Ok(path)
}

/// Prints the table. Also writes it to the documentation if `whole` is `true`: the run was complete and no test failed.
///
/// # Errors
/// The document cannot be read or written.
pub(crate) fn end(results: &Path, whole: bool) -> Result<()> {
    let text = std::fs::read_to_string(results).unwrap_or_default();
    let mut rows: Vec<&str> = text.lines().collect();
    rows.sort_unstable();
    let table = format!("{HEADER}\n{}", rows.join("\n"));
    report::line(&table);
    if whole {
        let path = child::checkout().join(DOCUMENT);
        let document = std::fs::read_to_string(&path).with_context(|| format!("reading {DOCUMENT}"))?;
        std::fs::write(&path, marked::replace(&document, BEGIN, &table)?)
            .with_context(|| format!("writing {DOCUMENT}"))?;
        report::line(format!("written to {DOCUMENT}"));
    }
    Ok(())
}
