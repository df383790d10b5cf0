//! `cargo xtask guarantees`: writes docs/guarantees.md from the doc comments of the end-to-end tests.
//!
//! The doc comment of a test or of a whole file states a promise in a paragraph with one of two forms: `Guarantee (<section of
//! the page>): <promise>.` or, if another test has the same promise, ``Guarantee: as `<file>::<test>`.`` Only the tables of the
//! page are generated.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{child, marked, report};

const PAGE: &str = "docs/guarantees.md";
const BEGIN: &str = "<!-- begin: written by `cargo xtask guarantees` -->";

/// A promise and the tests that check it.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    section: String,
    promise: String,
    tests: Vec<String>,
}

/// Writes the page.
pub(crate) fn write() -> Result<()> {
    let path = child::checkout().join(PAGE);
    let page = std::fs::read_to_string(&path).with_context(|| format!("reading {PAGE}"))?;
    std::fs::write(&path, current(&page)?).with_context(|| format!("writing {PAGE}"))?;
    report::line(format!("{PAGE} is current"));
    Ok(())
}

/// Returns the page with tables that are generated from the current tests.
fn current(page: &str) -> Result<String> {
    let mut stated = Vec::new();
    for folder in ["tests/it", "tests/faults"] {
        let folder = child::checkout().join(folder);
        for file in sources(&folder)? {
            let module = file.strip_prefix(&folder)?.with_extension("");
            let module = module.to_string_lossy().trim_end_matches("/mod").replace('/', "::");
            stated.extend(statements(&module, &std::fs::read_to_string(&file)?));
        }
    }
    with_tables(page, &rows(stated)?)
}

/// Returns the Rust files in a folder and its subfolders, sorted by path.
pub(crate) fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Returns all `Guarantee` paragraphs of a file, each with the name of its test. For the paragraph of the whole file, the name
/// is `<module>::…`.
fn statements(module: &str, text: &str) -> Vec<(String, String)> {
    let (mut found, mut waiting): (Vec<(String, String)>, Vec<String>) = Default::default();
    let mut in_paragraph = false;
    for line in text.lines() {
        let comment = line.strip_prefix("/// ").or_else(|| line.strip_prefix("//! "));
        match comment {
            Some(words) if words.starts_with("Guarantee") => waiting.push(words.to_owned()),
            Some(words) if in_paragraph => {
                waiting.last_mut().into_iter().for_each(|last| *last += &format!(" {words}"))
            }
            _ => {}
        }
        in_paragraph = comment.is_some_and(|words| in_paragraph || words.starts_with("Guarantee"));
        let name = line.split_once("fn ").and_then(|(_, rest)| rest.split_once('(')).map(|(name, _)| name);
        let is_code = !line.starts_with("//") && !line.starts_with("#[");
        if is_code {
            let name = name.unwrap_or("…");
            found.extend(waiting.drain(..).map(|words| (format!("{module}::{name}"), words)));
        }
    }
    found
}

/// Converts the statements to rows. A statement that refers to another test is added to the row of that test.
fn rows(stated: Vec<(String, String)>) -> Result<Vec<Row>> {
    let (promises, references): (Vec<_>, Vec<_>) =
        stated.into_iter().partition(|(_, words)| words.starts_with("Guarantee ("));
    let mut rows = Vec::new();
    for (test, words) in promises {
        let parts = words.trim_start_matches("Guarantee (").trim_end_matches('.').split_once("): ");
        let (section, promise) = parts.with_context(|| format!("{test}: {words:?} has no section and promise"))?;
        rows.push(Row { section: section.to_owned(), promise: promise.to_owned(), tests: vec![test] });
    }
    for (test, words) in references {
        let other = words.trim_start_matches("Guarantee: as `").trim_end_matches("`.");
        let row = rows.iter_mut().find(|row: &&mut Row| row.tests[0] == other);
        row.with_context(|| format!("{test}: {words:?} names no test that states a guarantee"))?.tests.push(test);
    }
    Ok(rows)
}

/// Returns the page with the generated table in each section.
fn with_tables(page: &str, rows: &[Row]) -> Result<String> {
    let mut written = 0;
    let mut sections = page.split_inclusive("\n## ").map(str::to_owned).collect::<Vec<_>>();
    for section in &mut sections {
        let title = section.lines().next().unwrap_or_default().to_owned();
        let own: Vec<_> = rows.iter().filter(|row| row.section == title).collect();
        written += own.len();
        if !own.is_empty() {
            let line = |row: &&Row| {
                format!(
                    "| {} | {} |",
                    row.promise,
                    row.tests.iter().map(|test| format!("`{test}`")).collect::<Vec<_>>().join(", ")
                )
            };
            let lines: Vec<_> = own.iter().map(line).collect();
            *section =
                marked::replace(section, BEGIN, &format!("| promise | test |\n|---|---|\n{}", lines.join("\n")))?;
        }
    }
    if written != rows.len() {
        let unknown = rows.iter().find(|row| !page.contains(&format!("\n## {}\n", row.section)));
        bail!("{PAGE} has no section for {unknown:?}");
    }
    Ok(sections.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_current() {
        let page = std::fs::read_to_string(child::checkout().join(PAGE)).unwrap();
        assert_eq!(current(&page).unwrap(), page, "run `cargo xtask guarantees`");
        assert!(page.matches("\n| ").count() > 60, "the tests state too little");
    }

    #[test]
    fn statements_belong_to_the_next_function_or_to_the_file() {
        let text = "//! A file.\n//!\n//! Guarantee (One): All of\n//! it.\n\nuse x;\n\n/// Words.\n///\n\
                    /// Guarantee: as `a::…`.\n#[tokio::test]\nasync fn first() {\n}\n";
        let stated = statements("a", text);
        assert_eq!(stated[0], ("a::…".to_owned(), "Guarantee (One): All of it.".to_owned()));
        let rows = rows(stated).unwrap();
        assert_eq!(
            rows,
            [Row {
                section: "One".into(), promise: "All of it".into(), tests: vec!["a::…".into(), "a::first".into()]
            }]
        );
        let page = format!("# G\n\n## One\n\n{BEGIN}\n<!-- end -->\n");
        assert!(with_tables(&page, &rows).unwrap().contains("| All of it | `a::…`, `a::first` |\n<!-- end -->"));
        assert!(with_tables("# G\n\n## Two\n", &rows).is_err());
    }
}
