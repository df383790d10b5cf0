//! Payload filters: conditions on an event's `data` and `metadata`, beyond its type and attributes.
//!
//! A filter is read once, when configuration is loaded, and is bound to the [`FieldIndex`] of its tenant's filters. One pass
//! over an event collects the values that these filters compare. docs/filters.md promises, and tests check:
//! - An array stands for its elements. A test passes if any value of its field passes.
//! - If the field is missing, no test passes except `exists: false`.
//! - Values of different kinds (text, number, boolean, null) are never equal and have no order.
//!
//! The cost is limited: each test needs a look-up or a few comparisons, and all filters that are evaluated for one event share
//! a [`Budget`]. A filter that exceeds the budget does not match.

mod field_search;
mod fields;
mod number;
mod read;
mod reader;
mod scalar;
mod search;
mod values;

pub use field_search::{FieldSearch, ValueTest};
pub use fields::{BoundFilter, FieldIndex, FieldValues, Payload};
pub use reader::FieldReader;
pub use search::{InvalidPayloadSearch, PayloadSearch};

use serde_json::{Map, Value};

use crate::limits::PAYLOAD_FILTER_STEPS_MAX;
use read::Field;
use scalar::Scalar;
use values::Values;

/// A condition on an event's `data`, `metadata` and `attributes`.
#[derive(Debug, Clone, PartialEq)]
pub struct PayloadFilter {
    root: Node,
    /// The field of each test. A [`Node::Test`] contains the index of its field.
    fields: Vec<Field>,
}

impl PayloadFilter {
    /// The number of tests.
    pub fn tests(&self) -> usize {
        self.fields.len()
    }

    /// Evaluates only this filter. Returns whether it matches an event, and the [`actual_values`](BoundFilter::actual_values).
    pub fn explain(&self, payload: &Payload<'_>) -> (bool, Map<String, Value>) {
        let mut index = FieldIndex::default();
        let bound = index.bind(self.clone());
        let values = index.collect([&bound], payload);
        (bound.matches(&values, &mut Budget::default()), bound.actual_values(&values))
    }
}

/// The steps that all filters evaluated for one event may take together: [`PAYLOAD_FILTER_STEPS_MAX`] for the filters of a
/// tenant. A step is a comparison or a look-up.
#[derive(Debug)]
pub struct Budget {
    left: u64,
    is_spent: bool,
}

/// The error of a step that exceeds the budget.
#[derive(Debug)]
struct Spent;

impl Default for Budget {
    fn default() -> Self {
        Self::new(PAYLOAD_FILTER_STEPS_MAX)
    }
}

impl Budget {
    /// A budget of `steps`.
    pub fn new(steps: u64) -> Self {
        Self { left: steps, is_spent: false }
    }

    /// Whether a step exceeded the budget. If so, filters that were evaluated later did not match.
    pub fn is_spent(&self) -> bool {
        self.is_spent
    }

    /// The number of steps that are left.
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
    /// A test: its number, which is the index of its field, and its operator.
    Test(usize, Op),
}

/// The operator of a test.
#[derive(Debug, Clone, PartialEq)]
enum Op {
    Eq(Scalar<'static>),
    Ne(Scalar<'static>),
    /// The values are sorted by [`Scalar::total`], without duplicates.
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
    /// Evaluates the node. `values_of(n)` returns the values of the field of test number `n`.
    fn passes<'s, 'a: 's>(
        &self,
        values_of: &impl Fn(usize) -> &'s Values<'a>,
        budget: &mut Budget,
    ) -> Result<bool, Spent> {
        match self {
            Self::All(nodes) => {
                for node in nodes {
                    if !node.passes(values_of, budget)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Any(nodes) => {
                for node in nodes {
                    if node.passes(values_of, budget)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Not(node) => Ok(!node.passes(values_of, budget)?),
            Self::Test(number, op) => values_of(*number).passes(op, budget),
        }
    }
}
