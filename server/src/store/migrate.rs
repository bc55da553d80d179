//! Brings the tables up to what this program expects. Several that start at once take turns; a database that a newer
//! program has changed is left alone.

use diesel::connection::SimpleConnection;
use diesel::migration::MigrationSource;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::connection::{Connection, on};
use super::error::StoreError;

const SQLITE: EmbeddedMigrations = embed_migrations!("../migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("../migrations/postgres");

/// Any number that nobody else locks: the first letters of our name.
const ADVISORY_LOCK_KEY: i64 = 0x7761_7463_6870;

/// Why the tables are not what they have to be.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody newer was here.
    #[error(
        "the database was changed by a newer Watchpost (migration {0}); run that one, or restore a copy from before"
    )]
    Newer(String),
    /// A migration failed.
    #[error("the tables cannot be brought up to date: {0}")]
    Failed(String),
}

/// Makes the tables what they have to be, and tells how many steps that took.
pub(super) fn up(connection: &mut Connection) -> Result<usize, MigrationError> {
    turn(connection, "pg_advisory_lock")?;
    let outcome = pending(connection);
    // Who cannot give it back loses it with the connection.
    let _ = turn(connection, "pg_advisory_unlock");
    outcome
}

/// For a server; whoever opens a file has locked that before.
fn turn(connection: &mut Connection, lock: &str) -> Result<(), StoreError> {
    match connection {
        // A table of millions takes its time, and so does somebody else's turn.
        Connection::Postgres(postgres) => Ok(postgres.batch_execute(&format!(
            "SET statement_timeout = 0; SELECT {lock}({ADVISORY_LOCK_KEY})"
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
