//! Payload filters: conditions on what an event holds, beyond its type and its attributes.
//!
//! A filter is read once, when configuration is loaded; bound to the [`Fields`] of all filters that may be asked about
//! one event; and asked with the values that one pass over the event found. docs/filters.md is what customers are
//! promised, and a table of tests holds it:
//! - An array stands for its elements. A test passes when any of the values that its field has passes it.
//! - A test does not pass when the field is missing, but for `exists: false`.
//! - Values of different kinds (text, number, boolean, null) are never equal and have no order.

mod fields;
mod number;
mod read;
mod scalar;
mod scan;

use std::cmp::Ordering;

pub use fields::{BoundFilter, Fields, Found, Payload};

use serde_json::{Map, Value};

use fields::Slot;
use read::Field;
use scalar::Scalar;

/// A condition on an event's `data`, `metadata` and `attributes`.
#[derive(Debug, Clone, PartialEq)]
pub struct PayloadFilter {
    root: Node,
    /// Where each test looks, in the tests' order.
    fields: Vec<Field>,
}

/// Values of one field that are shown, see [`PayloadFilter::look`].
const SHOWN_MAX: usize = 20;

impl PayloadFilter {
    /// Whether the filter takes an event, and what each of its fields holds: a list of values, the first 20 at most, or
    /// `null` where the event has no such field. For one filter alone; many are bound to their [`Fields`].
    pub fn look(&self, payload: &Payload<'_>) -> (bool, Map<String, Value>) {
        let mut fields = Fields::default();
        let bound = fields.bind(self.clone());
        let found = fields.collect([&bound], payload);
        let held = self.fields.iter().zip(bound.slots(&found)).map(|(field, slot)| {
            let values = slot.values.iter().take(SHOWN_MAX).map(Scalar::to_json).collect();
            (field.text.to_string(), if slot.is_there { Value::Array(values) } else { Value::Null })
        });
        (bound.takes(&found), held.collect())
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    /// The number of the test, and what it asks.
    Test(usize, Op),
}

/// What a test asks of its field.
#[derive(Debug, Clone, PartialEq)]
enum Op {
    Eq(Scalar<'static>),
    Ne(Scalar<'static>),
    In(Vec<Scalar<'static>>),
    Prefix(String),
    Suffix(String),
    Gt(Scalar<'static>),
    Gte(Scalar<'static>),
    Lt(Scalar<'static>),
    Lte(Scalar<'static>),
    Exists(bool),
}

impl Node {
    /// `slot_of` answers what the field of a test holds.
    fn passes<'s, 'a: 's>(&self, slot_of: &impl Fn(usize) -> &'s Slot<'a>) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.passes(slot_of)),
            Self::Any(nodes) => nodes.iter().any(|node| node.passes(slot_of)),
            Self::Not(node) => !node.passes(slot_of),
            Self::Test(number, op) => op.passes(slot_of(*number)),
        }
    }
}

impl Op {
    fn passes(&self, slot: &Slot<'_>) -> bool {
        let any = |passes: &dyn Fn(&Scalar<'_>) -> bool| slot.values.iter().any(passes);
        let ordered =
            |value: &Scalar<'_>, passes: fn(Ordering) -> bool| any(&|actual| actual.order(value).is_some_and(passes));
        match self {
            Self::Eq(value) => any(&|actual| actual.equals(value)),
            Self::Ne(value) => slot.is_there && !any(&|actual| actual.equals(value)),
            Self::In(values) => any(&|actual| values.iter().any(|value| actual.equals(value))),
            Self::Prefix(text) => any(&|actual| actual.text().is_some_and(|actual| actual.starts_with(text))),
            Self::Suffix(text) => any(&|actual| actual.text().is_some_and(|actual| actual.ends_with(text))),
            Self::Gt(value) => ordered(value, Ordering::is_gt),
            Self::Gte(value) => ordered(value, Ordering::is_ge),
            Self::Lt(value) => ordered(value, Ordering::is_lt),
            Self::Lte(value) => ordered(value, Ordering::is_le),
            Self::Exists(wanted) => slot.is_there == *wanted,
        }
    }
}
