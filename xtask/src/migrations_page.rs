//! Checks that docs/deployment.md describes every migration, and that no migration removes something that the previous release
//! may still use.

use crate::child::checkout;

#[test]
fn the_page_has_a_row_for_every_migration() {
    let page = std::fs::read_to_string(checkout().join("docs/deployment.md")).expect("the page");
    let folder = checkout().join("shared/store/migrations");
    let mut names: Vec<_> =
        std::fs::read_dir(folder).expect("migrations").flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    assert!(!names.is_empty());
    for name in names {
        let name = name.to_string_lossy();
        let version = name.split("__").next().expect("V<number>__<name>.sql");
        assert!(
            page.lines().any(|line| line.starts_with(&format!("| {version} "))),
            "docs/deployment.md, \"Migrations and the way back\", has no row for {name}"
        );
    }
}

#[test]
fn no_migration_removes_what_the_previous_release_may_use() {
    for entry in std::fs::read_dir(checkout().join("shared/store/migrations")).expect("migrations").flatten() {
        let text = std::fs::read_to_string(entry.path()).expect("a migration").to_uppercase();
        for word in ["DROP TABLE", "DROP COLUMN", "RENAME "] {
            assert!(
                !text.contains(word),
                "{} has {word}: services of the previous release still run while it is applied. If nothing uses it any more, add an exception here",
                entry.path().display()
            );
        }
    }
}
