//! What changed between an attempt and the one before it: the answer, the request, and the time.

use std::collections::BTreeSet;

use maud::{Markup, html};
use postrider_operations::deliveries::{Attempt, Header};

use crate::format::{duration, status_line};
use crate::language::{Text, t};
use crate::texts::outcome_name;

/// Maximum number of changed lines of a response body that are shown of each attempt.
const LINES_MAX: usize = 12;
/// Parts of the names of request headers that differ with each attempt, such as its signature.
const OF_EACH_ATTEMPT: [&str; 4] = ["signature", "timestamp", "postrider-", "traceparent"];
/// Response headers that differ with each answer.
const OF_EACH_ANSWER: [&str; 2] = ["date", "age"];

/// A value of the two attempts, where they differ.
struct Change {
    label: Text,
    before: Option<String>,
    after: Option<String>,
}

/// The changes from the attempt `before` to the attempt `after`.
pub(crate) fn changes(before: &Attempt, after: &Attempt) -> Markup {
    let listed = all(before, after);
    let body = body(before.response_excerpt.as_deref(), after.response_excerpt.as_deref());
    let number = before.number;
    html! { section.changes {
        h3 { (t!("Changed since attempt {number}", number = number)) }
        @if listed.is_empty() && body.is_none() { p.faint { (t!("Nothing: the request and the answer were the same.")) } }
        dl.facts {
            @for change in &listed { dt { (change.label) } dd.long { (from_to(change.before.as_deref(), change.after.as_deref())) } }
            @if let Some((gone, new)) = &body { dt { (t!("Response body")) } dd { (lines(gone, new)) } }
            dt { (t!("Took")) } dd { (duration(before.duration_ms)) " → " (duration(after.duration_ms)) }
        }
    } }
}

fn from_to(before: Option<&str>, after: Option<&str>) -> Markup {
    let none = || html! { span.faint { (t!("none")) } };
    html! {
        @match before { Some(text) => del { (text) }, None => (none()) }
        " → "
        @match after { Some(text) => ins { (text) }, None => (none()) }
    }
}

/// Everything that differs, except the body and the time of the answer.
fn all(before: &Attempt, after: &Attempt) -> Vec<Change> {
    let answers = [before, after]
        .map(|attempt| attempt.status_code.map_or_else(|| outcome_name(attempt.outcome).into_owned(), status_line));
    let [was, is] = answers;
    let mut found = Vec::new();
    let mut add = |label: Text, before: Option<String>, after: Option<String>| {
        if before != after {
            found.push(Change { label, before, after });
        }
    };
    add(t!("Answer"), Some(was), Some(is));
    add(t!("Reason"), before.error.clone(), after.error.clone());
    add(t!("Sent to"), Some(before.url.clone()), Some(after.url.clone()));
    let of_each = |name: &str| OF_EACH_ATTEMPT.iter().any(|part| name.contains(part));
    for (name, before, after) in differing(&before.request_headers, &after.request_headers, of_each) {
        add(t!("Request header {name}", name = name), before, after);
    }
    // Without an answer, there are no headers to compare.
    if before.status_code.is_some() && after.status_code.is_some() {
        let of_each = |name: &str| OF_EACH_ANSWER.contains(&name);
        for (name, before, after) in differing(&before.response_headers, &after.response_headers, of_each) {
            add(t!("Response header {name}", name = name), before, after);
        }
    }
    found
}

/// The headers with different values, by name in lower case. Repeated headers are joined.
fn differing(
    before: &[Header],
    after: &[Header],
    ignored: impl Fn(&str) -> bool,
) -> Vec<(String, Option<String>, Option<String>)> {
    let names: BTreeSet<String> = before.iter().chain(after).map(|header| header.name.to_ascii_lowercase()).collect();
    let value = |headers: &[Header], name: &str| {
        let same = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        let values: Vec<&str> = same.map(|header| header.value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    };
    let values = names.into_iter().filter(|name| !ignored(name)).map(|name| {
        let (before, after) = (value(before, &name), value(after, &name));
        (name, before, after)
    });
    values.filter(|(_, before, after)| before != after).collect()
}

/// The lines of the bodies between their common first and last lines; `None` if the bodies are the same.
fn body<'a>(before: Option<&'a str>, after: Option<&'a str>) -> Option<(Vec<&'a str>, Vec<&'a str>)> {
    if before == after {
        return None;
    }
    let [mut gone, mut new] = [before, after].map(|text| text.unwrap_or_default().lines().collect::<Vec<_>>());
    let first = gone.iter().zip(&new).take_while(|(one, other)| one == other).count();
    gone.drain(..first);
    new.drain(..first);
    let last = gone.iter().rev().zip(new.iter().rev()).take_while(|(one, other)| one == other).count();
    gone.truncate(gone.len() - last);
    new.truncate(new.len() - last);
    Some((gone, new))
}

fn lines(gone: &[&str], new: &[&str]) -> Markup {
    let more = gone.len().saturating_sub(LINES_MAX) + new.len().saturating_sub(LINES_MAX);
    html! {
        pre.difference translate="no" {
            @for line in gone.iter().take(LINES_MAX) { del { (line) } }
            @for line in new.iter().take(LINES_MAX) { ins { (line) } }
        }
        @if more > 0 { p.hint { (t!(more as u64, "{count} more line differs.", "{count} more lines differ.")) } }
        @if gone.is_empty() && new.is_empty() { p.hint { (t!("Only line breaks differ.")) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Vec<Header> {
        pairs.iter().map(|(name, value)| Header { name: (*name).into(), value: (*value).into() }).collect()
    }

    #[test]
    fn headers_are_compared_by_name_without_case_and_added_or_removed_ones_are_found() {
        let before =
            headers(&[("Server", "a"), ("X-Gone", "1"), ("Date", "1"), ("same", "s"), ("two", "1"), ("two", "2")]);
        let after = headers(&[("server", "b"), ("date", "2"), ("Same", "s"), ("X-New", "n"), ("two", "1")]);
        let found = differing(&before, &after, |name| name == "date");
        let some = |text: &str| Some(text.to_owned());
        let expected = vec![
            ("server".to_owned(), some("a"), some("b")),
            ("two".to_owned(), some("1, 2"), some("1")),
            ("x-gone".to_owned(), some("1"), None),
            ("x-new".to_owned(), None, some("n")),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn only_the_lines_between_common_ones_differ() {
        let check = |before: &str, after: &str, gone: &[&str], new: &[&str]| {
            assert_eq!(body(Some(before), Some(after)), Some((gone.to_vec(), new.to_vec())), "{before} {after}");
        };
        check("a\nb\nc", "a\nx\ny\nc", &["b"], &["x", "y"]);
        check("a\na", "a\na\na", &[], &["a"]);
        check("", "ok", &[], &["ok"]);
        check("a\r\nb", "a\nb", &[], &[]);
        assert_eq!(body(Some("same"), Some("same")), None);
        assert_eq!(body(None, Some("new")), Some((vec![], vec!["new"])));
    }
}
