//! How the types of `model` and `wire` are stored: times, days, enum codes, ids, and text without NUL. Also reads rows as
//! structs.
//!
//! Types of this crate implement [`Column`] and [`Coded`] where they are defined, so that this module imports no table's module.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Display;
use std::str::FromStr;

use bytes::{Bytes, BytesMut};
use postrider_model::attempt::Outcome;
use postrider_model::brand::Brand;
use postrider_model::delivery::{
    DeliveryStatus, DiscardReason, EndpointStatus, FailingEndpoints, HeldReason, Lane, Trigger,
};
use postrider_model::erasure::{ErasureStage, ErasureStatus};
use postrider_model::event::{Attributes, EventType, Origin};
use postrider_model::ids::{
    BatchId, DeliveryId, EndpointId, ErasureId, EventId, Generation, KeyId, PersonId, PortalLinkId, ReplayId,
    SavedViewId, SendId, TenantId,
};
use postrider_model::notice::NoticeState;
use postrider_model::replay::{ReplaySelection, ReplayStatus};
use postrider_model::saved_view::SavedViewList;
use postrider_model::tenant_limits::TenantLimits;
use postrider_model::time::{Day, UnixMillis};
use postrider_wire::headers::HeaderList;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, FromSqlOwned, IsNull, Json, ToSql, Type, accepts, to_sql_checked};
use uuid::Uuid;

use crate::error::StoreError;

/// The epoch of PostgreSQL, 2000-01-01, as milliseconds and as days since 1970-01-01.
const EPOCH_MS: i64 = 946_684_800_000;
const EPOCH_DAYS: i32 = 10_957;
/// The range of times that are stored unchanged: 0000-01-01 to 9999-12-31.
const FIRST_MS: i64 = -62_167_219_200_000;
const LAST_MS: i64 = 253_402_300_799_999;
/// The same range as days since 1970-01-01.
const FIRST_DAY: i32 = -719_528;
const LAST_DAY: i32 = 2_932_896;

/// The value of a `timestamptz` column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ts(pub(crate) UnixMillis);

impl ToSql for Ts {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        // Clamps to the years 0000 to 9999, because the extremes of the column mean "infinity".
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

/// The value of a `date` column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Date(pub(crate) Day);

impl ToSql for Date {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        // Clamps, because PostgreSQL has no days outside this range, or reads them as "infinity".
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

/// A type that can be read from a column. The types above, such as [`Ts`], are for parameters of statements.
pub(crate) trait Column: Sized {
    /// The type that `tokio_postgres` reads from the column.
    type Stored: FromSqlOwned;

    /// Converts the stored value, or returns why the value cannot be converted.
    fn of_stored(stored: Self::Stored) -> Result<Self, String>;
}

impl<T: Column> Column for Option<T> {
    type Stored = Option<T::Stored>;

    fn of_stored(stored: Self::Stored) -> Result<Self, String> {
        stored.map(T::of_stored).transpose()
    }
}

impl<T: DeserializeOwned> Column for Json<T> {
    type Stored = Self;

    fn of_stored(stored: Self) -> Result<Self, String> {
        Ok(stored)
    }
}

/// Implements [`Column`] for groups of types with the same stored type. Each type has its own conversion.
macro_rules! columns {
    ($($stored:ty => { $($type:ty = $convert:expr),+ $(,)? })+) => {$($(
        impl Column for $type {
            type Stored = $stored;

            fn of_stored(stored: $stored) -> Result<Self, String> {
                let convert: fn($stored) -> Result<Self, String> = $convert;
                convert(stored)
            }
        }
    )+)+};
}

columns! {
    bool => { bool = Ok }
    i16 => { i16 = Ok }
    i32 => { i32 = Ok }
    i64 => { i64 = Ok }
    f64 => { f64 = Ok }
    String => { String = Ok, EventId = parse, EventType = parse }
    JsonText => { Value = |text| parse_json(text.0) }
    // NULL in the column is read as the default value.
    Option<String> => {
        Generation = |text| text.map_or(Ok(Self::First), parse),
        Vec<(String, String)> = |text| text.map_or(Ok(Vec::new()), parse_json),
        HeaderList = |text| text.map_or_else(|| Ok(Self::default()), parse_json),
    }
    Option<Vec<u8>> => { Bytes = |bytes| Ok(bytes.unwrap_or_default().into()) }
    Vec<u8> => { Vec<u8> = Ok, Box<RawValue> = parse_raw }
    Integer => { u16 = |value| Ok(value.unsigned()), u32 = |value| Ok(value.unsigned()), u64 = |value| Ok(value.0.cast_unsigned()) }
    Ts => { UnixMillis = |at| Ok(at.0) }
    Date => { Day = |day| Ok(day.0) }
    Uuid => {
        Uuid = Ok,
        TenantId = |id| Ok(Self(id)),
        EndpointId = |id| Ok(Self(id)),
        DeliveryId = |id| Ok(Self(id)),
        SendId = |id| Ok(Self(id)),
        BatchId = |id| Ok(Self(id)),
        KeyId = |id| Ok(Self(id)),
        PortalLinkId = |id| Ok(Self(id)),
        PersonId = |id| Ok(Self(id)),
        ReplayId = |id| Ok(Self(id)),
        ErasureId = |id| Ok(Self(id)),
        SavedViewId = |id| Ok(Self(id)),
    }
    Vec<Uuid> => { Vec<EndpointId> = |ids| Ok(ids.into_iter().map(EndpointId).collect()) }
    Vec<i64> => { Vec<i64> = Ok }
    Vec<String> => { Vec<EventId> = |ids| ids.into_iter().map(parse).collect() }
    Vec<Ts> => { Vec<UnixMillis> = |times| Ok(times.into_iter().map(|at| at.0).collect()) }
    Option<Json<Attributes>> => { Attributes = |found| Ok(found.map(|Json(attributes)| attributes).unwrap_or_default()) }
    Option<Json<Value>> => { Brand = |found| stored_brand(found) }
    Json<ReplaySelection> => { ReplaySelection = |Json(selection)| Ok(selection) }
    Json<TenantLimits> => { TenantLimits = |Json(limits)| Ok(limits) }
    Json<BTreeMap<String, f64>> => { BTreeMap<String, f64> = |Json(numbers)| Ok(numbers) }
}

fn stored_brand(found: Option<Json<Value>>) -> Result<Brand, String> {
    found.map_or(Ok(Brand::NONE), |Json(brand)| Brand::stored(brand).map_err(|error| error.to_string()))
}

fn parse<T: FromStr<Err: Display>>(text: String) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn parse_json<T: DeserializeOwned>(text: String) -> Result<T, String> {
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

fn parse_raw(bytes: Vec<u8>) -> Result<Box<RawValue>, String> {
    let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
    RawValue::from_string(text).map_err(|error| error.to_string())
}

/// JSON from a column of type `text`, `json` or `jsonb`.
pub(crate) struct JsonText(String);

impl<'a> FromSql<'a> for JsonText {
    fn from_sql(of: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        // The binary form of `jsonb` starts with its version, 1.
        let text = if *of == Type::JSONB { raw.strip_prefix(&[1]).ok_or("another format of jsonb")? } else { raw };
        Ok(Self(String::from_utf8(text.to_vec())?))
    }
    accepts!(TEXT, JSON, JSONB);
}

/// A number that is read from an integer column of any width.
pub(crate) struct Integer(i64);

impl Integer {
    /// Converts a number that is never negative.
    fn unsigned<T: TryFrom<i64> + Default>(self) -> T {
        T::try_from(self.0).unwrap_or_default()
    }
}

impl<'a> FromSql<'a> for Integer {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(match raw.len() {
            2 => i16::from_be_bytes(raw.try_into()?).into(),
            4 => i32::from_be_bytes(raw.try_into()?).into(),
            _ => i64::from_be_bytes(raw.try_into()?),
        }))
    }
    accepts!(INT2, INT4, INT8);
}

/// An enum that is stored as a small code. The codes are part of the schema (`V1__schema.sql`): only append codes.
pub(crate) trait Coded: Copy {
    /// The code of this variant.
    fn code(self) -> i16;
}

/// Defines the codes of an enum. A variant without a code or with the code of another variant does not compile.
macro_rules! coded {
    ($type:ident: $($variant:ident = $code:literal),+ $(,)?) => {
        impl $crate::sql::Coded for $type {
            fn code(self) -> i16 {
                match self {
                    $(Self::$variant => $code,)+
                }
            }
        }

        impl $crate::sql::Column for $type {
            type Stored = i16;

            fn of_stored(code: i16) -> Result<Self, String> {
                match code {
                    $($code => Ok(Self::$variant),)+
                    _ => Err(format!("code {code}")),
                }
            }
        }
    };
}

coded!(DeliveryStatus: Pending = 0, Failed = 1, Cancelled = 2, Discarded = 3, Delivered = 4);
coded!(
    DiscardReason:
    Expired = 0,
    EndpointDeleted = 1,
    EndpointInactive = 2,
    Expunged = 3,
    LinesFull = 4,
    Skipped = 6,
    PauseLimit = 7,
);
coded!(
    Outcome:
    Success = 0,
    HttpStatus = 1,
    Timeout = 2,
    ConnectFailed = 3,
    DnsFailed = 4,
    TlsFailed = 5,
    AddressBlocked = 6,
    ProtocolError = 7,
);
coded!(Trigger: First = 0, Retry = 1, Manual = 2, Replay = 3, Test = 4);
coded!(HeldReason: Rate = 0, Concurrency = 1, Breaker = 2);
coded!(Origin: Api = 0, Dashboard = 1, Notice = 2);
coded!(NoticeState: Failing = 0, Disabled = 1, Paused = 2, Recovered = 3);
coded!(Lane: Live = 0, Slow = 1, Bulk = 2);
coded!(ReplayStatus: Running = 0, Paused = 1, Finished = 2, Cancelled = 3);
coded!(ErasureStatus: Waiting = 0, Running = 1, Finished = 2, Cancelled = 3, Failed = 4);
coded!(ErasureStage: Events = 0, TestCalls = 1, Attempts = 2, DeadLetters = 3);
coded!(EndpointStatus: Active = 0, Inactive = 1, Disabled = 2, Paused = 3);
coded!(FailingEndpoints: Disable = 0, Pause = 1);
coded!(SavedViewList: Deliveries = 0, Events = 1);

/// Replaces NUL, which PostgreSQL text cannot contain, with U+FFFD.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// Reads a column by name.
pub(crate) trait RowExt {
    fn col<T: Column>(&self, name: &'static str) -> Result<T, StoreError>;
}

impl RowExt for Row {
    fn col<T: Column>(&self, name: &'static str) -> Result<T, StoreError> {
        let unreadable = |detail| StoreError::Unreadable { what: name, detail };
        T::of_stored(self.try_get(name)?).map_err(unreadable)
    }
}

/// The parameters of a statement.
pub(crate) type Params<'a> = [&'a (dyn ToSql + Sync)];

/// A struct or tuple that is read from a row.
pub(crate) trait FromRow: Sized {
    fn read(row: &Row) -> Result<Self, StoreError>;
}

/// Implements [`FromRow`] for a struct: reads each field from the column with its name, or with the given name. `COLUMNS` lists
/// the columns for a `SELECT`.
macro_rules! from_row {
    ($type:ident { $($field:ident $(: $column:literal)?),+ $(,)? }) => {
        impl $type {
            #[allow(dead_code, reason = "a struct of a join or an aggregate names its columns in the statement")]
            pub(crate) const COLUMNS: &'static str =
                concat!($(", ", $crate::sql::column_name!($field $(: $column)?)),+).split_at(2).1;
        }

        impl $crate::sql::FromRow for $type {
            fn read(row: &tokio_postgres::Row) -> Result<Self, $crate::error::StoreError> {
                use $crate::sql::RowExt as _;
                Ok(Self { $($field: row.col($crate::sql::column_name!($field $(: $column)?))?,)+ })
            }
        }
    };
}

macro_rules! column_name {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident: $column:literal) => {
        $column
    };
}

pub(crate) use {coded, column_name, from_row};

macro_rules! tuple_from_row {
    ($($type:ident = $index:literal),+) => {
        impl<$($type: Column),+> FromRow for ($($type,)+) {
            fn read(row: &Row) -> Result<Self, StoreError> {
                let unreadable = |detail| StoreError::Unreadable { what: "row", detail };
                Ok(($($type::of_stored(row.try_get($index)?).map_err(unreadable)?,)+))
            }
        }
    };
}

tuple_from_row!(A = 0);
tuple_from_row!(A = 0, B = 1);
tuple_from_row!(A = 0, B = 1, C = 2);
tuple_from_row!(A = 0, B = 1, C = 2, D = 3);

/// Reads each row as a `T`.
pub(crate) fn read_all<T: FromRow>(rows: Vec<Row>) -> Result<Vec<T>, StoreError> {
    rows.iter().map(T::read).collect()
}

/// Returns the column `found`, which has the same value in every row: the number of rows before the page was shortened. 0 if
/// there are no rows.
pub(crate) fn found(rows: &[Row]) -> Result<usize, StoreError> {
    let found: Option<u64> = rows.first().map(|row| row.col("found")).transpose()?;
    Ok(found.map_or(0, |found| usize::try_from(found).unwrap_or(usize::MAX)))
}

/// Reads the row, if there is one.
pub(crate) fn read_optional<T: FromRow>(row: Option<Row>) -> Result<Option<T>, StoreError> {
    row.as_ref().map(T::read).transpose()
}

/// Converts a number for a signed column. A number that is too large becomes the maximum.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Checks that every code of an enum is read as its variant, and that other codes are errors.
    pub(crate) fn codes_read_back<T: Coded + Column<Stored = i16>>() {
        let known = (0..99).map_while(|code| T::of_stored(code).ok().map(|variant| (code, variant)));
        assert!(known.map(|(code, variant)| assert_eq!(variant.code(), code)).count() > 1);
        assert!(T::of_stored(-1).is_err() && T::of_stored(99).is_err());
    }

    #[test]
    fn every_code_reads_back_and_unknown_ones_are_errors() {
        codes_read_back::<DeliveryStatus>();
        codes_read_back::<DiscardReason>();
        codes_read_back::<Outcome>();
        codes_read_back::<Trigger>();
        codes_read_back::<HeldReason>();
        codes_read_back::<Origin>();
        codes_read_back::<NoticeState>();
        codes_read_back::<Lane>();
        codes_read_back::<ReplayStatus>();
        codes_read_back::<ErasureStatus>();
        codes_read_back::<ErasureStage>();
        codes_read_back::<EndpointStatus>();
        codes_read_back::<SavedViewList>();
    }

    #[test]
    fn nul_is_replaced_and_nothing_else_is_touched() {
        assert_eq!(clean("a\0b"), "a\u{fffd}b");
        assert!(matches!(clean("täglich"), Cow::Borrowed("täglich")));
    }
}
