//! Migrates the tables to the schema that this program expects. A lock serializes programs that start at once; a
//! database that a newer program has migrated is left unchanged.

use diesel::connection::SimpleConnection;
use diesel::migration::MigrationSource;
use diesel::sql_types::{Nullable, Text};
use diesel::{RunQueryDsl, sql_query};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::connection::{Connection, on};
use super::error::StoreError;

const SQLITE: EmbeddedMigrations = embed_migrations!("../migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("../migrations/postgres");

/// An arbitrary key for PostgreSQL's advisory locks that no other program uses: the first letters of "watchpost".
const ADVISORY_LOCK_KEY: i64 = 0x7761_7463_6870;

/// Why the tables could not be migrated.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A newer program has migrated the database.
    #[error(
        "the database was changed by a newer Watchpost (migration {0}); run that one, or restore a copy from before"
    )]
    Newer(String),
    /// Only a server migrates its database.
    #[error("the tables are those of an older Watchpost ({0} migrations are pending); start the server first")]
    Pending(usize),
    /// A migration failed.
    #[error("the tables cannot be migrated: {0}")]
    Failed(String),
}

/// Runs the pending migrations and returns their number.
pub(super) fn up(connection: &mut Connection) -> Result<usize, MigrationError> {
    advisory_lock(connection, "pg_advisory_lock")?;
    let result = pending(connection);
    // If unlocking fails, the lock ends with the connection.
    let _ = advisory_lock(connection, "pg_advisory_unlock");
    result
}

/// Locks or unlocks a server. For a file, the caller holds a lock file already.
fn advisory_lock(connection: &mut Connection, function: &str) -> Result<(), StoreError> {
    match connection {
        // A migration of millions of rows takes long, and so does waiting for another program's migration.
        Connection::Postgres(postgres) => Ok(postgres.batch_execute(&format!(
            "SET statement_timeout = 0; SELECT {function}({ADVISORY_LOCK_KEY})"
        ))?),
        Connection::Sqlite(_) => Ok(()),
    }
}

fn pending(connection: &mut Connection) -> Result<usize, MigrationError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| MigrationError::Failed(error.to_string());
    let applied: Vec<String> = on!(connection, connection => {
        let applied = connection.applied_migrations().map_err(failed)?;
        applied.iter().map(ToString::to_string).collect()
    });
    missing(connection, applied)?;
    let done = match connection {
        Connection::Sqlite(sqlite) => sqlite.run_pending_migrations(SQLITE).map_err(failed)?.len(),
        Connection::Postgres(postgres) => postgres.run_pending_migrations(POSTGRES).map_err(failed)?.len(),
    };
    Ok(done)
}

/// The number of migrations that are not applied yet, read without changing anything; a database that a newer program
/// has migrated is an error.
pub(super) fn count_pending(connection: &mut Connection) -> Result<usize, MigrationError> {
    let exists = match connection {
        Connection::Sqlite(_) => "SELECT name FROM sqlite_master WHERE name = '__diesel_schema_migrations'",
        Connection::Postgres(_) => "SELECT to_regclass('__diesel_schema_migrations')::text AS name",
    };
    let applied = on!(connection, connection => {
        let found = sql_query(exists).load::<TableName>(connection).map_err(StoreError::from)?;
        if found.iter().any(|table| table.name.is_some()) {
            let applied = sql_query("SELECT version FROM __diesel_schema_migrations");
            let applied = applied.load::<Applied>(connection).map_err(StoreError::from)?;
            applied.into_iter().map(|applied| applied.version).collect()
        } else {
            Vec::new()
        }
    });
    missing(connection, applied)
}

#[derive(diesel::QueryableByName)]
struct TableName {
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
}

#[derive(diesel::QueryableByName)]
struct Applied {
    #[diesel(sql_type = Text)]
    version: String,
}

/// The number of known migrations that are not applied; an unknown applied one is an error.
fn missing(connection: &Connection, applied: Vec<String>) -> Result<usize, MigrationError> {
    let known: Vec<String> = match connection {
        Connection::Sqlite(_) => versions::<diesel::sqlite::Sqlite>(&SQLITE),
        Connection::Postgres(_) => versions::<diesel::pg::Pg>(&POSTGRES),
    }
    .map_err(|error| MigrationError::Failed(error.to_string()))?;
    let missing = known.iter().filter(|version| !applied.contains(version)).count();
    match applied.into_iter().filter(|version| !known.contains(version)).max() {
        Some(newer) => Err(MigrationError::Newer(newer)),
        None => Ok(missing),
    }
}

fn versions<DB: diesel::backend::Backend>(
    migrations: &EmbeddedMigrations,
) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>>
where
    EmbeddedMigrations: MigrationSource<DB>,
{
    let all = MigrationSource::<DB>::migrations(migrations)?;
    Ok(all
        .iter()
        .map(|migration| migration.name().version().to_string())
        .collect())
}
