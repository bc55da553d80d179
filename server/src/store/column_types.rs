//! Column types: columns whose texts and numbers represent values of a Rust type, and the conversions. A row that holds
//! anything else is an error that names the table, the column and the value; nothing is read as a default.

use std::io::Write as _;

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow, Queryable};
use diesel::expression::AsExpression;
use diesel::internal::derives::as_expression::Bound;
use diesel::pg::Pg;
use diesel::query_builder::QueryId;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{BigInt, SqlType, Text};
use diesel::sqlite::Sqlite;
use serde_json::{Map, Value};
use watchpost_policies::{Digest, Kind};

use super::rules::{AuditAction, SettingsRef};

/// A value that Watchpost cannot have written.
#[derive(Debug, thiserror::Error)]
#[error("{column} holds {value}, which is not a valid {expected}")]
pub(super) struct UnknownValue {
    /// The table and its column.
    pub(super) column: &'static str,
    /// The value in the column.
    pub(super) value: String,
    /// The expected kind of value.
    pub(super) expected: &'static str,
}

/// Maximum length of a value in an error, because JSON may be long.
const MAX_SHOWN_CHARS: usize = 200;

impl UnknownValue {
    /// For a column that holds JSON.
    pub(super) fn json(column: &'static str, text: &str, error: &serde_json::Error) -> Self {
        let shown: String = text.chars().take(MAX_SHOWN_CHARS).collect();
        Self {
            column,
            value: format!("{shown:?} ({error})"),
            expected: "JSON document that this Watchpost knows",
        }
    }
}

/// A value of another crate's type, wrapped for writing into its column. Reading needs no such wrapper.
#[derive(Clone, Copy, Debug)]
pub(super) struct ColumnValue<T>(pub(super) T);

/// Declares the SQL type of a text column, how its texts are parsed, and what is written into it: the type itself or
/// its [`ColumnValue`].
macro_rules! text_column {
    ($sql:ident, $column:literal, $value:ty, $expected:literal, $parse:expr, $written:ty, $text:expr) => {
        #[doc = concat!("The SQL type of `", $column, "`.")]
        #[derive(Clone, Copy, Debug, QueryId, SqlType)]
        #[diesel(sqlite_type(name = "Text"))]
        #[diesel(postgres_type(oid = 25, array_oid = 1009))]
        pub struct $sql;

        impl<DB: Backend> FromSql<$sql, DB> for $value
        where
            String: FromSql<Text, DB>,
        {
            fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
                let text = <String as FromSql<Text, DB>>::from_sql(bytes)?;
                let parse: fn(&str) -> Option<$value> = $parse;
                Ok(parse(&text).ok_or_else(|| UnknownValue {
                    column: $column,
                    value: format!("{text:?}"),
                    expected: $expected,
                })?)
            }
        }

        impl ToSql<$sql, Sqlite> for $written {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
                let text: fn(&$written) -> String = $text;
                out.set_value(text(self));
                Ok(IsNull::No)
            }
        }

        impl ToSql<$sql, Pg> for $written {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                let text: fn(&$written) -> String = $text;
                out.write_all(text(self).as_bytes())?;
                Ok(IsNull::No)
            }
        }

        value_column!($sql, $value, $written);
    };
}

/// Implements what Diesel's derives generate for types of their own crate.
macro_rules! value_column {
    ($sql:ident, $value:ty, $written:ty) => {
        impl<DB: Backend> Queryable<$sql, DB> for $value
        where
            Self: FromSql<$sql, DB>,
        {
            type Row = Self;

            fn build(row: Self) -> deserialize::Result<Self> {
                Ok(row)
            }
        }

        impl AsExpression<$sql> for $written {
            type Expression = Bound<$sql, Self>;

            fn as_expression(self) -> Self::Expression {
                Bound::new(self)
            }
        }

        impl AsExpression<$sql> for &$written {
            type Expression = Bound<$sql, Self>;

            fn as_expression(self) -> Self::Expression {
                Bound::new(self)
            }
        }
    };
}

macro_rules! digest_column {
    ($sql:ident, $column:literal) => {
        text_column!(
            $sql,
            $column,
            Digest,
            "digest",
            |text| text.parse().ok(),
            ColumnValue<Digest>,
            |written| written.0.to_string()
        );
    };
}

digest_column!(VersionDigest, "rule_versions.digest");
digest_column!(SettingsDigest, "rule_settings.digest");
digest_column!(LogDigest, "rule_log.digest");

text_column!(
    VersionKind,
    "rule_versions.kind",
    Kind,
    "kind of rule that this Watchpost knows",
    |text| [Kind::Threshold, Kind::Role]
        .into_iter()
        .find(|kind| kind.as_str() == text),
    ColumnValue<Kind>,
    |written| written.0.as_str().to_owned()
);

text_column!(
    LogAction,
    "rule_log.action",
    AuditAction,
    "action that this Watchpost knows",
    |text| AuditAction::ALL.into_iter().find(|action| action.as_str() == text),
    AuditAction,
    |action| action.as_str().to_owned()
);

/// The SQL type of `rule_log.settings_id`.
#[derive(Clone, Copy, Debug, QueryId, SqlType)]
#[diesel(sqlite_type(name = "Long"))]
#[diesel(postgres_type(oid = 20, array_oid = 1016))]
pub struct LogSettings;

impl<DB: Backend> FromSql<LogSettings, DB> for SettingsRef
where
    i64: FromSql<BigInt, DB>,
{
    fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
        let number = <i64 as FromSql<BigInt, DB>>::from_sql(bytes)?;
        Ok(Self::try_from(number).map_err(|_| UnknownValue {
            column: "rule_log.settings_id",
            value: number.to_string(),
            expected: "number of stored settings",
        })?)
    }
}

impl ToSql<LogSettings, Sqlite> for SettingsRef {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(i64::try_from(*self)?);
        Ok(IsNull::No)
    }
}

impl ToSql<LogSettings, Pg> for SettingsRef {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(&i64::try_from(*self)?.to_be_bytes())?;
        Ok(IsNull::No)
    }
}

value_column!(LogSettings, SettingsRef, SettingsRef);

/// The JSON object in `decisions.payload`.
#[derive(Debug, FromSqlRow)]
pub struct RecordPayload(Map<String, Value>);

impl<DB: Backend> FromSql<Text, DB> for RecordPayload
where
    String: FromSql<Text, DB>,
{
    fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
        let text = <String as FromSql<Text, DB>>::from_sql(bytes)?;
        let parsed = serde_json::from_str(&text).map(Self);
        Ok(parsed.map_err(|error| UnknownValue::json("decisions.payload", &text, &error))?)
    }
}

impl From<RecordPayload> for Map<String, Value> {
    fn from(payload: RecordPayload) -> Self {
        payload.0
    }
}
