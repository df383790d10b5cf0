//! Small pieces that many pages have.

use maud::{Markup, html};
use postrider_http::problem::Problem;

use super::form::Fields;
use super::page::Page;

/// A time: UTC as it stands here, in the visitor's zone once its script ran.
pub(super) fn time(at: &str) -> Markup {
    let (date, rest) = at.split_once('T').unwrap_or((at, ""));
    let clock = rest.split(['.', 'Z']).next().unwrap_or_default();
    html! { time datetime=(at) { (date) " " (clock) " UTC" } }
}

/// The same for one that may be missing.
pub(super) fn time_if(at: Option<&String>) -> Markup {
    html! { @if let Some(at) = at { (time(at)) } @else { span.faint { "–" } } }
}

/// A status as a word with a colour.
pub(super) fn badge(status: &str) -> Markup {
    let kind = match status {
        "delivered" | "active" | "finished" | "success" | "closed" => "good",
        "failed" | "failing" | "disabled" | "open" => "bad",
        "pending" | "running" | "half_open" => "busy",
        "paused" => "warn",
        _ => "quiet",
    };
    html! { span class={ "badge " (kind) } { (status.replace('_', " ")) } }
}

/// A status code as a word with a colour.
pub(super) fn code(code: Option<u16>) -> Markup {
    let kind = match code {
        Some(200..300) => "good",
        Some(300..500) => "warn",
        Some(_) => "bad",
        None => "quiet",
    };
    html! { @match code {
        Some(code) => span class={ "badge " (kind) } { (code) },
        None => span.faint { "–" },
    } }
}

/// Next to a list: on to older things, and back to the newest.
pub(super) fn pager(page: &Page, next_cursor: Option<&String>) -> Markup {
    let path = page.path();
    let to = |query: String| if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let paged = page.query.given("cursor").is_some();
    html! { @if paged || next_cursor.is_some() {
        nav.pager aria-label="Pages" {
            @if paged { a.button href=(to(page.query.query_with("cursor", None))) { "Newest" } }
            @if let Some(cursor) = next_cursor {
                a.button href=(to(page.query.query_with("cursor", Some(cursor)))) rel="next" { "Older" }
            }
        }
    } }
}

/// What is wrong with a form, above it, with links to the fields. The browser puts the focus here.
pub(super) fn summary(problem: Option<&Problem>) -> Markup {
    html! { @if let Some(problem) = problem {
        div.problem role="alert" tabindex="-1" #problem autofocus {
            @if problem.errors.is_empty() {
                p { strong { "Error: " } (problem.detail) }
            } @else {
                p { strong { "Fix the following:" } }
                ul { @for error in &problem.errors {
                    li { @if anchor(&error.pointer).is_empty() { (error.detail) } @else {
                        a href={ "#f-" (anchor(&error.pointer)) } { (field_name(&error.pointer)) } ": " (error.detail)
                    } }
                } }
            }
        }
    } }
}

/// The title of a page with a form: it begins with "Error" while something is wrong.
pub(super) fn titled(title: &str, problem: Option<&Problem>) -> String {
    if problem.is_some() { format!("Error: {title}") } else { title.to_owned() }
}

/// What [`ask`] asks about.
pub(super) struct Question<'a> {
    /// Such as "Delete Billing?"
    pub(super) title: &'a str,
    /// What is lost.
    pub(super) lost: Markup,
    /// Where the form goes.
    pub(super) action: &'a str,
    /// What the button that does it says.
    pub(super) button: &'a str,
    /// The page to go back to instead.
    pub(super) back: &'a str,
}

/// Asks before something is lost. `hidden`: the form's hidden fields.
pub(super) fn ask(question: &Question<'_>, hidden: &Markup) -> Markup {
    html! {
        h1.long { (question.title) }
        (question.lost)
        form.buttons method="post" action=(question.action) {
            (hidden)
            button.danger type="submit" { (question.button) }
            a.button href=(question.back) { "Back" }
        }
    }
}

/// The top member that a pointer names.
fn member(pointer: &str) -> &str {
    pointer.trim_start_matches('/').split('/').next().unwrap_or_default()
}

fn anchor(pointer: &str) -> String {
    match pointer.trim_start_matches('/') {
        "pushover/user_key" | "pushover/api_token" | "pushover/sound" => pointer[10..].to_owned(),
        _ => member(pointer).to_owned(),
    }
}

fn field_name(pointer: &str) -> String {
    super::words::attribute(&anchor(pointer))
}

/// The mistakes of one field, each with the place in it that it was made at.
pub(super) fn mistakes(problem: Option<&Problem>, pointer: &str) -> Vec<String> {
    let errors = problem.into_iter().flat_map(|problem| &problem.errors);
    let told = errors.filter_map(|error| {
        let inside = error.pointer.strip_prefix(pointer)?;
        match inside.strip_prefix('/') {
            Some(place) => Some(format!("{}: {}", place.replace("~1", "/").replace("~0", "~"), error.detail)),
            None => inside.is_empty().then(|| error.detail.clone()),
        }
    });
    told.collect()
}

/// A labelled field: what it is, a hint, its mistakes, the input itself. `input` is given the ids that describe it, and
/// whether it is wrong.
pub(super) fn field(
    id: &str,
    label: &str,
    hint: Markup,
    wrong: &[String],
    input: impl FnOnce(&str, Option<&str>) -> Markup,
) -> Markup {
    let hinted = !hint.0.is_empty();
    let mut described = Vec::new();
    if hinted {
        described.push(format!("f-{id}-hint"));
    }
    if !wrong.is_empty() {
        described.push(format!("f-{id}-error"));
    }
    let invalid = (!wrong.is_empty()).then_some("true");
    html! {
        div.field {
            label for={ "f-" (id) } { (label) }
            @if hinted { p.hint id={ "f-" (id) "-hint" } { (hint) } }
            (errors(id, wrong))
            (input(&described.join(" "), invalid))
        }
    }
}

/// The mistakes of a field, beside it.
pub(super) fn errors(id: &str, wrong: &[String]) -> Markup {
    html! { @if !wrong.is_empty() {
        p.error id={ "f-" (id) "-error" } { @for wrong in wrong { (wrong) " " } }
    } }
}

/// A button that is a form of its own.
pub(super) fn action(page: &Page, path: &str, label: &str, class: &str) -> Markup {
    html! {
        form.inline method="post" action=(path) { (page.csrf()) button class=(class) type="submit" { (label) } }
    }
}

/// An empty list, and what to do about it.
pub(super) fn empty(title: &str, next: Markup) -> Markup {
    html! { div.empty { p.empty-title { (title) } (next) } }
}

/// JSON, indented for people; each token stands there exactly as it was sent.
pub(super) fn pretty_json(text: &str) -> String {
    let (mut out, mut depth, mut in_string, mut escaped) =
        (String::with_capacity(text.len() * 2), 0_usize, false, false);
    let mut chars = text.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        (0..depth).for_each(|_| out.push_str("  "));
    };
    while let Some(c) = chars.next() {
        if in_string {
            out.push(c);
            (in_string, escaped) = (escaped || c != '"', !escaped && c == '\\');
            continue;
        }
        match c {
            '"' => {
                in_string = true;
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                if let Some(close) = chars.next_if(|c| matches!(c, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

/// Text that is longer than a line, such as a body.
pub(super) fn listing(label: &str, text: &str) -> Markup {
    html! { pre.listing tabindex="0" role="region" aria-label=(label) { code { (text) } } }
}

/// A name or an address whose lines end after a dot, a slash or an underline where they can.
pub(super) fn breakable(text: &str) -> Markup {
    html! { @for part in text.split_inclusive(['.', '/', '_']) { (part) wbr; } }
}

/// Event types, a few of them.
pub(super) fn types(all: &[String]) -> Markup {
    const SHOWN: usize = 3;
    html! {
        @for name in all.iter().take(SHOWN) { span.tag { @if name == "*" { "all events" } @else { (breakable(name)) } } " " }
        @if all.len() > SHOWN { span.faint title=(all[SHOWN..].join(", ")) { "+" (all.len() - SHOWN) " more" } }
    }
}

/// Headers as a table.
pub(super) fn headers(caption: &str, headers: &[crate::deliveries::Header]) -> Markup {
    html! { @if headers.is_empty() { p.faint { "None." } } @else {
        table.headers {
            colgroup { col.header-name; col; }
            caption.unseen { (caption) }
            thead.unseen { tr { th scope="col" { "Name" } th scope="col" { "Value" } } }
            tbody { @for header in headers { tr { th scope="row" { (header.name) } td { code { (header.value) } } } } }
        }
    } }
}

/// A filter's `datetime-local` field says no zone: it is UTC. RFC 3339 goes through as it is.
pub(super) fn utc(text: &str) -> String {
    match text.len() {
        0 => String::new(),
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        _ => text.to_owned(),
    }
}

/// The other way round, for showing what was typed.
pub(super) fn local(text: &str) -> &str {
    text.get(..16).unwrap_or(text)
}

/// A query's `from` and `to` as the API takes them.
pub(super) fn with_utc(query: &Fields, names: &[&str]) -> crate::request::Params {
    let one = |name: &&str| {
        let value = query.get(name);
        let value = match *name {
            "from" | "to" => utc(value),
            // A prefix with its dot means everything below it.
            "type" if value.ends_with('.') => format!("{value}*"),
            _ => value.to_owned(),
        };
        ((*name).to_owned(), value)
    };
    crate::request::Params::of(names.iter().map(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_and_its_tokens_stay() {
        let text = r#"{"b":1.50,"a":[1,{"x":"a,{\"}:"}],"e":{ },"f":[]}"#;
        let pretty = "{\n  \"b\": 1.50,\n  \"a\": [\n    1,\n    {\n      \"x\": \"a,{\\\"}:\"\n    }\n  ],\n  \"e\": {},\n  \"f\": []\n}";
        assert_eq!(pretty_json(text), pretty);
        assert_eq!(pretty_json("7"), "7");
        assert_eq!(pretty_json(r#""\\""#), r#""\\""#);
    }

    // For those who see no colours.
    #[test]
    fn a_badge_says_its_status_in_words() {
        assert_eq!(badge("half_open").0, "<span class=\"badge busy\">half open</span>");
    }

    #[test]
    fn a_mistake_is_told_at_its_field_with_its_place() {
        use postrider_http::problem::FieldError;
        let errors = vec![
            FieldError::new("/url", "only https"),
            FieldError::new("/headers/X~1Y", "not a header name"),
            FieldError::new("/url_other", "x"),
        ];
        let problem = Problem::unprocessable(errors);
        assert_eq!(mistakes(Some(&problem), "/url"), ["only https"]);
        assert_eq!(mistakes(Some(&problem), "/headers"), ["X/Y: not a header name"]);
        assert!(mistakes(None, "/url").is_empty());
    }
}
