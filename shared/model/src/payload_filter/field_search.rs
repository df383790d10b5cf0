//! Finds a value in an event, in one field or everywhere. In contrast to a filter it misses no value: it has no limit of values,
//! and of several members with the same name it examines all.

use std::str::FromStr;

use super::fields::Payload;
use super::read::{Field, Root, read_field};
use crate::erasure::{Extent, FoundInEvent};
use crate::event::Attributes;
use crate::json::{Container, Scanner, Token, unescape};

/// Compares a text with a value.
#[derive(Clone)]
pub struct ValueTest {
    value: Box<str>,
    extent: Extent,
}

/// A field of events, such as `data.recipient.email`. An array stands for its elements.
#[derive(Debug, Clone)]
pub struct FieldSearch(Field);

impl FromStr for FieldSearch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        read_field(text).map(Self)
    }
}

impl ValueTest {
    /// A test for this value.
    pub fn new(value: &str, extent: Extent) -> Self {
        Self { value: value.into(), extent }
    }

    fn is_text(&self, text: &str) -> bool {
        match self.extent {
            Extent::Whole => text == &*self.value,
            Extent::Anywhere => text.contains(&*self.value),
        }
    }

    /// Whether a string of a payload, given without quotes and with its escapes, holds the value.
    fn is_string(&self, inside: &str) -> bool {
        // A string with half of a surrogate pair is not text. Its escapes are then compared as they are.
        unescape(inside).map_or_else(|| self.is_text(inside), |text| self.is_text(&text))
    }

    /// Whether a scalar holds the value. A number or word holds it if it is written so.
    fn is_scalar(&self, token: Token<'_>) -> bool {
        match token {
            Token::Text(inside) => self.is_string(inside),
            Token::Number(word) | Token::Word(word) => word == &*self.value,
            Token::Key(_) | Token::Open(_) | Token::Close(_) => false,
        }
    }
}

impl FieldSearch {
    /// Where the field of an event holds the value. Other fields are not searched.
    pub fn find(&self, payload: &Payload<'_>, test: &ValueTest) -> FoundInEvent {
        let names = &self.0.names;
        match self.0.root {
            Root::Data => {
                let data = std::str::from_utf8(payload.data).unwrap_or_default();
                FoundInEvent { in_payload: holds_at(data, names, test), attributes: Vec::new() }
            }
            Root::Metadata => {
                let metadata = payload.metadata.unwrap_or_default();
                FoundInEvent { in_payload: holds_at(metadata, names, test), attributes: Vec::new() }
            }
            Root::Attributes => {
                let held =
                    names.first().filter(|name| payload.attributes.get(name).is_some_and(|text| test.is_text(text)));
                FoundInEvent { in_payload: false, attributes: held.into_iter().cloned().collect() }
            }
        }
    }

    /// Where an event holds the value.
    pub fn everywhere(payload: &Payload<'_>, test: &ValueTest) -> FoundInEvent {
        let data = std::str::from_utf8(payload.data).unwrap_or_default();
        let in_payload =
            Self::any_token(data, test) || payload.metadata.is_some_and(|json| Self::any_token(json, test));
        FoundInEvent { in_payload, attributes: Self::attributes_holding(payload.attributes, test) }
    }

    /// The names of the attributes that hold the value.
    pub fn attributes_holding(attributes: &Attributes, test: &ValueTest) -> Vec<Box<str>> {
        let held = attributes.0.iter().filter(|(_, text)| test.is_text(text));
        held.map(|(name, _)| name.clone()).collect()
    }

    /// Whether any text, number or member name of a JSON text holds the value.
    pub fn any_token(json: &str, test: &ValueTest) -> bool {
        Scanner::new(json).any(|token| match token {
            Token::Key(inside) => test.is_string(inside),
            token => test.is_scalar(token),
        })
    }
}

/// Whether a scalar on the path `names` holds the value.
fn holds_at(json: &str, names: &[Box<str>], test: &ValueTest) -> bool {
    // For each open container: how many names of the path lead to its members; `None` if they are on another path.
    let mut open: Vec<(Container, Option<usize>)> = Vec::new();
    // The same for the next value.
    let mut next = Some(0);
    for token in Scanner::new(json) {
        match token {
            Token::Key(name) => {
                let reached = open.last().and_then(|(_, reached)| *reached);
                next = reached.filter(|reached| {
                    names.get(*reached).is_some_and(|wanted| unescape(name).is_some_and(|name| *name == **wanted))
                });
                next = next.map(|reached| reached + 1);
                continue;
            }
            Token::Open(container) => open.push((container, next)),
            Token::Close(_) => {
                open.pop();
            }
            scalar => {
                if next == Some(names.len()) && test.is_scalar(scalar) {
                    return true;
                }
            }
        }
        // The elements of an array are on the path of the array. A member has its name first.
        next = open.last().and_then(|(container, reached)| reached.filter(|_| *container == Container::Array));
    }
    false
}
