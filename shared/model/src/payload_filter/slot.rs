//! What one field of an event holds, and asking about it: many values are sorted once, so that a test looks its answer up
//! instead of comparing with each of them.

use std::cell::OnceCell;
use std::cmp::Ordering;

use super::scalar::Scalar;
use super::{Budget, Op, Spent};

/// More values than these are sorted.
const COMPARED_MAX: usize = 8;

/// What one field holds.
#[derive(Debug, Default)]
pub(super) struct Slot<'a> {
    /// The event has it, whatever its value.
    pub(super) is_there: bool,
    /// Its values, but for objects; several where arrays are on its way.
    pub(super) values: Vec<Scalar<'a>>,
    index: OnceCell<Vec<usize>>,
    /// Its texts, sorted from their ends.
    by_end: OnceCell<Vec<usize>>,
}

impl<'a> Slot<'a> {
    pub(super) fn of_text(text: &'a str) -> Self {
        Self { is_there: true, values: vec![Scalar::Text(text.into())], ..Self::default() }
    }

    /// Whether a test passes.
    ///
    /// # Errors
    /// [`Spent`]: the budget does not cover it.
    pub(super) fn passes(&self, op: &Op, budget: &mut Budget) -> Result<bool, Spent> {
        budget.spend(1)?;
        match op {
            Op::Exists(wanted) => Ok(self.is_there == *wanted),
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
            Op::Ne(value) => Ok(self.is_there && !self.equals(value, budget)?),
            Op::Eq(value) => self.equals(value, budget),
            op => self.any(op, budget),
        }
    }

    /// Whether any value is equal to this one.
    fn equals(&self, value: &Scalar<'_>, budget: &mut Budget) -> Result<bool, Spent> {
        if self.values.len() <= COMPARED_MAX {
            budget.spend(self.values.len())?;
            return Ok(self.values.iter().any(|actual| actual.equals(value)));
        }
        budget.spend(1)?;
        Ok(self.from(value, Ordering::is_lt, budget)?.next().is_some_and(|actual| actual.equals(value)))
    }

    /// Whether any value passes a test of another kind that is about one value.
    fn any(&self, op: &Op, budget: &mut Budget) -> Result<bool, Spent> {
        if self.values.len() <= COMPARED_MAX {
            budget.spend(self.values.len())?;
            return Ok(self.values.iter().any(|value| compared(value, op)));
        }
        budget.spend(1)?;
        let candidate = match op {
            Op::Gte(value) => self.from(value, Ordering::is_lt, budget)?.next(),
            Op::Gt(value) => self.from(value, Ordering::is_le, budget)?.next(),
            Op::Lt(value) => self.from(value, Ordering::is_lt, budget)?.before(),
            Op::Lte(value) => self.from(value, Ordering::is_le, budget)?.before(),
            Op::Prefix(text) => self.from(&Scalar::Text(text.as_str().into()), Ordering::is_lt, budget)?.next(),
            Op::Suffix(text) => self.by_end(text, budget)?,
            Op::Eq(_) | Op::Ne(_) | Op::In(_) | Op::Exists(_) => None,
        };
        Ok(candidate.is_some_and(|value| compared(value, op)))
    }

    /// The place behind all values whose order to `value` is such.
    fn from(
        &self,
        value: &Scalar<'_>,
        is_before: fn(Ordering) -> bool,
        budget: &mut Budget,
    ) -> Result<Place<'_, 'a>, Spent> {
        let index = match self.index.get() {
            Some(index) => index,
            None => {
                budget.spend(self.values.len())?;
                self.index.get_or_init(|| {
                    let mut index: Vec<usize> = (0..self.values.len()).collect();
                    index.sort_unstable_by(|a, b| self.values[*a].total(&self.values[*b]));
                    index
                })
            }
        };
        let at = index.partition_point(|other| is_before(self.values[*other].total(value)));
        Ok(Place { values: &self.values, index, at })
    }

    /// The first text that may end with this one.
    fn by_end(&self, end: &str, budget: &mut Budget) -> Result<Option<&Scalar<'a>>, Spent> {
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

/// A place in the sorted values.
struct Place<'s, 'a> {
    values: &'s [Scalar<'a>],
    index: &'s [usize],
    at: usize,
}

impl<'s, 'a> Place<'s, 'a> {
    fn next(&self) -> Option<&'s Scalar<'a>> {
        self.index.get(self.at).map(|place| &self.values[*place])
    }

    fn before(&self) -> Option<&'s Scalar<'a>> {
        self.index.get(self.at.checked_sub(1)?).map(|place| &self.values[*place])
    }
}

/// Whether one value passes.
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
