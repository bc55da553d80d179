//! A connection to SQLite or to PostgreSQL. The differences between the two are here, so that queries are written once.

use std::path::Path;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::{Connection as _, ConnectionResult, PgConnection, QueryResult, SqliteConnection};

use super::database_address::DatabaseAddress;
use super::recovery;

/// How long SQLite waits for a lock that another process holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// PostgreSQL's statement timeout. No statement of Watchpost takes longer in normal operation.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection to a database.
pub(super) enum Connection {
    /// To a database file.
    Sqlite(SqliteConnection),
    /// To a database server.
    Postgres(PgConnection),
}

/// Runs the same code on either kind of connection; it is compiled for both.
macro_rules! on {
    ($connection:expr, $name:ident => $work:expr) => {
        match $connection {
            $crate::store::connection::Connection::Sqlite($name) => $work,
            $crate::store::connection::Connection::Postgres($name) => $work,
        }
    };
}

pub(super) use on;

impl Connection {
    /// Connects. A missing file is created, unless it is opened read-only.
    pub(super) fn establish(address: &DatabaseAddress) -> ConnectionResult<Self> {
        match address {
            DatabaseAddress::File { path, read_only } => sqlite(path, *read_only).map(Self::Sqlite),
            DatabaseAddress::Server { url, read_only } => postgres(url.expose(), *read_only).map(Self::Postgres),
        }
    }

    /// Executes several statements without parameters.
    pub(super) fn run(&mut self, sql: &str) -> QueryResult<()> {
        on!(self, connection => connection.batch_execute(sql))
    }

    /// Runs `work` in a transaction. SQLite locks the file at the start, because it could not upgrade to a write lock
    /// later if another process had begun to write.
    pub(super) fn transaction<T>(&mut self, work: impl FnOnce(&mut Self) -> QueryResult<T>) -> QueryResult<T> {
        self.run(match self {
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            Self::Postgres(_) => "BEGIN",
        })?;
        let result = work(self);
        match result {
            Ok(value) => {
                let committed = self.run("COMMIT");
                if committed.is_err() {
                    let _ = self.run("ROLLBACK");
                }
                committed.map(|()| value)
            }
            Err(error) => {
                // A lost connection has discarded the transaction already.
                let _ = self.run("ROLLBACK");
                Err(error)
            }
        }
    }

    /// Writes something that changes nothing, within a transaction.
    pub(super) fn try_writing(&mut self) -> QueryResult<()> {
        self.run(match self {
            // A page of the file is written, so this fails on a full disk too. Watchpost does not use the number.
            Self::Sqlite(_) => "PRAGMA user_version = 0",
            // A transaction with an id writes its end; a standby refuses to give one.
            Self::Postgres(_) => "SELECT txid_current()",
        })
    }

    /// SQL for the milliseconds since 1970 of a column that holds a time.
    pub(super) fn milliseconds(&self, column: &str) -> String {
        match self {
            Self::Sqlite(_) => format!("CAST(ROUND(unixepoch({column}, 'subsec') * 1000) AS BIGINT)"),
            Self::Postgres(_) => format!("CAST(EXTRACT(EPOCH FROM {column}) * 1000 AS BIGINT)"),
        }
    }

    /// SQL for the current time, for a column that holds a time.
    pub(super) fn now(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "strftime('%Y-%m-%d %H:%M:%f', 'now')",
            Self::Postgres(_) => "now()",
        }
    }

    /// SQL that converts a text parameter for a column that holds JSON.
    pub(super) fn to_json(&self, parameter: &str) -> String {
        match self {
            Self::Sqlite(_) => parameter.to_owned(),
            Self::Postgres(_) => format!("CAST({parameter} AS JSONB)"),
        }
    }
}

fn sqlite(path: &Path, read_only: bool) -> ConnectionResult<SqliteConnection> {
    if !read_only {
        recovery::create_private(path);
    }
    let path = path.display().to_string();
    let mut connection = match read_only {
        // As a URI, because SQLite creates a missing file for a plain path.
        true => SqliteConnection::establish(&format!("file:{}?mode=ro", escaped(&path)))?,
        false => SqliteConnection::establish(&path)?,
    };
    let timeout = format!("PRAGMA busy_timeout = {};", BUSY_TIMEOUT.as_millis());
    let pragmas = match read_only {
        true => "PRAGMA query_only = ON;",
        // With NORMAL, acknowledged writes survive a crash of the process but not a power cut; FULL survives both.
        false => {
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
             PRAGMA wal_autocheckpoint = 1000; PRAGMA journal_size_limit = 16777216;"
        }
    };
    let prepared = connection.batch_execute(&format!("{timeout}{pragmas}"));
    prepared.map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}

/// Escapes the characters that have a meaning in a `file:` URI.
fn escaped(path: &str) -> String {
    path.replace('%', "%25").replace('?', "%3f").replace('#', "%23")
}

fn postgres(url: &str, read_only: bool) -> ConnectionResult<PgConnection> {
    let mut connection = PgConnection::establish(url)?;
    let limits = format!(
        "SET statement_timeout = {}; SET idle_in_transaction_session_timeout = {0};
         SET application_name = 'watchpost'; SET default_transaction_read_only = {};",
        STATEMENT_TIMEOUT.as_millis(),
        if read_only { "on" } else { "off" },
    );
    let prepared = connection.batch_execute(&limits);
    prepared.map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}
