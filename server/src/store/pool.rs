//! A connection pool. A failed connection is never reused, so the next query connects again; a connection that does not
//! respond for too long is written off and replaced by a new one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::connection::Connection;
use super::database_address::DatabaseAddress;
use super::error::StoreError;
use super::health::Health;
use super::leases::{Leases, MAX_LEASE};
use super::write_lock::{WriteGuard, WriteLock};

/// More connections would only wait for each other in SQLite, and PostgreSQL allows a hundred in total by default.
const MAX_CONNECTIONS: usize = 6;

/// How long a query waits for a connection. The caller's own timeout is longer, so that it gets the reason.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// All connections to one database.
pub(super) struct Pool {
    address: DatabaseAddress,
    acquire_timeout: Duration,
    state: Mutex<State>,
    freed: Condvar,
    /// SQLite allows one writer at a time; this lock serves waiting writers in turn.
    writing: WriteLock,
    health: Health,
}

struct State {
    idle: VecDeque<Connection>,
    leases: Leases,
}

impl Pool {
    pub(super) fn new(address: DatabaseAddress) -> Self {
        Self::with_timeouts(address, ACQUIRE_TIMEOUT, MAX_LEASE)
    }

    /// A pool with other timeouts: for acquiring a connection, and for a lease.
    fn with_timeouts(address: DatabaseAddress, acquire_timeout: Duration, max_lease: Duration) -> Self {
        Self {
            address,
            acquire_timeout,
            state: Mutex::new(State {
                idle: VecDeque::new(),
                leases: Leases::new(max_lease),
            }),
            freed: Condvar::new(),
            writing: WriteLock::default(),
            health: Health::default(),
        }
    }

    pub(super) fn address(&self) -> &DatabaseAddress {
        &self.address
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// Runs `work` with a connection that no other caller uses.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut lease = self.lend()?;
        let result = match lease.connection.as_mut() {
            Some(connection) => work(connection),
            None => Err(StoreError::Failed("a connection was lease twice".to_owned())),
        };
        // If `work` panics, the lease drops its connection.
        let reusable = result.as_ref().err().is_none_or(StoreError::spares_connection);
        if !reusable {
            lease.connection = None;
            self.forget_idle();
        }
        drop(lease);
        result
    }

    /// Closes all idle connections: they are older than the failed one, and may be lost as well.
    pub(super) fn forget_idle(&self) {
        let forgotten = std::mem::take(&mut self.state.lock().idle);
        // Closing may block, so the lock is released first.
        drop(forgotten);
    }

    /// Acquires the right to write, for databases that allow one writer only.
    pub(super) fn acquire_write_lock(&self) -> Result<Option<WriteGuard<'_>>, StoreError> {
        match self.address {
            DatabaseAddress::File { .. } => self
                .writing
                .acquire(self.acquire_timeout)
                .map(Some)
                .ok_or(StoreError::Busy),
            DatabaseAddress::Server { .. } => Ok(None),
        }
    }

    fn lend(&self) -> Result<Lease<'_>, StoreError> {
        let until = Instant::now() + self.acquire_timeout;
        let mut state = self.state.lock();
        loop {
            let now = Instant::now();
            if let Some(connection) = state.idle.pop_front() {
                return Ok(Lease {
                    pool: self,
                    number: state.leases.lend(now),
                    connection: Some(connection),
                });
            }
            if state.leases.count() < MAX_CONNECTIONS {
                let mut lease = Lease {
                    pool: self,
                    number: state.leases.lend(now),
                    connection: None,
                };
                drop(state);
                lease.connection = Some(Connection::establish(&self.address)?);
                return Ok(lease);
            }
            let written_off = state.leases.write_off(now);
            if written_off > 0 {
                drop(state);
                log::warn!(database:% = self.address, connections = written_off; "the database does not respond; opening new connections to replace the hanging ones");
                state = self.state.lock();
                continue;
            }
            let left = until.saturating_duration_since(now);
            if left.is_zero() {
                return Err(StoreError::Busy);
            }
            self.freed.wait_for(&mut state, left);
        }
    }
}

/// A lease of a connection; dropping it returns the connection, or discards it if the lease was written off.
struct Lease<'p> {
    pool: &'p Pool,
    number: u64,
    connection: Option<Connection>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let connection = self.connection.take().filter(|_| !std::thread::panicking());
        let mut state = self.pool.state.lock();
        let is_valid = state.leases.end(self.number);
        let discarded = match connection {
            Some(connection) if is_valid => {
                state.idle.push_front(connection);
                None
            }
            other => other,
        };
        drop(state);
        self.pool.freed.notify_one();
        drop(discarded);
    }
}

#[cfg(test)]
mod tests {
    use super::super::leases::MAX_ABANDONED;
    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    fn file(folder: &tempfile::TempDir) -> DatabaseAddress {
        DatabaseAddress::File {
            path: folder.path().join("watchpost.db"),
            read_only: false,
        }
    }

    fn lend_all(pool: &Pool, count: usize) -> Vec<Lease<'_>> {
        let lend = |_| pool.lend().expect("there is one more");
        (0..count).map(lend).collect()
    }

    #[test]
    fn a_caller_waits_for_a_connection_that_is_returned_in_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let pool = Pool::with_timeouts(file(&folder), SOON, MAX_LEASE);
        let mut lent = lend_all(&pool, MAX_CONNECTIONS);
        assert!(matches!(pool.lend(), Err(StoreError::Busy)));
        lent.pop();
        drop(pool.lend().expect("one came back"));
        drop(lent);
        assert_eq!(pool.state.lock().idle.len(), MAX_CONNECTIONS);
    }

    #[test]
    fn connections_that_hang_for_too_long_are_replaced_and_not_reused() {
        let folder = tempfile::tempdir().expect("a folder");
        let pool = Pool::with_timeouts(file(&folder), SOON, Duration::ZERO);
        let hanging = lend_all(&pool, MAX_CONNECTIONS);
        let others = lend_all(&pool, MAX_CONNECTIONS);
        drop(hanging);
        assert_eq!(
            pool.state.lock().idle.len(),
            0,
            "a connection that was written off is not reused"
        );
        drop(others);
        assert_eq!(pool.state.lock().idle.len(), MAX_CONNECTIONS);
        assert_eq!(pool.state.lock().leases.count(), 0);
    }

    #[test]
    fn a_writer_that_does_not_get_the_lock_gets_the_error_busy() {
        let folder = tempfile::tempdir().expect("a folder");
        let pool = Pool::with_timeouts(file(&folder), SOON, MAX_LEASE);
        let guard = pool.acquire_write_lock().expect("the lock is free");
        assert!(matches!(pool.acquire_write_lock(), Err(StoreError::Busy)));
        drop(guard);
        drop(pool.acquire_write_lock().expect("the lock was released"));
        pool.acquire_write_lock().expect("it was released again");
    }

    #[test]
    fn a_writer_that_waits_for_the_lock_gets_it_when_it_is_released() {
        let folder = tempfile::tempdir().expect("a folder");
        let pool = Pool::with_timeouts(file(&folder), Duration::from_secs(60), MAX_LEASE);
        let guard = pool.acquire_write_lock().expect("the lock is free");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| pool.acquire_write_lock().is_ok());
            drop(guard);
            assert!(waits.join().expect("no panic"));
        });
    }

    #[test]
    fn if_too_many_connections_hang_no_more_are_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        let pool = Pool::with_timeouts(file(&folder), SOON, Duration::ZERO);
        let hanging = lend_all(&pool, MAX_CONNECTIONS + MAX_ABANDONED);
        assert!(matches!(pool.lend(), Err(StoreError::Busy)));
        drop(hanging);
        drop(pool.lend().expect("they came back"));
    }
}
