//! The heads of members, one type per hop. Field names are part of the format and tested against golden files.

mod delivery;
mod event;
mod hint;
mod ordered;
mod outcome;

pub use self::delivery::{BodyReference, DeliveryRef, DeliveryTask, ParkedTask, SlotTerms, TestCall};
pub use self::event::{AcceptedEvent, Decision, EventRef, NumbersReport};
pub use self::hint::{AppliedVersion, Hint, ServiceRole};
pub use self::ordered::{Enqueued, Line, Run, RunReport, Sequenced, Turn};
pub use self::outcome::{AttemptRecord, OutcomeReport, SetAside};

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
