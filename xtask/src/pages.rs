//! Checks the documentation: relative links lead to files and headings that exist, docs/README.md lists every page, and
//! ARCHITECTURE.md contains only names of tests that exist.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use crate::child::checkout;
use crate::guarantees::sources;

/// Returns the Markdown files in the root and in `docs/`, with paths relative to the checkout.
fn pages() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["", "docs", "docs/operations"] {
        for entry in std::fs::read_dir(checkout().join(folder)).expect("a folder").flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "md") {
                found.push(Path::new(folder).join(entry.file_name()));
            }
        }
    }
    found
}

/// Returns the page without its code blocks.
fn prose(page: &Path) -> String {
    let text = std::fs::read_to_string(checkout().join(page)).expect("a page");
    text.split("```").step_by(2).collect()
}

/// Returns the anchor of a heading, as GitHub generates it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
    kept.collect::<String>().trim().to_lowercase().replace(' ', "-")
}

fn anchors(page: &Path) -> BTreeSet<String> {
    let headings = prose(page);
    let headings = headings.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#'))).collect()
}

/// Returns the targets of the page's links within the repository, and the anchors of the links.
fn links(page: &Path) -> Vec<(PathBuf, Option<String>)> {
    let text = prose(page);
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let inside = targets.filter(|target| !target.contains(':') && !target.contains(char::is_whitespace));
    inside
        .map(|target| {
            let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
            let folder = page.parent().unwrap_or(Path::new(""));
            let path = if path.is_empty() { page.to_path_buf() } else { normalised(&folder.join(path)) };
            (path, anchor.map(str::to_owned))
        })
        .collect()
}

/// Returns the path without `..`.
fn normalised(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    parts
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut broken = Vec::new();
    let mut checked = 0;
    for page in pages() {
        for (target, anchor) in links(&page) {
            checked += 1;
            let exists = checkout().join(&target).exists();
            let is_page = target.extension().is_some_and(|extension| extension == "md");
            let found = exists && anchor.as_ref().is_none_or(|anchor| !is_page || anchors(&target).contains(anchor));
            if !found {
                broken.push(format!("{}: {} {anchor:?}", page.display(), target.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(checked > 100, "{checked} links");
}

#[test]
fn the_index_lists_every_page() {
    let index = Path::new("docs/README.md");
    let listed: BTreeSet<PathBuf> = links(index).into_iter().map(|(target, _)| target).collect();
    let missing: Vec<PathBuf> = pages()
        .into_iter()
        .filter(|page| page.starts_with("docs") && page != index && !listed.contains(page))
        .collect();
    assert!(missing.is_empty(), "docs/README.md does not list {missing:?}");
}

#[test]
fn every_test_named_by_the_architecture_exists() {
    let page = prose(Path::new("ARCHITECTURE.md"));
    let is_test = |name: &&str| {
        let letters = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        letters && name.matches('_').count() >= 4
    };
    let named: Vec<&str> = page.split('`').skip(1).step_by(2).filter(is_test).collect();
    let files = ["services", "shared", "tests"].map(|folder| sources(&checkout().join(folder)).expect("sources"));
    let code: String = files.iter().flatten().map(|file| std::fs::read_to_string(file).expect("a file")).collect();
    let missing: Vec<&&str> = named.iter().filter(|name| !code.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names tests that do not exist: {missing:?}");
    assert!(named.len() >= 10, "{named:?}");
}
