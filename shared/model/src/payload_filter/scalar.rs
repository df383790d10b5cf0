//! Values that filters compare: JSON scalars.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value;

use super::number::Number;
use crate::json::{Token, unescape};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
}

impl<'a> Scalar<'a> {
    /// Reads a token as a scalar; `None` for other tokens, and for a text with half of a surrogate pair.
    pub(super) fn read(token: Token<'a>) -> Option<Self> {
        match token {
            Token::Text(inside) => unescape(inside).map(Self::Text),
            Token::Number(number) => Number::parse(number).map(Self::Number),
            Token::Word("null") => Some(Self::Null),
            Token::Word("true") => Some(Self::Bool(true)),
            Token::Word("false") => Some(Self::Bool(false)),
            Token::Word(_) | Token::Key(_) | Token::Open(_) | Token::Close(_) => None,
        }
    }
}

impl Scalar<'_> {
    /// Whether both values have the same kind and are equal: texts byte for byte, numbers by value.
    pub(super) fn equals(&self, other: &Scalar<'_>) -> bool {
        match (self, other) {
            (Scalar::Null, Scalar::Null) => true,
            (Scalar::Bool(a), Scalar::Bool(b)) => a == b,
            (Scalar::Number(a), Scalar::Number(b)) => a == b,
            (Scalar::Text(a), Scalar::Text(b)) => a == b,
            _ => false,
        }
    }

    /// Compares two numbers by value, or two texts by code points; `None` for other kinds.
    pub(super) fn order(&self, other: &Scalar<'_>) -> Option<Ordering> {
        match (self, other) {
            (Scalar::Number(a), Scalar::Number(b)) => Some(a.order(*b)),
            (Scalar::Text(a), Scalar::Text(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    /// A total order for sorting: by kind, then by [`Scalar::order`].
    pub(super) fn total(&self, other: &Scalar<'_>) -> Ordering {
        match (self, other) {
            (Scalar::Bool(a), Scalar::Bool(b)) => a.cmp(b),
            (a, b) => a.order(b).unwrap_or_else(|| a.kind().cmp(&b.kind())),
        }
    }

    pub(super) fn into_owned(self) -> Scalar<'static> {
        match self {
            Scalar::Null => Scalar::Null,
            Scalar::Bool(value) => Scalar::Bool(value),
            Scalar::Number(number) => Scalar::Number(number),
            Scalar::Text(text) => Scalar::Text(Cow::Owned(text.into_owned())),
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Scalar::Null => 0,
            Scalar::Bool(_) => 1,
            Scalar::Number(_) => 2,
            Scalar::Text(_) => 3,
        }
    }

    pub(super) fn to_json(&self) -> Value {
        match self {
            Scalar::Null => Value::Null,
            Scalar::Bool(value) => Value::Bool(*value),
            Scalar::Number(number) => number.to_json(),
            Scalar::Text(text) => Value::String(text.clone().into_owned()),
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Scalar::Text(text) => Some(text),
            _ => None,
        }
    }
}
