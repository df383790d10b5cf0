//! Reads JSON text token by token, in one pass: tokens borrow from the text, and no tree is built.
//!
//! The text must be valid JSON. From other text the scanner returns some tokens and then ends.

use std::borrow::Cow;

/// A JSON array or object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// `[…]`
    Array,
    /// `{…}`
    Object,
}

/// A token. Commas, colons and whitespace are not tokens, because the other tokens determine them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// `[` or `{`
    Open(Container),
    /// `]` or `}`
    Close(Container),
    /// The name of a JSON member: without quotes, with its escapes unchanged.
    Key(&'a str),
    /// A string: without quotes, with its escapes unchanged.
    Text(&'a str),
    /// A number, unchanged.
    Number(&'a str),
    /// `true`, `false` or `null`.
    Word(&'a str),
}

/// Iterates over the tokens of a JSON text. A copy of the scanner remembers its position, so that a caller can return to it.
#[derive(Debug, Clone, Copy)]
pub struct Scanner<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// A scanner at the beginning of `json`.
    pub fn new(json: &'a str) -> Self {
        Self { json, at: 0 }
    }

    /// Returns the first byte of the next token without consuming the token.
    pub fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r' | b',' | b':') = self.json.as_bytes().get(self.at) {
            self.at += 1;
        }
        self.json.as_bytes().get(self.at).copied()
    }

    /// Skips one value. Returns `None` if no value follows.
    pub fn skip_value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.next()? {
                Token::Open(_) => depth += 1,
                Token::Close(_) => depth = depth.checked_sub(1)?,
                Token::Key(_) if depth == 0 => return None,
                _ => {}
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// Reads the string that begins here and returns it without quotes; `None` if the string does not end.
    fn string(&mut self) -> Option<&'a str> {
        let (start, bytes) = (self.at + 1, self.json.as_bytes());
        let mut end = start;
        loop {
            match bytes.get(end)? {
                b'"' => break,
                b'\\' => end += 2,
                _ => end += 1,
            }
        }
        self.at = end + 1;
        self.json.get(start..end)
    }

    /// Reads the number or word that begins here.
    fn word(&mut self) -> &'a str {
        let is_end = |byte: &u8| matches!(byte, b',' | b':' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
        let rest = &self.json.as_bytes()[self.at..];
        let (start, length) = (self.at, rest.iter().position(is_end).unwrap_or(rest.len()));
        self.at += length;
        &self.json[start..self.at]
    }
}

impl<'a> Iterator for Scanner<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let first = self.peek()?;
        let container = if matches!(first, b'{' | b'}') { Container::Object } else { Container::Array };
        Some(match first {
            b'{' | b'[' => {
                self.at += 1;
                Token::Open(container)
            }
            b'}' | b']' => {
                self.at += 1;
                Token::Close(container)
            }
            b'"' => {
                let inside = self.string()?;
                let rest = self.json.as_bytes()[self.at..].trim_ascii_start();
                if rest.first() == Some(&b':') { Token::Key(inside) } else { Token::Text(inside) }
            }
            b'-' | b'0'..=b'9' => Token::Number(self.word()),
            _ => Token::Word(self.word()),
        })
    }
}

/// Replaces the escapes of a string that is given without quotes; `None` if an escape is half of a surrogate pair and so not
/// text.
pub fn unescape(inside: &str) -> Option<Cow<'_, str>> {
    if inside.contains('\\') {
        return serde_json::from_str::<String>(&format!("\"{inside}\"")).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inside))
}

/// The nesting depth of a JSON text: 0 for a scalar, 1 for `{}`.
pub fn depth(json: &str) -> usize {
    let (mut deepest, mut depth) = (0_usize, 0_usize);
    for token in Scanner::new(json) {
        match token {
            Token::Open(_) => depth += 1,
            Token::Close(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Removes the whitespace between the tokens of a JSON text.
pub fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for token in Scanner::new(json) {
        if !matches!(token, Token::Close(_)) && !matches!(out.as_bytes().last(), None | Some(b'{' | b'[' | b':')) {
            out.push(',');
        }
        match token {
            Token::Open(Container::Array) => out.push('['),
            Token::Open(Container::Object) => out.push('{'),
            Token::Close(Container::Array) => out.push(']'),
            Token::Close(Container::Object) => out.push('}'),
            Token::Key(name) => out.extend(["\"", name, "\":"]),
            Token::Text(text) => out.extend(["\"", text, "\""]),
            Token::Number(word) | Token::Word(word) => out.push_str(word),
        }
    }
    out
}

/// Escapes the name of a JSON member for a JSON pointer (RFC 6901 section 3).
pub fn pointer_token(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Container::{Array, Object};
    use super::Token::{Close, Key, Number, Open, Text, Word};
    use super::*;

    const JSON: &str = "{ \"a\\\"{\" : [ -1.5e3, \"b\", {} , true ],\n\"c\" :\"\", \"d\":{\"e\":null} }";

    #[test]
    fn keys_are_told_from_strings_and_strings_keep_their_escapes() {
        let expected = [
            Open(Object),
            Key("a\\\"{"),
            Open(Array),
            Number("-1.5e3"),
            Text("b"),
            Open(Object),
            Close(Object),
            Word("true"),
            Close(Array),
            Key("c"),
            Text(""),
            Key("d"),
            Open(Object),
            Key("e"),
            Word("null"),
            Close(Object),
            Close(Object),
        ];
        assert_eq!(Scanner::new(JSON).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn any_value_is_skipped_whole() {
        for value in
            ["1", "-1.5e+3", "null", "\"a\\\"]\"", "[]", "{}", "{\"a\":[1,{\"b\":\"}\"}],\"c\":true}", "[ 1 , 2 ]"]
        {
            let text = format!(" {value} ,true");
            let mut scanner = Scanner::new(&text);
            assert_eq!(scanner.skip_value(), Some(()), "{value}");
            assert_eq!(scanner.next(), Some(Word("true")), "{value}");
        }
    }

    #[test]
    fn depth_counts_brackets_outside_strings_only() {
        assert_eq!(depth("1"), 0);
        assert_eq!(depth(r#"{"a":"[[[\"[["}"#), 1);
        assert_eq!(depth("[[],[[]]]"), 3);
    }

    #[test]
    fn compacting_removes_whitespace_outside_strings_only() {
        assert_eq!(compact(JSON), r#"{"a\"{":[-1.5e3,"b",{},true],"c":"","d":{"e":null}}"#);
        assert_eq!(compact(" \" a \\\" b \" "), "\" a \\\" b \"");
        assert_eq!(compact("[ 1 , [ ] ]"), "[1,[]]");
    }

    #[test]
    fn escapes_become_characters() {
        assert_eq!(unescape("plain").as_deref(), Some("plain"));
        assert_eq!(unescape("\\u00e9\\n\\\"").as_deref(), Some("é\n\""));
        assert_eq!(unescape("\\ud800"), None);
    }

    proptest! {
        #[test]
        fn invalid_json_ends_the_scan(text in "[\\[\\]{}:,\"\\\\ aé1-]{0,12}") {
            assert!(Scanner::new(&text).count() <= text.len());
            let mut scanner = Scanner::new(&text);
            while scanner.skip_value().is_some() {}
            depth(&text);
            compact(&text);
        }
    }
}
