//! docs/metrics.md has a row for every metric, and every row is a metric: names are compared with the string literals of
//! the shipped crates.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::child::checkout;

/// Source files under a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "tests" && name != "target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// What looks like a metric's name between two quotes, up to where the file's own tests begin.
fn names(text: &str, quote: char) -> BTreeSet<String> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let is_name = |part: &&str| {
        ["ingest_", "fanout_", "dispatcher_", "recorder_", "broker_", "store_", "api_"].iter().any(|service| {
            part.strip_prefix("postrider_").and_then(|rest| rest.strip_prefix(service)).is_some_and(|rest| {
                !rest.is_empty()
                    && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit())
            })
        })
    };
    text.split(quote).filter(is_name).map(str::to_owned).collect()
}

#[test]
fn the_page_of_metrics_names_each_metric_and_no_other() {
    let mut files = Vec::new();
    for folder in ["services", "shared"] {
        sources(&checkout().join(folder), &mut files);
    }
    let text = |path: PathBuf| std::fs::read_to_string(path).expect("a file");
    // Only where they are counted or described: `RUST_LOG` and databases have such names, too.
    let counted = files.into_iter().filter(|path| path.ends_with("metrics.rs")).map(text);
    let in_code: BTreeSet<String> = counted.flat_map(|text| names(&text, '"')).collect();
    let in_page = names(&text(checkout().join("docs/metrics.md")), '`');
    let missing: Vec<_> = in_code.difference(&in_page).collect();
    let invented: Vec<_> = in_page.difference(&in_code).collect();
    assert!(missing.is_empty(), "docs/metrics.md has no row for {missing:?}");
    assert!(invented.is_empty(), "docs/metrics.md names metrics that no metrics.rs has: {invented:?}");
    assert!(in_code.len() > 40, "{in_code:?}");
}
