//! What is remembered: the only place that knows of databases. Queries are functions here, written once for SQLite
//! and PostgreSQL. They block; handlers and tasks ask by [`Store::ask`].

pub mod chunks;
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

/// How long somebody waits for an answer. A wire that takes bytes and passes nothing on is noticed by nobody else; the
/// thread that asked goes on waiting, and the pool bounds how many do and for how long they count.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(15);

/// A database. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Pool>);

impl Store {
    /// Our own database: reached now, and its tables brought up to date. A file that is damaged is kept aside.
    pub fn open(place: DatabaseAddress, now_ms: u64) -> Result<Self, MigrationError> {
        let mut _turn = None;
        if let DatabaseAddress::File { path, .. } = &place {
            _turn = Some(recovery::take_turn(path)?);
            recovery::make_way(path, now_ms)?;
        }
        let store = Self(Arc::new(Pool::new(place)));
        let mut connection = Connection::establish(store.0.place()).map_err(StoreError::from)?;
        let steps = migrate::up(&mut connection)?;
        if steps > 0 {
            log::info!(steps, database:% = store.place(); "the tables are brought up to date");
        }
        Ok(store)
    }

    /// Somebody else's database, which may not be there yet.
    pub fn of_others(place: DatabaseAddress) -> Self {
        Self(Arc::new(Pool::new(place)))
    }

    /// Where it is, without its password.
    pub fn place(&self) -> &DatabaseAddress {
        self.0.place()
    }

    /// Asks without blocking the one who waits. A panic in the question becomes an error, and so does silence.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask_within(STARTUP_TIMEOUT, question).await
    }

    /// The same, for those who wait longer or shorter. Whoever asks again after silence has another connection.
    pub async fn ask_within<T: Send + 'static>(
        &self,
        patience: Duration,
        question: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        let asked = tasks::block(move || question(&store));
        match tokio::time::timeout(patience, asked).await {
            Ok(answered) => answered.unwrap_or_else(|panic| Err(StoreError::Failed(panic))),
            Err(_) => {
                self.0.forget_idle();
                let why = format!("it did not answer within {patience:?}");
                Err(StoreError::Unreachable(why))
            }
        }
    }

    /// Reads.
    fn read<T>(&self, work: impl FnOnce(&mut Connection) -> QueryResult<T>) -> Result<T, StoreError> {
        self.tell(self.0.with(|connection| work(connection).map_err(StoreError::from)))
    }

    /// Writes: all of it or nothing.
    fn write<T>(&self, work: impl FnOnce(&mut Connection) -> QueryResult<T>) -> Result<T, StoreError> {
        let _turn = self.0.write_in_turn()?;
        self.tell(
            self.0
                .with(|connection| connection.transaction(work).map_err(StoreError::from)),
        )
    }

    /// Damage is remembered, so that the next start keeps the file aside.
    fn tell<T>(&self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        if let (Err(StoreError::Damaged(why)), DatabaseAddress::File { path, read_only: false }) =
            (&outcome, self.place())
        {
            recovery::mark(path, why);
        }
        outcome
    }
}
