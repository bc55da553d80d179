//! The stored settings of rules. They are immutable, so a generation that refers to them can be restored.

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

/// The settings of a generation's entry. In the database and for clients it is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub enum SettingsRef {
    /// The configuration's settings, before they are stored; clients see 0.
    Configured,
    /// The new settings of the current change, which get their number together with its generation. They cannot be
    /// encoded before.
    New,
    /// Stored settings, by their positive number.
    Stored(i64),
}

/// These settings are not stored, so they have no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these settings have no number")]
pub struct UnstoredSettings;

/// Stored settings of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Serialize)]
#[diesel(table_name = columns)]
pub struct StoredSettings {
    /// The number by which a generation refers to them.
    pub id: i64,
    /// The rule's name.
    #[serde(skip)]
    pub name: String,
    /// The settings, as JSON.
    #[serde(skip)]
    pub settings: String,
    /// When they were stored first, in milliseconds since 1970 (UTC).
    pub updated_ms: i64,
    /// The actor who set them.
    pub updated_by: String,
}

/// Settings that are not stored yet. They are stored together with the first generation that uses them, because the
/// change may still fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSettings {
    /// The rule's name.
    pub name: String,
    /// The settings, as JSON.
    pub settings: String,
    /// The actor who sets them.
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

    /// The same reference, with new settings replaced by their number.
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
    /// Stores settings and returns their number. Equal settings are stored once, except that the configuration's
    /// settings are separate: whether a change of the configuration applies depends on who set them.
    pub fn store_rule_settings(
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
        self.write(|connection| insert(connection, &fresh, now_ms))
    }

    /// The number of these settings, if they are stored already.
    pub fn number_of_rule_settings(&self, fresh: &NewSettings) -> Result<Option<i64>, StoreError> {
        self.read(|connection| number_of(connection, fresh).optional())
    }

    /// Settings by their numbers, as far as they exist.
    pub fn rule_settings_by_ids(&self, ids: &[i64]) -> Result<Vec<StoredSettings>, StoreError> {
        self.read(|connection| {
            on!(connection, connection => columns::table
                .filter(columns::id.eq_any(ids))
                .select(StoredSettings::as_select())
                .load(connection))
        })
    }

    /// Settings by their number.
    pub fn rule_settings(&self, id: i64) -> Result<Option<StoredSettings>, StoreError> {
        self.read(|connection| {
            on!(connection, connection => columns::table
                .find(id)
                .select(StoredSettings::as_select())
                .first(connection)
                .optional())
        })
    }
}

/// Stores settings unless they are stored already, and returns their number.
pub(super) fn insert(connection: &mut Connection, fresh: &NewSettings, now_ms: i64) -> QueryResult<i64> {
    on!(connection, connection => insert_into(columns::table)
        .values((
            columns::name.eq(&fresh.name),
            columns::digest.eq(ColumnValue(digest_of(fresh))),
            columns::settings.eq(&fresh.settings),
            columns::updated_ms.eq(now_ms),
            columns::updated_by.eq(&fresh.by.name),
        ))
        .on_conflict_do_nothing()
        .execute(connection))?;
    number_of(connection, fresh)
}

fn digest_of(fresh: &NewSettings) -> Digest {
    match fresh.by.name == CONFIGURATION {
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
