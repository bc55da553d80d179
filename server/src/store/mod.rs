//! Persistence: the only module that knows databases. Queries are functions here, written once for SQLite and
//! PostgreSQL. They block; handlers and tasks run them with [`Store::ask`].

pub mod chunks;
mod clock;
mod column_types;
mod connection;
mod database_address;
pub mod decisions;
mod error;
pub mod history;
mod leases;
mod migrate;
mod pool;
mod recovery;
pub mod rules;
mod schema;
mod write_lock;

use std::sync::Arc;
use std::time::Duration;

use diesel::QueryResult;

pub use self::database_address::{DatabaseAddress, InvalidDatabaseAddress};
pub use self::error::StoreError;
pub use self::migrate::MigrationError;

use self::connection::Connection;
use self::pool::Pool;
use crate::tasks;

/// How long a caller waits for a result. A network that accepts bytes but delivers nothing is detected by this timeout
/// only; the blocked thread keeps waiting, and the pool limits the number of such threads and the duration of their
/// leases.
const QUERY_TIMEOUT: Duration = Duration::from_secs(15);

/// What a start would do with a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspected {
    /// It creates the file.
    Missing,
    /// The schema is the expected one, or is migrated by this number of steps.
    Usable {
        /// The number of pending migrations.
        pending: usize,
    },
    /// It renames the damaged file and creates a new one.
    Damaged {
        /// SQLite's description of the damage.
        reason: String,
    },
}

/// A database. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Pool>);

impl Store {
    /// Opens Watchpost's own database: connects and runs pending migrations. A damaged file is renamed first.
    pub fn open(address: DatabaseAddress, now_ms: u64) -> Result<Self, MigrationError> {
        let mut _lock = None;
        if let DatabaseAddress::File { path, .. } = &address {
            recovery::check_folder(path)?;
            _lock = Some(recovery::lock_for_startup(path)?);
            recovery::replace_damaged(path, now_ms)?;
        }
        let store = Self(Arc::new(Pool::new(address)));
        let mut connection = Connection::establish(store.0.address()).map_err(StoreError::from)?;
        let steps = migrate::up(&mut connection)?;
        if steps > 0 {
            log::info!(steps, database:% = store.address(); "migrated the database");
        }
        Ok(store)
    }

    /// Connects like [`open`](Self::open), and reads which migrations are applied. Nothing is changed.
    pub fn inspect(address: &DatabaseAddress) -> Result<Inspected, MigrationError> {
        let read_only = match address {
            DatabaseAddress::File { path, .. } => {
                if !path.exists() {
                    recovery::check_folder(path)?;
                    return Ok(Inspected::Missing);
                }
                if let Some(reason) = recovery::damage(path)? {
                    return Ok(Inspected::Damaged { reason });
                }
                recovery::check_writable(path)?;
                DatabaseAddress::File {
                    path: path.clone(),
                    read_only: true,
                }
            }
            DatabaseAddress::Server { url, .. } => DatabaseAddress::Server {
                url: url.clone(),
                read_only: true,
            },
        };
        let mut connection = Connection::establish(&read_only).map_err(StoreError::from)?;
        let pending = migrate::count_pending(&mut connection)?;
        Ok(Inspected::Usable { pending })
    }

    /// Connects to a database that another program owns.
    pub fn inspect_external(address: &DatabaseAddress) -> Result<(), StoreError> {
        Connection::establish(address).map(drop).map_err(StoreError::from)
    }

    /// A database that another program owns. It may not exist yet.
    pub fn open_external(address: DatabaseAddress) -> Self {
        Self(Arc::new(Pool::new(address)))
    }

    /// The address; it prints without its password.
    pub fn address(&self) -> &DatabaseAddress {
        self.0.address()
    }

    /// Runs a query without blocking the caller's thread. A panic in the query becomes an error, and so does a timeout.
    pub async fn ask<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask_within(QUERY_TIMEOUT, query).await
    }

    /// Like [`ask`](Self::ask), with another timeout. After a timeout, the next query gets a new connection.
    pub async fn ask_within<T: Send + 'static>(
        &self,
        timeout: Duration,
        query: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        let result = tasks::block(move || query(&store));
        match tokio::time::timeout(timeout, result).await {
            Ok(result) => result.unwrap_or_else(|panic| Err(StoreError::Failed(panic))),
            Err(_) => {
                self.0.forget_idle();
                let reason = format!("no response within {timeout:?}");
                Err(StoreError::Unreachable(reason))
            }
        }
    }

    /// Runs a reading query.
    fn read<T>(&self, work: impl FnOnce(&mut Connection) -> QueryResult<T>) -> Result<T, StoreError> {
        self.note_damage(self.0.with(|connection| work(connection).map_err(StoreError::from)))
    }

    /// Runs a writing query in a transaction.
    fn write<T>(&self, work: impl FnOnce(&mut Connection) -> QueryResult<T>) -> Result<T, StoreError> {
        let _guard = self.0.acquire_write_lock()?;
        self.note_damage(
            self.0
                .with(|connection| connection.transaction(work).map_err(StoreError::from)),
        )
    }

    /// Leaves a marker if the database is damaged, so that the next start replaces the file.
    fn note_damage<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let (Err(StoreError::Damaged(reason)), DatabaseAddress::File { path, read_only: false }) =
            (&result, self.address())
        {
            recovery::leave_marker(path, reason);
        }
        result
    }
}
