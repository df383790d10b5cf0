//! Inputs for the property tests of decoders: arbitrary bytes, and valid documents that were damaged.
//!
//! Owns the strategies [`bytes`] and [`text`], and the ways to damage a document. Arbitrary bytes hardly ever pass a decoder's
//! first check. A valid document with a flipped bit, or with a piece that is missing, repeated, replaced or deeply nested,
//! reaches the rest of the decoder.
//!
//! Promises: an input has at most [`BYTES_MAX`] bytes (as text up to three times as many, after the conversion to UTF-8). The
//! same seed makes the same input. The crate contains no format. No shipped crate depends on it.

use std::fmt;
use std::ops::Deref;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Maximum number of bytes of an input.
pub const BYTES_MAX: usize = 128 * 1024;
/// Maximum number of bytes of an input that is not made from a document.
const ARBITRARY_BYTES_MAX: usize = 64;
/// Maximum number of changes to one document.
const CHANGES_MAX: usize = 4;
/// Maximum nesting depth.
const NESTED_MAX: usize = 12_000;

/// Tokens that have broken decoders. A change inserts one token into a document.
const TOKENS: &[&[u8]] = &[
    b"\0",
    b"\xff",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\xff\xff\xff\xff",
    b"\\u0000",
    b"\\ud800",
    b"\\udc00\\ud800",
    b"\\u202e",
    b"\r\n",
    b"\r\nx-injected: 1\r\n",
    b"\"",
    b"'",
    b"\\",
    b"%",
    b"%00",
    b"%+f",
    b"1e400",
    b"-1e-400",
    b"-0",
    b"9223372036854775808",
    b"18446744073709551616",
    b"123456789012345678901234567890123456789.5",
    b"NaN",
    b"null",
    b"true",
    b"{}",
    b"[]",
    b",",
    b":",
    b"\"__proto__\":{},",
    b"\"\":0,",
    b"\xe2\x80\xa8",
    b"\xf0\x9f\x92\xa3",
    b"@",
    b"#",
    b"..",
    b"//",
    b"*",
    b"999999-12-31T23:59:60Z",
];

/// Brackets in which pieces are nested.
const BRACKETS: &[(&[u8], &[u8])] =
    &[(b"[", b"]"), (b"{\"a\":", b"}"), (b"(", b")"), (b"\"", b"\""), (b"{\"not\":", b"}"), (b"{\"all\":[", b"]}")];

/// Bytes that a failing test prints as escaped text.
#[derive(Clone, PartialEq, Eq)]
pub struct Input(Vec<u8>);

impl Deref for Input {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// One input in ten consists of arbitrary bytes. Every other input is one of `documents` after 0 to `CHANGES_MAX` changes.
pub fn bytes<D: AsRef<[u8]>>(documents: impl IntoIterator<Item = D>) -> impl Strategy<Value = Input> {
    let documents: Vec<Vec<u8>> = documents.into_iter().map(|document| document.as_ref().to_vec()).collect();
    let gone_bad =
        (select(documents.clone()), vec(change(documents), 0..=CHANGES_MAX)).prop_map(|(document, changes)| {
            changes.into_iter().fold(document, |document, change| {
                let mut changed = change.apply(&document);
                changed.truncate(BYTES_MAX);
                changed
            })
        });
    prop_oneof![1 => vec(any::<u8>(), 0..=ARBITRARY_BYTES_MAX), 9 => gone_bad].prop_map(Input)
}

/// Nine inputs in ten come from [`bytes`], converted to text with invalid UTF-8 replaced. One input in ten is arbitrary text.
pub fn text<D: AsRef<[u8]>>(documents: impl IntoIterator<Item = D>) -> impl Strategy<Value = String> {
    let lossy = bytes(documents).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    prop_oneof![1 => "\\PC{0,32}", 9 => lossy]
}

/// One way to damage a document. An `Index` is a position relative to the document's length.
#[derive(Debug, Clone)]
enum Change {
    /// Flips this bit of the byte at the index.
    Flip(Index, u8),
    /// Removes the piece between two indices.
    Cut(Index, Index),
    /// Repeats a piece, so that it occurs this many times.
    Repeat(Index, Index, usize),
    /// Encloses a piece in this many pairs of brackets.
    Nest(Index, Index, (&'static [u8], &'static [u8]), usize),
    /// Inserts this many opening brackets.
    Open(Index, &'static [u8], usize),
    /// Replaces a piece by these bytes.
    Splice(Index, Index, Vec<u8>),
}

/// A strategy for changes. A splice inserts a piece of one of `documents`, or one of `TOKENS`.
fn change(documents: Vec<Vec<u8>>) -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    let elsewhere =
        (select(documents), at(), at()).prop_map(|(document, from, to)| piece(&document, from, to).1.to_vec());
    let token = select(TOKENS).prop_map(<[u8]>::to_vec);
    let depth = || prop_oneof![4 => 1..200_usize, 1 => Just(NESTED_MAX)];
    prop_oneof![
        3 => (at(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        2 => (at(), at()).prop_map(|(from, to)| Change::Cut(from, to)),
        2 => (at(), at(), 2..6_usize).prop_map(|(from, to, times)| Change::Repeat(from, to, times)),
        2 => (at(), at(), select(BRACKETS), depth()).prop_map(|(from, to, by, depth)| Change::Nest(from, to, by, depth)),
        1 => (at(), select(BRACKETS), depth()).prop_map(|(at, (open, _), depth)| Change::Open(at, open, depth)),
        2 => (at(), at(), elsewhere).prop_map(|(from, to, with)| Change::Splice(from, to, with)),
        4 => (at(), token).prop_map(|(at, with)| Change::Splice(at, at, with)),
    ]
}

/// Splits a document into the bytes before a piece, the piece, and the bytes after it.
fn piece(document: &[u8], from: Index, to: Index) -> (&[u8], &[u8], &[u8]) {
    let (a, b) = (from.index(document.len() + 1), to.index(document.len() + 1));
    let (before, rest) = document.split_at(a.min(b));
    let (piece, behind) = rest.split_at(a.abs_diff(b));
    (before, piece, behind)
}

impl Change {
    fn apply(&self, document: &[u8]) -> Vec<u8> {
        match self {
            Self::Flip(at, bit) => {
                let mut changed = document.to_vec();
                if !changed.is_empty() {
                    let at = at.index(changed.len());
                    changed[at] ^= 1 << bit;
                }
                changed
            }
            Self::Cut(from, to) => {
                let (before, _, behind) = piece(document, *from, *to);
                [before, behind].concat()
            }
            Self::Repeat(from, to, times) => {
                let (before, piece, behind) = piece(document, *from, *to);
                [before, &piece.repeat(*times), behind].concat()
            }
            Self::Nest(from, to, (open, close), depth) => {
                let (before, piece, behind) = piece(document, *from, *to);
                [before, &open.repeat(*depth), piece, &close.repeat(*depth), behind].concat()
            }
            Self::Open(at, open, depth) => {
                let (before, _, behind) = piece(document, *at, *at);
                [before, &open.repeat(*depth), behind].concat()
            }
            Self::Splice(from, to, with) => {
                let (before, _, behind) = piece(document, *from, *to);
                [before, with, behind].concat()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    use super::*;

    const DOCUMENT: &str = r#"{"type":"a.b","data":{"n":1}}"#;

    #[test]
    fn inputs_are_bounded_and_of_every_kind() {
        let (strategy, mut runner) = (bytes([DOCUMENT]), TestRunner::deterministic());
        let inputs: Vec<Input> =
            (0..2_000).map(|_| strategy.new_tree(&mut runner).expect("no input is refused").current()).collect();
        let share = |is: &dyn Fn(&[u8]) -> bool| inputs.iter().filter(|input| is(input)).count();
        assert!(inputs.iter().all(|input| input.len() <= BYTES_MAX));
        assert!(share(&|input| input == DOCUMENT.as_bytes()) > 100, "good ones, too");
        assert!(share(&|input| input.starts_with(b"{\"type\"") && input != DOCUMENT.as_bytes()) > 500, "gone bad");
        assert!(share(&|input| input.len() > 10_000) > 50, "deep ones");
        assert!(share(&|input| input.contains(&0)) > 50, "NUL");
        assert!(share(&|input| std::str::from_utf8(input).is_err()) > 100, "no text");
    }
}
