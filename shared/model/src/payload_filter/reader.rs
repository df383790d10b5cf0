//! Reads one field of events, without comparing it.

use std::sync::Arc;

use super::fields::{BoundFilter, FieldIndex, Payload};
use super::read::read_field;
use super::scalar::Scalar;
use super::{Node, Op, PayloadFilter};

/// Reads the value of one field.
#[derive(Debug, Clone)]
pub struct FieldReader(Arc<(FieldIndex, BoundFilter)>);

impl FieldReader {
    /// Compiles a field such as `data.customer.email`, written as in a [`PayloadFilter`].
    ///
    /// # Errors
    /// The text is not a field. The error says what is allowed.
    pub fn compile(field: &str) -> Result<Self, String> {
        // The test is never evaluated; it requests the values of the field.
        let filter = PayloadFilter { root: Node::Test(0, Op::Exists(true)), fields: vec![read_field(field)?] };
        let mut index = FieldIndex::default();
        let bound = index.bind(filter);
        Ok(Self(Arc::new((index, bound))))
    }

    /// The first text, number or boolean in the field, as text. Equal numbers have the same text. `None` if there is none.
    pub fn first_value(&self, payload: &Payload<'_>) -> Option<String> {
        let (index, bound) = &*self.0;
        let values = index.collect([bound], payload);
        bound.scalars(&values).find_map(|value| match value {
            Scalar::Null => None,
            Scalar::Text(text) => Some(text.clone().into_owned()),
            Scalar::Bool(value) => Some(value.to_string()),
            Scalar::Number(_) => Some(value.to_json().to_string()),
        })
    }
}
