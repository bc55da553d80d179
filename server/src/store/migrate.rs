//! Migrates the tables to the schema that this program expects. A lock serializes programs that start at once; a
//! database that a newer program has migrated is left unchanged.

use diesel::connection::SimpleConnection;
use diesel::migration::MigrationSource;
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
    let known: Vec<String> = match connection {
        Connection::Sqlite(_) => versions::<diesel::sqlite::Sqlite>(&SQLITE),
        Connection::Postgres(_) => versions::<diesel::pg::Pg>(&POSTGRES),
    }
    .map_err(failed)?;
    if let Some(newer) = applied.into_iter().filter(|version| !known.contains(version)).max() {
        return Err(MigrationError::Newer(newer));
    }
    let done = match connection {
        Connection::Sqlite(sqlite) => sqlite.run_pending_migrations(SQLITE).map_err(failed)?.len(),
        Connection::Postgres(postgres) => postgres.run_pending_migrations(POSTGRES).map_err(failed)?.len(),
    };
    Ok(done)
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
