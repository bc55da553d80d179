//! Persistence: the only module that knows databases. Queries are functions here, written once for SQLite and
//! PostgreSQL. They block; handlers and tasks run them with [`Store::ask`].

pub mod chunks;
mod clock;
mod column_types;
mod connection;
mod database_address;
pub mod decisions;
mod error;
mod health;
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
use self::health::Access;
use self::pool::Pool;
use crate::tasks::{self, Tasks};

/// How long a caller waits for a result. A network that accepts bytes but delivers nothing is detected by this timeout
/// only; the blocked thread keeps waiting, and the pool limits the number of such threads and the duration of their
/// leases.
const QUERY_TIMEOUT: Duration = Duration::from_secs(15);

/// How often a write is tried while the database is failing.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

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

    /// Opens Watchpost's own database next to a running server: nothing is created, migrated or replaced.
    pub fn open_existing(address: DatabaseAddress) -> Result<Self, MigrationError> {
        match Self::inspect(&address)? {
            Inspected::Usable { pending: 0 } => Ok(Self(Arc::new(Pool::new(address)))),
            Inspected::Missing => Err(StoreError::Missing(address.to_string()).into()),
            Inspected::Damaged { reason } => Err(StoreError::Damaged(reason).into()),
            Inspected::Usable { pending } => Err(MigrationError::Pending(pending)),
        }
    }

    /// How long the database has been failing, if it is: reads or writes fail, or it does not respond.
    pub fn failing_for(&self) -> Option<Duration> {
        self.0.health().failing_for()
    }

    /// Starts the task that tries a write while the database is failing, so that [`failing_for`](Self::failing_for) ends
    /// with the failure even if nothing else is written.
    pub fn start_probe(&self, tasks: &Tasks) {
        let store = self.clone();
        tasks.spawn("database probe", move || store.clone().probe());
    }

    async fn probe(self) {
        let mut ticks = tokio::time::interval(PROBE_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.failing_for().is_some() {
                // Its result is noted like that of any other query.
                let _ = self.ask(|store| store.write(Connection::try_writing)).await;
            }
        }
    }

    /// Whether the database is a file of this machine.
    pub fn is_file(&self) -> bool {
        matches!(self.address(), DatabaseAddress::File { .. })
    }

    /// Whether the database is new because a damaged one was renamed, and [`forget_replacement`](Self::forget_replacement)
    /// was not called since.
    pub fn was_replaced(&self) -> bool {
        matches!(self.address(), DatabaseAddress::File { path, .. } if recovery::was_replaced(path))
    }

    /// Called when the replacement of the database has had its effect on the stored rules.
    pub fn forget_replacement(&self) {
        if let DatabaseAddress::File { path, .. } = self.address() {
            recovery::forget_replacement(path);
        }
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
                self.0.health().note_timeout();
                let reason = format!("no response within {timeout:?}");
                Err(StoreError::Unreachable(reason))
            }
        }
    }

    /// Runs a reading query.
    fn read<T>(&self, work: impl FnOnce(&mut Connection) -> QueryResult<T>) -> Result<T, StoreError> {
        let result = self.0.with(|connection| work(connection).map_err(StoreError::from));
        self.noted(Access::Read, result)
    }

    /// Runs a writing query in a transaction.
    fn write<T>(&self, work: impl FnOnce(&mut Connection) -> QueryResult<T>) -> Result<T, StoreError> {
        let result = self.0.acquire_write_lock().and_then(|_guard| {
            self.0
                .with(|connection| connection.transaction(work).map_err(StoreError::from))
        });
        self.noted(Access::Write, result)
    }

    /// Notes the result for [`failing_for`](Self::failing_for). Leaves a marker if the database is damaged, so that the
    /// next start replaces the file.
    fn noted<T>(&self, access: Access, result: Result<T, StoreError>) -> Result<T, StoreError> {
        self.0.health().note(access, &result);
        if let (Err(StoreError::Damaged(reason)), DatabaseAddress::File { path, read_only: false }) =
            (&result, self.address())
        {
            recovery::leave_marker(path, reason);
        }
        result
    }
}
