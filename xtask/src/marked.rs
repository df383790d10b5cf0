//! Generated parts of documentation pages. A generated part is the text between a line `<!-- begin … -->` and the next line
//! `<!-- end -->`.

use anyhow::{Context, Result};

const END: &str = "<!-- end -->";

/// Returns the page with `text` between the first `begin` line and the end line that follows it.
///
/// # Errors
/// The page lacks one of the two lines.
pub(crate) fn replace(page: &str, begin: &str, text: &str) -> Result<String> {
    let parts = page.split_once(begin).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.with_context(|| format!("the page lacks the lines {begin:?} and {END:?}"))?;
    Ok(format!("{before}{begin}\n{text}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_between_the_markers_changes() {
        let written = replace("# A\n<!-- begin: x -->\nold\n<!-- end -->\nmore\n", "<!-- begin: x -->", "new").unwrap();
        assert_eq!(written, "# A\n<!-- begin: x -->\nnew\n<!-- end -->\nmore\n");
        assert!(replace("no markers", "<!-- begin: x -->", "").is_err());
    }
}
