//! The settings that rules were given. They never change, so a generation that names them can be made again.

use diesel::{
    ExpressionMethods, OptionalExtension, QueryDsl, QueryResult, Queryable, RunQueryDsl, Selectable, SelectableHelper,
    insert_into,
};
use serde::{Deserialize, Serialize, Serializer};
use watchpost_policies::Digest;

use super::{AuditActor, CONFIGURATION};
use crate::store::column_types::ColumnValue;
use crate::store::connection::{Connection, on};
use crate::store::schema::rule_settings as columns;
use crate::store::{Store, StoreError};

/// The settings that an entry of a generation names. In the database and for clients it is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub enum SettingsRef {
    /// Those of the configuration, before they have a number; clients see 0.
    Configured,
    /// Those of this change, which get their number together with its generation. They cannot be written before.
    New,
    /// Those that have this number, which is positive.
    Stored(i64),
}

/// Settings that were to be written or read by a number, and have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these settings have no number")]
pub struct UnstoredSettings;

/// Settings that a rule was given once.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Serialize)]
#[diesel(table_name = columns)]
pub struct Given {
    /// By what a generation names them.
    pub id: i64,
    /// Of which rule.
    #[serde(skip)]
    pub name: String,
    /// The settings, as JSON.
    #[serde(skip)]
    pub settings: String,
    /// When they were given first, in milliseconds since 1970 (UTC).
    pub given_ms: i64,
    /// By whom.
    pub given_by: String,
}

/// Settings that nobody gave before. They are kept with the first generation that has them: until then nobody knows
/// whether any will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSettings {
    /// Of which rule.
    pub name: String,
    /// The settings, as JSON.
    pub settings: String,
    /// Who gives them.
    pub by: AuditActor,
}

impl SettingsRef {
    /// The number of stored settings.
    pub fn id(self) -> Option<i64> {
        match self {
            Self::Stored(id) => Some(id),
            Self::Configured | Self::New => None,
        }
    }

    /// The same, where new settings have this number now.
    pub(super) fn with_new(self, stored: Option<i64>) -> Self {
        match (self, stored) {
            (Self::New, Some(id)) => Self::Stored(id),
            (settings, _) => settings,
        }
    }
}

impl TryFrom<i64> for SettingsRef {
    type Error = UnstoredSettings;

    fn try_from(number: i64) -> Result<Self, UnstoredSettings> {
        match number {
            0 => Ok(Self::Configured),
            1.. => Ok(Self::Stored(number)),
            _ => Err(UnstoredSettings),
        }
    }
}

impl TryFrom<SettingsRef> for i64 {
    type Error = UnstoredSettings;

    fn try_from(settings: SettingsRef) -> Result<Self, UnstoredSettings> {
        match settings {
            SettingsRef::Configured => Ok(0),
            SettingsRef::Stored(id) => Ok(id),
            SettingsRef::New => Err(UnstoredSettings),
        }
    }
}

impl Serialize for SettingsRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = i64::try_from(*self).map_err(serde::ser::Error::custom)?;
        serializer.serialize_i64(number)
    }
}

impl Store {
    /// Keeps settings, and tells by what they are named from now on. The same settings are kept once, but those of the
    /// configuration by themselves: whose they are decides whether a change of the configuration changes them.
    pub fn keep_rule_settings(
        &self,
        name: &str,
        settings: &str,
        by: &AuditActor,
        now_ms: i64,
    ) -> Result<i64, StoreError> {
        let fresh = NewSettings {
            name: name.to_owned(),
            settings: settings.to_owned(),
            by: by.clone(),
        };
        self.write(|connection| keep(connection, &fresh, now_ms))
    }

    /// By what these settings are named, if somebody gave them before.
    pub fn number_of_rule_settings(&self, fresh: &NewSettings) -> Result<Option<i64>, StoreError> {
        self.read(|connection| number_of(connection, fresh).optional())
    }

    /// Settings by their number.
    pub fn rule_settings(&self, id: i64) -> Result<Option<Given>, StoreError> {
        self.read(|connection| {
            on!(connection, connection => columns::table
                .find(id)
                .select(Given::as_select())
                .first(connection)
                .optional())
        })
    }
}

/// Keeps settings, if they are not kept, and tells by what they are named.
pub(super) fn keep(connection: &mut Connection, fresh: &NewSettings, now_ms: i64) -> QueryResult<i64> {
    on!(connection, connection => insert_into(columns::table)
        .values((
            columns::name.eq(&fresh.name),
            columns::digest.eq(ColumnValue(digest_of(fresh))),
            columns::settings.eq(&fresh.settings),
            columns::given_ms.eq(now_ms),
            columns::given_by.eq(&fresh.by.who),
        ))
        .on_conflict_do_nothing()
        .execute(connection))?;
    number_of(connection, fresh)
}

fn digest_of(fresh: &NewSettings) -> Digest {
    match fresh.by.who == CONFIGURATION {
        true => Digest::of(format!("{CONFIGURATION}\n{}", fresh.settings).as_bytes()),
        false => Digest::of(fresh.settings.as_bytes()),
    }
}

fn number_of(connection: &mut Connection, fresh: &NewSettings) -> QueryResult<i64> {
    on!(connection, connection => columns::table
        .filter(columns::name.eq(&fresh.name))
        .filter(columns::digest.eq(ColumnValue(digest_of(fresh))))
        .select(columns::id)
        .first(connection))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_without_a_number_are_neither_written_nor_read() {
        for (settings, number) in [(SettingsRef::Configured, "0"), (SettingsRef::Stored(7), "7")] {
            assert_eq!(serde_json::to_string(&settings).expect("it has a number"), number);
            assert_eq!(serde_json::from_str::<SettingsRef>(number).expect("a number"), settings);
        }
        assert!(serde_json::to_string(&SettingsRef::New).is_err());
        assert!(serde_json::from_str::<SettingsRef>("-1").is_err());
    }
}
