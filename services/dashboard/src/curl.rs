//! Writes an attempt as a `curl` command.

use postrider_model::attempt::SECRET_MASK;
use postrider_operations::deliveries::Attempt;

use crate::language::{Text, t};

/// The command that sends the request of an attempt again, with the body, the headers and the signature that were sent. Secret
/// values of headers are masked, because the history does not have them. The command has no comments, because an interactive zsh
/// does not support them.
pub(crate) fn command(attempt: &Attempt, body: &str) -> String {
    // Without `--globoff`, `curl` expands brackets and braces in the URL.
    let mut lines = vec![format!("curl --globoff --request POST {}", quoted(&attempt.url))];
    let named = |wanted: &str| attempt.request_headers.iter().any(|header| header.name.eq_ignore_ascii_case(wanted));
    for header in &attempt.request_headers {
        lines.push(format!("  --header {}", quoted(&format!("{}: {}", header.name, header.value))));
    }
    // `curl` adds these headers unless they are set. A header name without a value makes `curl` leave out the header.
    for name in ["accept", "user-agent"].into_iter().filter(|name| !named(name)) {
        lines.push(format!("  --header '{name}:'"));
    }
    lines.push(format!("  --data-raw {}", quoted(body)));
    format!("{}\n", lines.join(" \\\n"))
}

/// A sentence about what is missing in the command of an attempt; `None` if nothing is missing.
pub(crate) fn remark(attempt: &Attempt) -> Option<Text> {
    let masked = attempt.request_headers.iter().any(|header| header.value == SECRET_MASK);
    masked.then(|| t!("In the command, {mask} stands for a secret value, which is not stored.", mask = SECRET_MASK))
}

/// Quotes a text, so that a POSIX shell reads it as one word.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_leaves_its_quotes() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("a\n$(b) \\"), "'a\n$(b) \\'");
    }
}
