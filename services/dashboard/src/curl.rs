//! An attempt as a command for `curl`.

use postrider_model::ids::DeliveryId;
use postrider_operations::deliveries::Attempt;

/// The command that sends the request of an attempt again: its headers and signature as they were sent, except secret values,
/// which the history does not have, and its body.
pub(crate) fn command(delivery: DeliveryId, attempt: &Attempt, body: &str) -> String {
    let mut lines = vec![format!("curl --request POST {}", quoted(&attempt.url))];
    let named = |wanted: &str| attempt.request_headers.iter().any(|header| header.name.eq_ignore_ascii_case(wanted));
    for header in &attempt.request_headers {
        lines.push(format!("  --header {}", quoted(&format!("{}: {}", header.name, header.value))));
    }
    // `curl` adds these headers unless they are set; a name without a value leaves them out.
    for name in ["accept", "user-agent"].into_iter().filter(|name| !named(name)) {
        lines.push(format!("  --header '{name}:'"));
    }
    lines.push(format!("  --data-raw {}", quoted(body)));
    let masked = if attempt.request_headers.iter().any(|header| header.value == MASK) {
        format!("# {MASK} stands for a secret value, which is not stored.\n")
    } else {
        String::new()
    };
    let at = attempt.started_at.0.to_rfc3339_seconds();
    format!("# Attempt {} of {delivery}, sent at {at}.\n{masked}{}\n", attempt.number, lines.join(" \\\n"))
}

/// What the history stores instead of a secret value.
const MASK: &str = "***";

/// A text as one word of a POSIX shell.
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
