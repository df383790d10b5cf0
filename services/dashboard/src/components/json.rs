//! JSON for people to read: indented, coloured, and folded by `details` elements, which work without scripts.
//!
//! The page shows every token exactly as it is in the text, such as the number `1.50`. Text that is not JSON or too large for a
//! page is left to the caller.

use maud::{Markup, html};

/// Maximum nesting depth of a text that is shown folded.
const DEPTH_MAX: usize = 64;
/// Maximum number of values of a text that is shown folded. Each value is an element of the page.
const VALUES_MAX: usize = 2_000;
/// Objects and arrays above this depth are open at first.
const OPEN_DEPTH: usize = 3;
/// An object or array with more members than this is closed at first.
const OPEN_MEMBERS: usize = 50;

/// A JSON value. It borrows the tokens from the text.
#[derive(Debug, PartialEq)]
enum Node<'a> {
    /// A string, a number, `true`, `false` or `null`.
    Scalar(&'a str),
    /// An array's items, or an object's members with their keys.
    Group { open: char, members: Vec<(Option<&'a str>, Node<'a>)> },
}

/// The text as a coloured tree with folds; `None` if the text is not JSON or too large.
pub(crate) fn folded(text: &str) -> Option<Markup> {
    let mut reader = Reader { rest: text, values: 0 };
    let node = reader.value(0)?;
    reader.rest.trim_start().is_empty().then(|| html! { div.json-tree translate="no" { (show(None, &node, 0, true)) } })
}

struct Reader<'a> {
    rest: &'a str,
    values: usize,
}

impl<'a> Reader<'a> {
    /// Consumes the punctuation character `wanted`; `None` if another character is next.
    fn take(&mut self, wanted: char) -> Option<()> {
        self.rest = self.rest.trim_start().strip_prefix(wanted)?;
        Some(())
    }

    fn cut(&mut self, at: usize) -> Option<&'a str> {
        let (token, rest) = self.rest.split_at_checked(at)?;
        self.rest = rest;
        Some(token)
    }

    /// Consumes a string, and returns it with its quotes; `None` if no string is next.
    fn string(&mut self) -> Option<&'a str> {
        self.rest = self.rest.trim_start();
        let mut escaped = false;
        let inside = self.rest.strip_prefix('"')?;
        let end = inside.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        })?;
        self.cut(end + 2)
    }

    fn value(&mut self, depth: usize) -> Option<Node<'a>> {
        self.rest = self.rest.trim_start();
        self.values += 1;
        if depth > DEPTH_MAX || self.values > VALUES_MAX {
            return None;
        }
        match self.rest.chars().next()? {
            '"' => self.string().map(Node::Scalar),
            open @ ('{' | '[') => self.group(open, depth),
            _ => {
                let end = self.rest.find(|c: char| c.is_ascii_whitespace() || ",]}".contains(c));
                let token = self.cut(end.unwrap_or(self.rest.len()))?;
                let is_scalar = matches!(token, "true" | "false" | "null")
                    || token.starts_with(|c: char| c.is_ascii_digit() || c == '-');
                is_scalar.then_some(Node::Scalar(token))
            }
        }
    }

    fn group(&mut self, open: char, depth: usize) -> Option<Node<'a>> {
        let close = if open == '{' { '}' } else { ']' };
        let mut members = Vec::new();
        self.take(open)?;
        if self.take(close).is_some() {
            return Some(Node::Group { open, members });
        }
        loop {
            let key = if open == '{' { Some(self.string()?) } else { None };
            if key.is_some() {
                self.take(':')?;
            }
            members.push((key, self.value(depth + 1)?));
            if self.take(',').is_none() {
                self.take(close)?;
                return Some(Node::Group { open, members });
            }
        }
    }
}

fn show(key: Option<&str>, node: &Node<'_>, depth: usize, last: bool) -> Markup {
    let name = html! { @if let Some(key) = key { span.j-key { (key) } ": " } };
    let comma = if last { "" } else { "," };
    match node {
        Node::Scalar(text) => html! { div { (name) span class=(kind(text)) { (text) } (comma) } },
        Node::Group { open, members } => {
            let close = if *open == '{' { '}' } else { ']' };
            if members.is_empty() {
                return html! { div { (name) (open) (close) (comma) } };
            }
            let is_open = depth < OPEN_DEPTH && members.len() <= OPEN_MEMBERS;
            html! {
                details open[is_open] {
                    summary { (name) (open) span.j-more { " … " (members.len()) " " (close) (comma) } }
                    div.j-in { @for (index, (key, member)) in members.iter().enumerate() {
                        (show(*key, member, depth + 1, index + 1 == members.len()))
                    } }
                }
                div.j-end { (close) (comma) }
            }
        }
    }
}

/// The CSS class of a scalar's colour.
fn kind(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'"') => "j-text",
        Some(b't' | b'f' | b'n') => "j-word",
        _ => "j-number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of the markup without its tags and without the counts of closed groups.
    fn text_of(markup: &str) -> String {
        let mut text = String::new();
        let mut rest = markup.replace("<span class=\"j-more\">", "<more>");
        while let Some((before, after)) = rest.split_once('<') {
            text.push_str(before);
            let after = if after.starts_with("more>") {
                after.split_once("</span>").unwrap().1
            } else {
                after.split_once('>').unwrap().1
            };
            rest = after.to_owned();
        }
        text.push_str(&rest);
        text.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    }

    #[test]
    fn the_tokens_of_the_text_stay_and_nothing_becomes_markup() {
        let text = r#"{"b":1.50,"a":[1,{"x":"a,{\"}:"}],"e":{},"f":[],"<b>":"<i>&","n":null,"t":true}"#;
        let markup = folded(text).unwrap().0;
        assert_eq!(text_of(&markup).replace(": ", ":"), text);
        assert!(!markup.contains("<i>") && !markup.contains("<b>"));
    }

    #[test]
    fn deep_and_long_groups_are_closed_at_first() {
        let open = |text: &str| folded(text).unwrap().0.matches("<details open").count();
        assert_eq!(open(r#"[[[[[1]]]]]"#), 3);
        assert_eq!(open(&format!("[{}1]", "1,".repeat(50))), 0);
        assert_eq!(open("[1]"), 1);
    }

    #[test]
    fn what_is_not_json_or_too_large_is_refused() {
        let deep = format!("{}{}", "[".repeat(70), "]".repeat(70));
        let long = format!("[{}1]", "1,".repeat(2_000));
        for text in ["", "{", "[1,", r#"{"a" 1}"#, r#""a"#, "nul", "x", "a=b&c=d", "1 2", "{]", &deep, &long] {
            assert!(folded(text).is_none(), "{text}");
        }
    }

    #[test]
    fn every_form_of_json_is_read() {
        for text in
            [" [ ] ", "{\n}", r#""\\""#, r#"["\"",-1.5e+3]"#, "{\"ä\":\"\u{1f600}\"}", "[[],{},[{}]]", "true", "-0"]
        {
            assert!(serde_json::from_str::<serde_json::Value>(text).is_ok(), "{text}");
            assert!(folded(text).is_some(), "{text}");
        }
    }
}
