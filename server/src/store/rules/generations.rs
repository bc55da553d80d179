//! What was in force when: one row for each change, whole, and in one order for all who share the database.

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

/// On what others are told of a new generation or version, where the database can tell.
pub(in crate::store) const CHANNEL: &str = "watchpost_rules";

/// What is told of a new version. Of a generation its number is told.
pub(in crate::store) const VERSION: &str = "version";

/// Any number that nobody else locks: the last letters of our name.
const ADVISORY_LOCK_KEY: i64 = 0x6870_6f73_7400;

/// All rules that take part, from one moment to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Its number; they are counted from one.
    pub number: i64,
    /// Since when, in milliseconds since 1970 (UTC).
    pub created_ms: i64,
    /// The rules.
    pub entries: Vec<Entry>,
}

/// What came of making a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GenerationResult {
    /// It is the latest now.
    Done(Generation),
    /// Somebody else made one before; this is the latest.
    Pending(Generation),
    /// Somebody let this version go meanwhile.
    Gone(Digest),
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

    /// The number of the latest; cheap enough to be asked every second.
    pub fn latest_generation_number(&self) -> Result<Option<i64>, StoreError> {
        self.read(|connection| {
            on!(connection, connection => columns::table
                .select(columns::generation)
                .order(columns::generation.desc())
                .first(connection)
                .optional())
        })
    }

    /// Generations before this one, the latest first. One that cannot be read ends them, and is an error for whoever
    /// asks on from there: passing over it would bring back rules that are older than those that were meant.
    pub fn generations_before(&self, number: i64, most: i64) -> Result<Vec<Generation>, StoreError> {
        self.read(|connection| {
            let rows: Vec<Row> = on!(connection, connection => columns::table
                .filter(columns::generation.lt(number))
                .select(Row::as_select())
                .order(columns::generation.desc())
                .limit(most)
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

    /// Makes the generation after `last`, and tells the log why; or tells that somebody else did. Fresh settings are kept
    /// with it.
    pub fn make_generation(
        &self,
        last: i64,
        entries: &[Entry],
        told: &[AuditEntry],
        fresh: Option<&NewSettings>,
        now_ms: i64,
    ) -> Result<GenerationResult, StoreError> {
        let number = last + 1;
        self.write(|connection| {
            turn(connection)?;
            if let Some(latest) = self::last(connection)?.filter(|latest| latest.number != last) {
                return Ok(GenerationResult::Pending(latest));
            }
            if let Some(gone) = gone(connection, entries)? {
                return Ok(GenerationResult::Gone(gone));
            }
            let fresh = fresh
                .map(|fresh| settings::keep(connection, fresh, now_ms))
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
            for told in told {
                let told = AuditEntry {
                    generation: Some(number),
                    settings_id: told.settings_id.map(|settings| settings.with_new(fresh)),
                    ..told.clone()
                };
                log::write(connection, &told)?;
            }
            tell_others(connection, &number.to_string())?;
            Ok(GenerationResult::Done(Generation {
                number,
                created_ms: now_ms,
                entries,
            }))
        })
    }
}

/// Tells those who listen that there is something new, when the transaction is done.
pub(super) fn tell_others(connection: &mut Connection, what: &str) -> QueryResult<()> {
    match connection {
        Connection::Postgres(postgres) => postgres.batch_execute(&format!("NOTIFY {CHANNEL}, '{what}'")),
        Connection::Sqlite(_) => Ok(()),
    }
}

/// Lets those who change what is in force do it one after the other; until the end of the transaction. In SQLite
/// whoever writes is alone anyway.
pub(super) fn turn(connection: &mut Connection) -> QueryResult<()> {
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
    // Going on as if there was none would put the rules out of force.
    row.map(Row::read).transpose()
}

/// Those of these numbers that there are.
pub(super) fn these(connection: &mut Connection, numbers: &[i64]) -> QueryResult<Vec<Generation>> {
    let rows: Vec<Row> = on!(connection, connection => columns::table
        .filter(columns::generation.eq_any(numbers))
        .select(Row::as_select())
        .load(connection))?;
    rows.into_iter().map(Row::read).collect()
}

/// A version of these that is not kept.
fn gone(connection: &mut Connection, entries: &[Entry]) -> QueryResult<Option<Digest>> {
    let named: Vec<Digest> = entries.iter().filter_map(|entry| entry.digest).collect();
    let kept: Vec<Digest> = on!(connection, connection => rule_versions::table
        .filter(rule_versions::digest.eq_any(named.iter().copied().map(ColumnValue)))
        .select(rule_versions::digest)
        .load(connection))?;
    Ok(named.into_iter().find(|digest| !kept.contains(digest)))
}

impl Row {
    fn read(self) -> QueryResult<Generation> {
        let entries = serde_json::from_str(&self.entries).map_err(|error| {
            let unknown = UnknownValue::json("rule_generations.entries", &self.entries, &error);
            let why = format!("generation {}: {unknown}", self.generation);
            diesel::result::Error::DeserializationError(why.into())
        })?;
        Ok(Generation {
            number: self.generation,
            created_ms: self.created_ms,
            entries,
        })
    }
}
