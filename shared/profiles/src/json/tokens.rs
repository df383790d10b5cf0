//! Valid JSON, token by token: one pass, borrowed, no tree.

/// What JSON nests in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Container {
    Array,
    Object,
}

/// A token; commas, colons and whitespace are left out, for what stands between tokens follows from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    Open(Container),
    Close(Container),
    /// A member's name, without its quotes, escapes as they stand.
    Key(&'a str),
    /// A string, without its quotes, escapes as they stand.
    Text(&'a str),
    Number(&'a str),
    /// `true`, `false` or `null`.
    Word(&'a str),
}

/// The tokens of valid JSON. Of other text: some tokens or other, and an end.
#[derive(Debug)]
pub(crate) struct Tokens<'a> {
    json: &'a str,
    at: usize,
    open: Vec<Container>,
    key_next: bool,
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(json: &'a str) -> Self {
        Self { json, at: 0, open: Vec::new(), key_next: false }
    }

    /// The text until a byte that `ends`; the position is behind it then, or on it.
    fn until(&mut self, ends: impl Fn(u8) -> bool) -> &'a str {
        let start = self.at;
        let rest = &self.json.as_bytes()[start..];
        self.at = rest.iter().position(|byte| ends(*byte)).map_or(self.json.len(), |length| start + length);
        &self.json[start..self.at]
    }

    /// A string's inside; the position is on its opening quote before and behind its closing one after.
    fn string(&mut self) -> &'a str {
        let start = self.at + 1;
        let (mut end, bytes) = (start, self.json.as_bytes());
        while end < bytes.len() && bytes[end] != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        let end = end.min(bytes.len());
        self.at = (end + 1).min(bytes.len());
        self.json.get(start..end).unwrap_or_default()
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let byte = *self.json.as_bytes().get(self.at)?;
            let container = if matches!(byte, b'{' | b'}') { Container::Object } else { Container::Array };
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | b':' => self.at += 1,
                b',' => {
                    self.at += 1;
                    self.key_next = self.open.last() == Some(&Container::Object);
                }
                b'{' | b'[' => {
                    self.at += 1;
                    self.open.push(container);
                    self.key_next = container == Container::Object;
                    return Some(Token::Open(container));
                }
                b'}' | b']' => {
                    self.at += 1;
                    self.open.pop();
                    return Some(Token::Close(container));
                }
                b'"' => {
                    let is_key = std::mem::take(&mut self.key_next);
                    let text = self.string();
                    return Some(if is_key { Token::Key(text) } else { Token::Text(text) });
                }
                _ => {
                    let text = self.until(|byte| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r'));
                    let number = byte == b'-' || byte.is_ascii_digit();
                    return Some(if number { Token::Number(text) } else { Token::Word(text) });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Container::{Array, Object};
    use super::Token::{Close, Key, Number, Open, Text, Word};
    use super::*;

    #[test]
    fn keys_are_told_from_strings_and_strings_keep_their_escapes() {
        let json = "{ \"a\\\"{\" : [ -1.5e3, \"b\", {} , true ],\n\"c\":\"\", \"d\":{\"e\":null} }";
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
        assert_eq!(Tokens::new(json).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_no_json_ends_all_the_same() {
        for text in ["\"", "\"\\", "\"é\\é", "}}]", "é", "{\"a", "[1,,\"", ",:"] {
            assert!(Tokens::new(text).count() <= text.len(), "{text}");
        }
    }
}
