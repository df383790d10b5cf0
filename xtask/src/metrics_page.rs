//! Compares the rows of docs/metrics.md with the names of metrics in the shipped crates.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::child::checkout;
use crate::guarantees::sources;

/// Returns the names of metrics that are enclosed in `quote`, without the names in the tests of the file.
fn names(text: &str, quote: char) -> BTreeSet<String> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let is_name = |part: &&str| {
        part.strip_prefix("postrider_").is_some_and(|rest| {
            !rest.is_empty()
                && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit())
        })
    };
    text.split(quote).filter(is_name).map(str::to_owned).collect()
}

#[test]
fn the_page_of_metrics_names_each_metric_and_no_other() {
    let files = ["services", "shared"].map(|folder| sources(&checkout().join(folder)).expect("sources"));
    let text = |path: PathBuf| std::fs::read_to_string(path).expect("a file");
    // Reads only files that use the macros of `metrics`. In other files, `postrider_…` may also be the name of a crate in a log
    // filter, or of a database.
    let counts = |text: &String| ["counter!(", "gauge!(", "histogram!("].iter().any(|call| text.contains(call));
    let counted = files.into_iter().flatten().map(text).filter(counts);
    let in_code: BTreeSet<String> = counted.flat_map(|text| names(&text, '"')).collect();
    let in_page = names(&text(checkout().join("docs/metrics.md")), '`');
    let missing: Vec<_> = in_code.difference(&in_page).collect();
    let invented: Vec<_> = in_page.difference(&in_code).collect();
    assert!(missing.is_empty(), "docs/metrics.md has no row for {missing:?}");
    assert!(invented.is_empty(), "docs/metrics.md names metrics that no file counts: {invented:?}");
    assert!(in_code.len() > 40, "{in_code:?}");
}
