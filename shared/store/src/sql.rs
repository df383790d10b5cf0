//! SQL representation of the model's types: times, days, enum codes, text without NUL.

use std::borrow::Cow;
use std::error::Error;

use bytes::BytesMut;
use postrider_model::attempt::Outcome;
use postrider_model::delivery::{DeliveryStatus, DiscardReason, EndpointStatus, HeldReason, Lane, Trigger};
use postrider_model::event::Origin;
use postrider_model::replay::ReplayStatus;
use postrider_model::time::{Day, UnixMillis};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, FromSqlOwned, IsNull, ToSql, Type, accepts, to_sql_checked};

use crate::error::StoreError;

/// PostgreSQL counts from 2000-01-01.
const EPOCH_MS: i64 = 946_684_800_000;
const EPOCH_DAYS: i32 = 10_957;
/// The range of times stored unchanged: 0000-01-01 to 9999-12-31.
const FIRST_MS: i64 = -62_167_219_200_000;
const LAST_MS: i64 = 253_402_300_799_999;
/// The same as days since 1970-01-01.
const FIRST_DAY: i32 = -719_528;
const LAST_DAY: i32 = 2_932_896;

/// A `timestamptz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ts(pub(crate) UnixMillis);

impl ToSql for Ts {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        // Clamped to years 0 and 9999, because the extremes of the column are "infinity".
        let since = (self.0.0.clamp(FIRST_MS, LAST_MS) - EPOCH_MS) * 1_000;
        out.extend_from_slice(&since.to_be_bytes());
        Ok(IsNull::No)
    }
    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Ts {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let micros = i64::from_be_bytes(raw.try_into()?);
        Ok(Self(UnixMillis(micros.div_euclid(1_000).saturating_add(EPOCH_MS))))
    }
    accepts!(TIMESTAMPTZ);
}

/// A `date`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Date(pub(crate) Day);

impl ToSql for Date {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        // Outside this range PostgreSQL has no day or "infinity".
        out.extend_from_slice(&(self.0.0.clamp(FIRST_DAY, LAST_DAY) - EPOCH_DAYS).to_be_bytes());
        Ok(IsNull::No)
    }
    accepts!(DATE);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Date {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(Day(i32::from_be_bytes(raw.try_into()?).saturating_add(EPOCH_DAYS))))
    }
    accepts!(DATE);
}

/// An enum stored as a small code. The codes are part of the schema (`V1__schema.sql`): only append.
pub(crate) trait Coded: Copy + PartialEq + 'static {
    /// The code of this variant.
    fn code(self) -> i16;

    /// The variant of a code.
    fn of(code: i16) -> Result<Self, StoreError>;
}

/// Defines the codes of an enum. A variant without a code, or a duplicate code, does not compile.
macro_rules! coded {
    ($type:ident, $column:literal: $($variant:ident = $code:literal),+ $(,)?) => {
        impl Coded for $type {
            fn code(self) -> i16 {
                match self {
                    $(Self::$variant => $code,)+
                }
            }

            fn of(code: i16) -> Result<Self, StoreError> {
                match code {
                    $($code => Ok(Self::$variant),)+
                    _ => Err(StoreError::Unreadable { what: $column, detail: format!("code {code}") }),
                }
            }
        }
    };
}

coded!(DeliveryStatus, "deliveries.status": Pending = 0, Failed = 1, Cancelled = 2, Discarded = 3, Delivered = 4);
coded!(DiscardReason, "deliveries.discard_reason": Expired = 0, EndpointDeleted = 1, EndpointInactive = 2, Expunged = 3);
coded!(
    Outcome, "attempts.outcome":
    Success = 0,
    HttpStatus = 1,
    Timeout = 2,
    ConnectFailed = 3,
    DnsFailed = 4,
    TlsFailed = 5,
    AddressBlocked = 6,
    ProtocolError = 7,
);
coded!(Trigger, "attempts.trigger": First = 0, Retry = 1, Manual = 2, Replay = 3, Test = 4);
coded!(HeldReason, "attempts.held_reason": Rate = 0, Concurrency = 1, Breaker = 2);
coded!(Origin, "events.origin": Api = 0, Dashboard = 1);
coded!(Lane, "events.lane": Live = 0, Slow = 1, Bulk = 2);
coded!(ReplayStatus, "replays.status": Running = 0, Paused = 1, Finished = 2, Cancelled = 3);
coded!(EndpointStatus, "endpoints.status": Active = 0, Inactive = 1, Disabled = 2);

/// Replaces NUL, which PostgreSQL text cannot hold, by U+FFFD.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// Reads columns by name as the types above.
pub(crate) trait RowExt {
    fn col<T: FromSqlOwned>(&self, name: &str) -> Result<T, StoreError>;
    fn at(&self, name: &str) -> Result<UnixMillis, StoreError>;
    fn at_opt(&self, name: &str) -> Result<Option<UnixMillis>, StoreError>;
    fn day(&self, name: &str) -> Result<Day, StoreError>;
    fn coded<T: Coded>(&self, name: &str) -> Result<T, StoreError>;
    fn coded_opt<T: Coded>(&self, name: &str) -> Result<Option<T>, StoreError>;
    /// A text column that must parse, such as an event's id or type.
    fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(&self, name: &'static str) -> Result<T, StoreError>;
}

impl RowExt for Row {
    fn col<T: FromSqlOwned>(&self, name: &str) -> Result<T, StoreError> {
        Ok(self.try_get(name)?)
    }

    fn at(&self, name: &str) -> Result<UnixMillis, StoreError> {
        Ok(self.try_get::<_, Ts>(name)?.0)
    }

    fn at_opt(&self, name: &str) -> Result<Option<UnixMillis>, StoreError> {
        Ok(self.try_get::<_, Option<Ts>>(name)?.map(|at| at.0))
    }

    fn day(&self, name: &str) -> Result<Day, StoreError> {
        Ok(self.try_get::<_, Date>(name)?.0)
    }

    fn coded<T: Coded>(&self, name: &str) -> Result<T, StoreError> {
        T::of(self.try_get(name)?)
    }

    fn coded_opt<T: Coded>(&self, name: &str) -> Result<Option<T>, StoreError> {
        self.try_get::<_, Option<i16>>(name)?.map(T::of).transpose()
    }

    fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(&self, name: &'static str) -> Result<T, StoreError> {
        let text: &str = self.try_get(name)?;
        text.parse().map_err(|error: T::Err| StoreError::Unreadable { what: name, detail: error.to_string() })
    }
}

/// A signed column that is never negative.
pub(crate) fn unsigned<T: TryFrom<i64> + Default>(value: impl Into<i64>) -> T {
    T::try_from(value.into()).unwrap_or_default()
}

/// A number for a signed column; saturates.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes_read_back<T: Coded + std::fmt::Debug>() {
        let known = (0..99).map_while(|code| T::of(code).ok().map(|variant| (code, variant)));
        assert!(known.map(|(code, variant)| assert_eq!(variant.code(), code)).count() > 1);
        assert!(T::of(-1).is_err() && T::of(99).is_err());
    }

    #[test]
    fn every_code_reads_back_and_unknown_ones_are_errors() {
        codes_read_back::<DeliveryStatus>();
        codes_read_back::<DiscardReason>();
        codes_read_back::<Outcome>();
        codes_read_back::<Trigger>();
        codes_read_back::<HeldReason>();
        codes_read_back::<Origin>();
        codes_read_back::<Lane>();
        codes_read_back::<ReplayStatus>();
        codes_read_back::<EndpointStatus>();
    }

    #[test]
    fn nul_is_replaced_and_nothing_else_is_touched() {
        assert_eq!(clean("a\0b"), "a\u{fffd}b");
        assert!(matches!(clean("täglich"), Cow::Borrowed("täglich")));
    }
}
