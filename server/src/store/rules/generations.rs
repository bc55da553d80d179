//! Generations: one immutable row for each change of the active rules, in one order for all programs that share the
//! database.

use diesel::connection::SimpleConnection;
use diesel::{
    ExpressionMethods, OptionalExtension, QueryDsl, QueryResult, Queryable, RunQueryDsl, Selectable, SelectableHelper,
    insert_into,
};
use watchpost_policies::Digest;

use super::Entry;
use super::log::{self, AuditEntry};
use super::settings::{self, NewSettings};
use crate::store::column_types::{ColumnValue, UnknownValue};
use crate::store::connection::{Connection, on};
use crate::store::schema::{rule_generations as columns, rule_versions};
use crate::store::{Store, StoreError};

/// The notification channel for new generations and versions, on databases that support notifications.
pub(in crate::store) const CHANNEL: &str = "watchpost_rules";

/// The notification of a new version. The notification of a new generation is its number.
pub(in crate::store) const VERSION: &str = "version";

/// An arbitrary key for PostgreSQL's advisory locks that no other program uses: the last letters of "watchpost".
const ADVISORY_LOCK_KEY: i64 = 0x6870_6f73_7400;

/// All rules in use from one change to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// The generation's number, starting at one.
    pub number: i64,
    /// When it was created, in milliseconds since 1970 (UTC).
    pub created_ms: i64,
    pub entries: Vec<Entry>,
}

/// The result of creating a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GenerationResult {
    /// The new generation is the latest.
    Done(Generation),
    /// Another generation was created before; it is the latest.
    Superseded(Generation),
    /// This version was deleted in the meantime.
    VersionMissing(Digest),
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = columns)]
struct Row {
    generation: i64,
    created_ms: i64,
    entries: String,
}

impl Store {
    /// The latest generation.
    pub fn latest_generation(&self) -> Result<Option<Generation>, StoreError> {
        self.read(last)
    }

    /// The number of the latest generation; cheap enough to be queried every second.
    pub fn latest_generation_number(&self) -> Result<Option<i64>, StoreError> {
        self.read(|connection| {
            on!(connection, connection => columns::table
                .select(columns::generation)
                .order(columns::generation.desc())
                .first(connection)
                .optional())
        })
    }

    /// The generations before this one, the latest first. An unreadable generation ends the list, and is an error for a
    /// query that starts at it: skipping it would roll back to older rules than the caller meant.
    pub fn generations_before(&self, number: i64, limit: i64) -> Result<Vec<Generation>, StoreError> {
        self.read(|connection| {
            let rows: Vec<Row> = on!(connection, connection => columns::table
                .filter(columns::generation.lt(number))
                .select(Row::as_select())
                .order(columns::generation.desc())
                .limit(limit)
                .load(connection))?;
            let mut generations = Vec::with_capacity(rows.len());
            for row in rows {
                match row.read() {
                    Ok(generation) => generations.push(generation),
                    Err(error) if generations.is_empty() => return Err(error),
                    Err(_) => break,
                }
            }
            Ok(generations)
        })
    }

    /// Creates the generation after `last` and writes the audit entries, unless another generation was created before.
    /// New settings are stored with it.
    pub fn make_generation(
        &self,
        last: i64,
        entries: &[Entry],
        audit: &[AuditEntry],
        fresh: Option<&NewSettings>,
        now_ms: i64,
    ) -> Result<GenerationResult, StoreError> {
        let number = last + 1;
        self.write(|connection| {
            lock(connection)?;
            if let Some(latest) = self::last(connection)?.filter(|latest| latest.number != last) {
                return Ok(GenerationResult::Superseded(latest));
            }
            if let Some(missing) = missing(connection, entries)? {
                return Ok(GenerationResult::VersionMissing(missing));
            }
            let fresh = fresh
                .map(|fresh| settings::insert(connection, fresh, now_ms))
                .transpose()?;
            let mut entries = entries.to_vec();
            for entry in &mut entries {
                entry.settings = entry.settings.with_new(fresh);
            }
            let written = serde_json::to_string(&entries)
                .map_err(|error| diesel::result::Error::SerializationError(error.into()))?;
            on!(connection, connection => insert_into(columns::table)
                .values((
                    columns::generation.eq(number),
                    columns::created_ms.eq(now_ms),
                    columns::entries.eq(&written),
                ))
                .execute(connection))?;
            for entry in audit {
                let entry = AuditEntry {
                    generation: Some(number),
                    settings_id: entry.settings_id.map(|settings| settings.with_new(fresh)),
                    ..entry.clone()
                };
                log::write(connection, &entry)?;
            }
            notify(connection, &number.to_string())?;
            Ok(GenerationResult::Done(Generation {
                number,
                created_ms: now_ms,
                entries,
            }))
        })
    }
}

/// Notifies the listeners of other programs when the transaction is committed.
pub(super) fn notify(connection: &mut Connection, payload: &str) -> QueryResult<()> {
    match connection {
        Connection::Postgres(postgres) => postgres.batch_execute(&format!("NOTIFY {CHANNEL}, '{payload}'")),
        Connection::Sqlite(_) => Ok(()),
    }
}

/// Serializes changes of the active rules until the end of the transaction. SQLite allows one writer at a time anyway.
pub(super) fn lock(connection: &mut Connection) -> QueryResult<()> {
    match connection {
        Connection::Postgres(postgres) => {
            postgres.batch_execute(&format!("SELECT pg_advisory_xact_lock({ADVISORY_LOCK_KEY})"))
        }
        Connection::Sqlite(_) => Ok(()),
    }
}

pub(super) fn last(connection: &mut Connection) -> QueryResult<Option<Generation>> {
    let row: Option<Row> = on!(connection, connection => columns::table
        .select(Row::as_select())
        .order(columns::generation.desc())
        .first(connection)
        .optional())?;
    // An unreadable row is an error: treating it as missing would deactivate all rules.
    row.map(Row::read).transpose()
}

/// The generations with these numbers, as far as they exist.
pub(super) fn by_numbers(connection: &mut Connection, numbers: &[i64]) -> QueryResult<Vec<Generation>> {
    let rows: Vec<Row> = on!(connection, connection => columns::table
        .filter(columns::generation.eq_any(numbers))
        .select(Row::as_select())
        .load(connection))?;
    rows.into_iter().map(Row::read).collect()
}

/// A version in these entries that is not stored.
fn missing(connection: &mut Connection, entries: &[Entry]) -> QueryResult<Option<Digest>> {
    let used: Vec<Digest> = entries.iter().filter_map(|entry| entry.digest).collect();
    let stored: Vec<Digest> = on!(connection, connection => rule_versions::table
        .filter(rule_versions::digest.eq_any(used.iter().copied().map(ColumnValue)))
        .select(rule_versions::digest)
        .load(connection))?;
    Ok(used.into_iter().find(|digest| !stored.contains(digest)))
}

impl Row {
    fn read(self) -> QueryResult<Generation> {
        let entries = serde_json::from_str(&self.entries).map_err(|error| {
            let unknown = UnknownValue::json("rule_generations.entries", &self.entries, &error);
            let reason = format!("generation {}: {unknown}", self.generation);
            diesel::result::Error::DeserializationError(reason.into())
        })?;
        Ok(Generation {
            number: self.generation,
            created_ms: self.created_ms,
            entries,
        })
    }
}
