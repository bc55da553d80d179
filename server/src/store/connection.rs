//! One connection, to SQLite or to PostgreSQL. What differs between the two is here; the queries are written once.

use std::path::Path;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::{Connection as _, ConnectionResult, PgConnection, QueryResult, SqliteConnection};

use super::database_address::DatabaseAddress;

/// How long SQLite waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long PostgreSQL may take for one statement. Nothing we ask takes longer, unless something is wrong.
const STATEMENT: Duration = Duration::from_secs(30);

/// One connection.
pub(super) enum Connection {
    /// To a file.
    Sqlite(SqliteConnection),
    /// To a server.
    Postgres(PgConnection),
}

/// Runs the same code on whichever connection it is; it is compiled for both.
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
    /// Connects. A file that is missing is made, unless it is only to be read.
    pub(super) fn establish(place: &DatabaseAddress) -> ConnectionResult<Self> {
        match place {
            DatabaseAddress::File { path, read_only } => sqlite(path, *read_only).map(Self::Sqlite),
            DatabaseAddress::Server { url, read_only } => postgres(url.expose(), *read_only).map(Self::Postgres),
        }
    }

    /// Several statements without parameters.
    pub(super) fn run(&mut self, sql: &str) -> QueryResult<()> {
        on!(self, connection => connection.batch_execute(sql))
    }

    /// All of the work or nothing of it. SQLite locks the file at once: it could not later, if another had begun to
    /// write meanwhile.
    pub(super) fn transaction<T>(&mut self, work: impl FnOnce(&mut Self) -> QueryResult<T>) -> QueryResult<T> {
        self.run(match self {
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            Self::Postgres(_) => "BEGIN",
        })?;
        let outcome = work(self);
        match outcome {
            Ok(value) => {
                let done = self.run("COMMIT");
                if done.is_err() {
                    let _ = self.run("ROLLBACK");
                }
                done.map(|()| value)
            }
            Err(error) => {
                // A connection that is lost has forgotten the transaction already.
                let _ = self.run("ROLLBACK");
                Err(error)
            }
        }
    }

    /// The milliseconds since 1970 of a column that holds a time, as SQL.
    pub(super) fn milliseconds(&self, column: &str) -> String {
        match self {
            Self::Sqlite(_) => format!("CAST(ROUND(unixepoch({column}, 'subsec') * 1000) AS BIGINT)"),
            Self::Postgres(_) => format!("CAST(EXTRACT(EPOCH FROM {column}) * 1000 AS BIGINT)"),
        }
    }

    /// The present moment, as SQL for a column that holds a time.
    pub(super) fn now(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "strftime('%Y-%m-%d %H:%M:%f', 'now')",
            Self::Postgres(_) => "now()",
        }
    }

    /// A parameter that is text, as SQL for a column that holds JSON.
    pub(super) fn to_json(&self, parameter: &str) -> String {
        match self {
            Self::Sqlite(_) => parameter.to_owned(),
            Self::Postgres(_) => format!("CAST({parameter} AS JSONB)"),
        }
    }
}

fn sqlite(path: &Path, read_only: bool) -> ConnectionResult<SqliteConnection> {
    let path = path.display().to_string();
    let mut connection = match read_only {
        // As a name, since a plain path would be made when it is missing.
        true => SqliteConnection::establish(&format!("file:{}?mode=ro", escaped(&path)))?,
        false => SqliteConnection::establish(&path)?,
    };
    let wait = format!("PRAGMA busy_timeout = {};", BUSY_TIMEOUT.as_millis());
    let lasting = match read_only {
        true => "PRAGMA query_only = ON;",
        // What was acknowledged outlives the process with NORMAL, but not a power cut; FULL outlives both.
        false => {
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
             PRAGMA wal_autocheckpoint = 1000; PRAGMA journal_size_limit = 16777216;"
        }
    };
    let prepared = connection.batch_execute(&format!("{wait}{lasting}"));
    prepared.map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}

/// What has a meaning of its own in a name that begins with `file:`.
fn escaped(path: &str) -> String {
    path.replace('%', "%25").replace('?', "%3f").replace('#', "%23")
}

fn postgres(url: &str, read_only: bool) -> ConnectionResult<PgConnection> {
    let mut connection = PgConnection::establish(url)?;
    let limits = format!(
        "SET statement_timeout = {}; SET idle_in_transaction_session_timeout = {0};
         SET application_name = 'watchpost'; SET default_transaction_read_only = {};",
        STATEMENT.as_millis(),
        if read_only { "on" } else { "off" },
    );
    let prepared = connection.batch_execute(&limits);
    prepared.map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}
