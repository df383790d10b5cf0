//! The values of one field of an event. If there are many values, they are sorted once, and a test needs one look-up instead of
//! many comparisons.

use std::cell::OnceCell;
use std::cmp::Ordering;

use super::scalar::Scalar;
use super::{Budget, Op, Spent};

/// Maximum number of values that are compared one by one. If there are more, they are sorted.
const COMPARED_MAX: usize = 8;

/// The values of one field.
#[derive(Debug, Default)]
pub(super) struct Values<'a> {
    /// Whether the event has the field, with any value.
    pub(super) is_present: bool,
    /// The field's values except objects. There is more than one value only if there are arrays on the path.
    pub(super) values: Vec<Scalar<'a>>,
    /// Indexes into `values`, sorted by [`Scalar::total`].
    sorted: OnceCell<Vec<usize>>,
    /// Indexes into `values` of the texts among them, sorted by their reversed bytes.
    by_end: OnceCell<Vec<usize>>,
}

impl<'a> Values<'a> {
    pub(super) fn of_text(text: &'a str) -> Self {
        Self { is_present: true, values: vec![Scalar::Text(text.into())], ..Self::default() }
    }

    /// Whether the field passes a test.
    ///
    /// # Errors
    /// The budget is spent.
    pub(super) fn passes(&self, op: &Op, budget: &mut Budget) -> Result<bool, Spent> {
        budget.spend(1)?;
        match op {
            Op::Exists(wanted) => Ok(self.is_present == *wanted),
            Op::In(values) if values.len() > self.values.len() => {
                budget.spend(self.values.len())?;
                let listed = |value: &Scalar<'_>| values.binary_search_by(|other| other.total(value)).is_ok();
                Ok(self.values.iter().any(listed))
            }
            Op::In(values) => {
                for value in values {
                    if self.equals(value, budget)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Op::Ne(value) => Ok(self.is_present && !self.equals(value, budget)?),
            Op::Eq(value) => self.equals(value, budget),
            op => self.any(op, budget),
        }
    }

    /// Whether any of the field's values equals `value`.
    fn equals(&self, value: &Scalar<'_>, budget: &mut Budget) -> Result<bool, Spent> {
        if self.values.len() <= COMPARED_MAX {
            budget.spend(self.values.len())?;
            return Ok(self.values.iter().any(|actual| actual.equals(value)));
        }
        budget.spend(1)?;
        Ok(self.boundary(value, Ordering::is_lt, budget)?.after().is_some_and(|actual| actual.equals(value)))
    }

    /// Whether any of the field's values passes the comparison `op`.
    fn any(&self, op: &Op, budget: &mut Budget) -> Result<bool, Spent> {
        if self.values.len() <= COMPARED_MAX {
            budget.spend(self.values.len())?;
            return Ok(self.values.iter().any(|value| compared(value, op)));
        }
        budget.spend(1)?;
        let candidate = match op {
            Op::Gte(value) => self.boundary(value, Ordering::is_lt, budget)?.after(),
            Op::Gt(value) => self.boundary(value, Ordering::is_le, budget)?.after(),
            Op::Lt(value) => self.boundary(value, Ordering::is_lt, budget)?.before(),
            Op::Lte(value) => self.boundary(value, Ordering::is_le, budget)?.before(),
            Op::Prefix(text) => self.boundary(&Scalar::Text(text.as_str().into()), Ordering::is_lt, budget)?.after(),
            Op::Suffix(text) => self.first_by_end(text, budget)?,
            Op::Eq(_) | Op::Ne(_) | Op::In(_) | Op::Exists(_) => None,
        };
        Ok(candidate.is_some_and(|value| compared(value, op)))
    }

    /// The boundary in sorted order between the values for which `is_before` is true, in comparison with `value`, and all other
    /// values.
    fn boundary(
        &self,
        value: &Scalar<'_>,
        is_before: fn(Ordering) -> bool,
        budget: &mut Budget,
    ) -> Result<Boundary<'_, 'a>, Spent> {
        let sorted = match self.sorted.get() {
            Some(sorted) => sorted,
            None => {
                budget.spend(self.values.len())?;
                self.sorted.get_or_init(|| {
                    let mut sorted: Vec<usize> = (0..self.values.len()).collect();
                    sorted.sort_unstable_by(|a, b| self.values[*a].total(&self.values[*b]));
                    sorted
                })
            }
        };
        let at = sorted.partition_point(|other| is_before(self.values[*other].total(value)));
        Ok(Boundary { values: &self.values, sorted, at })
    }

    /// The first text in `by_end` that is not before `end`. If any text ends with `end`, this one does.
    fn first_by_end(&self, end: &str, budget: &mut Budget) -> Result<Option<&Scalar<'a>>, Spent> {
        let text = |place: &usize| self.values[*place].text().unwrap_or_default().bytes().rev();
        let by_end = match self.by_end.get() {
            Some(by_end) => by_end,
            None => {
                budget.spend(self.values.len())?;
                self.by_end.get_or_init(|| {
                    let texts = (0..self.values.len()).filter(|place| self.values[*place].text().is_some());
                    let mut by_end: Vec<usize> = texts.collect();
                    by_end.sort_unstable_by(|a, b| text(a).cmp(text(b)));
                    by_end
                })
            }
        };
        let at = by_end.partition_point(|place| text(place).lt(end.bytes().rev()));
        Ok(by_end.get(at).map(|place| &self.values[*place]))
    }
}

/// A boundary between two sorted values, or before the first or after the last value.
struct Boundary<'s, 'a> {
    values: &'s [Scalar<'a>],
    sorted: &'s [usize],
    at: usize,
}

impl<'s, 'a> Boundary<'s, 'a> {
    fn after(&self) -> Option<&'s Scalar<'a>> {
        self.sorted.get(self.at).map(|place| &self.values[*place])
    }

    fn before(&self) -> Option<&'s Scalar<'a>> {
        self.sorted.get(self.at.checked_sub(1)?).map(|place| &self.values[*place])
    }
}

/// Whether one value passes the comparison `op`.
fn compared(actual: &Scalar<'_>, op: &Op) -> bool {
    let ordered = |value, passes: fn(Ordering) -> bool| actual.order(value).is_some_and(passes);
    match op {
        Op::Prefix(text) => actual.text().is_some_and(|actual| actual.starts_with(text)),
        Op::Suffix(text) => actual.text().is_some_and(|actual| actual.ends_with(text)),
        Op::Gt(value) => ordered(value, Ordering::is_gt),
        Op::Gte(value) => ordered(value, Ordering::is_ge),
        Op::Lt(value) => ordered(value, Ordering::is_lt),
        Op::Lte(value) => ordered(value, Ordering::is_le),
        Op::Eq(_) | Op::Ne(_) | Op::In(_) | Op::Exists(_) => false,
    }
}
