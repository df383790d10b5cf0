//! Reading JSON token by token, without building anything. The text was checked when the event was accepted; should it
//! be broken all the same, reading ends there.

use std::borrow::Cow;

use super::number::Number;
use super::scalar::Scalar;

/// A place in JSON text. Every method leaves it behind what it read; `None`: the text is not what it should be.
pub(super) struct Scanner<'a> {
    text: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// The first byte of the next token, which is not read yet.
    pub(super) fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    /// The next token, of one byte.
    pub(super) fn mark(&mut self) -> Option<u8> {
        let mark = self.peek()?;
        self.at += 1;
        Some(mark)
    }

    /// This very token, of one byte.
    pub(super) fn expect(&mut self, mark: u8) -> Option<()> {
        (self.mark()? == mark).then_some(())
    }

    /// A member's name, and the colon behind it.
    pub(super) fn name(&mut self) -> Option<Cow<'a, str>> {
        let quoted = self.string()?;
        self.expect(b':')?;
        // One that cannot be read (half of a surrogate pair) is nobody's name.
        Some(unquote(quoted).unwrap_or_default())
    }

    /// Text, number, boolean or null. `Some(None)` for text that cannot be read.
    pub(super) fn scalar(&mut self) -> Option<Option<Scalar<'a>>> {
        if self.peek()? == b'"' {
            return self.string().map(|quoted| unquote(quoted).map(Scalar::Text));
        }
        let start = self.at;
        let end = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
        let rest = self.text.get(start..)?;
        let word = &rest[..rest.iter().position(end).unwrap_or(rest.len())];
        self.at += word.len();
        Some(Some(match word {
            b"null" => Scalar::Null,
            b"true" => Scalar::Bool(true),
            b"false" => Scalar::Bool(false),
            number => Scalar::Number(Number::parse(std::str::from_utf8(number).ok()?)?),
        }))
    }

    /// A value of any kind, unread.
    pub(super) fn skip(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => self.at += 1,
                _ => {
                    let rest = self.text.get(self.at..)?;
                    let word = rest
                        .iter()
                        .position(|byte| !matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'+' | b'.' | b'E'));
                    let word = word.unwrap_or(rest.len());
                    if word == 0 {
                        return None;
                    }
                    self.at += word;
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// A string, its quotes included.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let start = self.at - 1;
        loop {
            match self.text.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.text.get(start..self.at)
    }
}

/// A string's text.
fn unquote(quoted: &[u8]) -> Option<Cow<'_, str>> {
    if quoted.contains(&b'\\') {
        return serde_json::from_slice::<String>(quoted).ok().map(Cow::Owned);
    }
    std::str::from_utf8(quoted.get(1..quoted.len() - 1)?).ok().map(Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn any_value_is_skipped_whole() {
        for value in
            ["1", "-1.5e+3", "null", "\"a\\\"]\"", "[]", "{}", "{\"a\":[1,{\"b\":\"}\"}],\"c\":true}", "[ 1 , 2 ]"]
        {
            let text = format!(" {value} ,rest");
            let mut scanner = Scanner::new(text.as_bytes());
            assert_eq!(scanner.skip(), Some(()), "{value}");
            assert_eq!(scanner.mark(), Some(b','), "{value}");
        }
    }

    proptest! {
        #[test]
        fn broken_text_ends_the_reading(text in "[\\[\\]{}:,\"\\\\ a1-]{0,12}") {
            let mut scanner = Scanner::new(text.as_bytes());
            while scanner.at < text.len() && scanner.skip().is_some() {}
            while scanner.at < text.len() && scanner.scalar().is_some() && scanner.mark().is_some() {}
        }
    }
}
