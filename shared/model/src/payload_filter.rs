//! Payload filters: conditions on what an event holds, beyond its type and its attributes.
//!
//! A filter is read once, when configuration is loaded; bound to the [`Fields`] of all filters that may be asked about
//! one event; and asked with the values that one pass over the event found. docs/filters.md is what customers are
//! promised, and a table of tests holds it:
//! - An array stands for its elements. A test passes when any of the values that its field has passes it.
//! - A test does not pass when the field is missing, but for `exists: false`.
//! - Values of different kinds (text, number, boolean, null) are never equal and have no order.
//!
//! What asking may cost is bounded: each test takes a look-up or a few comparisons, and all filters that are asked about one
//! event share a [`Budget`]. One that it does not cover takes nothing.

mod fields;
mod number;
mod read;
mod scalar;
mod scan;
mod slot;

pub use fields::{BoundFilter, Fields, Found, Payload};

use serde_json::{Map, Value};

use crate::limits::PAYLOAD_FILTER_STEPS_MAX;
use read::Field;
use scalar::Scalar;
use slot::Slot;

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
    /// How many tests it has.
    pub fn tests(&self) -> usize {
        self.fields.len()
    }

    /// What each of its fields holds, once it is bound: a list of values, the first 20 at most, or `null` where the event has
    /// no such field.
    pub fn held(&self, bound: &BoundFilter, found: &Found<'_>) -> Map<String, Value> {
        let held = self.fields.iter().zip(bound.slots(found)).map(|(field, slot)| {
            let values = slot.values.iter().take(SHOWN_MAX).map(Scalar::to_json).collect();
            (field.text.to_string(), if slot.is_there { Value::Array(values) } else { Value::Null })
        });
        held.collect()
    }

    /// Whether the filter takes an event, and what it holds, see [`PayloadFilter::held`]. For one filter alone; many are
    /// bound to their [`Fields`].
    pub fn look(&self, payload: &Payload<'_>) -> (bool, Map<String, Value>) {
        let mut fields = Fields::default();
        let bound = fields.bind(self.clone());
        let found = fields.collect([&bound], payload);
        (bound.takes(&found, &mut Budget::default()), self.held(&bound, &found))
    }
}

/// What the filters that are asked about one event may cost, in steps: a comparison, or a look-up among values. A tenant's
/// filters over one event have [`PAYLOAD_FILTER_STEPS_MAX`].
#[derive(Debug)]
pub struct Budget {
    left: u64,
    is_spent: bool,
}

/// A budget does not cover a step.
#[derive(Debug)]
struct Spent;

impl Default for Budget {
    fn default() -> Self {
        Self::new(PAYLOAD_FILTER_STEPS_MAX)
    }
}

impl Budget {
    /// A budget of so many steps.
    pub fn new(steps: u64) -> Self {
        Self { left: steps, is_spent: false }
    }

    /// Whether it did not cover something: filters since then took nothing.
    pub fn is_spent(&self) -> bool {
        self.is_spent
    }

    /// Steps that are left.
    pub fn left(&self) -> u64 {
        if self.is_spent { 0 } else { self.left }
    }

    fn spend(&mut self, steps: usize) -> Result<(), Spent> {
        match self.left.checked_sub(steps as u64) {
            Some(left) if !self.is_spent => {
                self.left = left;
                Ok(())
            }
            _ => {
                self.is_spent = true;
                Err(Spent)
            }
        }
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
    /// Sorted by [`Scalar::total`], each once.
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
    fn passes<'s, 'a: 's>(&self, slot_of: &impl Fn(usize) -> &'s Slot<'a>, budget: &mut Budget) -> Result<bool, Spent> {
        match self {
            Self::All(nodes) => {
                for node in nodes {
                    if !node.passes(slot_of, budget)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Any(nodes) => {
                for node in nodes {
                    if node.passes(slot_of, budget)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Not(node) => Ok(!node.passes(slot_of, budget)?),
            Self::Test(number, op) => slot_of(*number).passes(op, budget),
        }
    }
}
