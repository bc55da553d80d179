//! Connections that wait to be used. A connection that failed is not used again, so what comes back is found at the
//! next question; one that is silent for too long is not waited for, and others are made in its place.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::connection::Connection;
use super::database_address::DatabaseAddress;
use super::error::StoreError;
use super::leases::{Leases, MAX_LEASE};
use super::write_lock::{WriteGuard, WriteLock};

/// More would wait for each other in SQLite anyway, and PostgreSQL has a hundred for everyone.
const MAX_CONNECTIONS: usize = 6;

/// How long a question waits for a connection. Whoever asks has a timeout of their own, and should hear why.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// All connections to one database.
pub(super) struct Pool {
    place: DatabaseAddress,
    patience: Duration,
    state: Mutex<State>,
    freed: Condvar,
    /// SQLite lets one write; who waits here is served in turn and not by luck.
    writing: WriteLock,
}

struct State {
    idle: VecDeque<Connection>,
    leases: Leases,
}

impl Pool {
    pub(super) fn new(place: DatabaseAddress) -> Self {
        Self::patient(place, ACQUIRE_TIMEOUT, MAX_LEASE)
    }

    /// One in which questions wait for so long, and connections are lent for so long.
    fn patient(place: DatabaseAddress, patience: Duration, longest: Duration) -> Self {
        Self {
            place,
            patience,
            state: Mutex::new(State {
                idle: VecDeque::new(),
                leases: Leases::new(longest),
            }),
            freed: Condvar::new(),
            writing: WriteLock::default(),
        }
    }

    pub(super) fn place(&self) -> &DatabaseAddress {
        &self.place
    }

    /// Does something with a connection that nobody else has.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut lent = self.lend()?;
        let outcome = match lent.connection.as_mut() {
            Some(connection) => work(connection),
            None => Err(StoreError::Failed("a connection was lent twice".to_owned())),
        };
        // Whatever breaks out of here otherwise takes the connection with it.
        let sound = outcome.as_ref().err().is_none_or(StoreError::spares_connection);
        if !sound {
            lent.connection = None;
            self.forget_idle();
        }
        drop(lent);
        outcome
    }

    /// Uses none of those again that wait: they were made before another failed, and may have been lost with it.
    pub(super) fn forget_idle(&self) {
        let forgotten = std::mem::take(&mut self.state.lock().idle);
        // Saying goodbye may take a while, and nobody has to wait for it.
        drop(forgotten);
    }

    /// The right to write, where only one may.
    pub(super) fn write_in_turn(&self) -> Result<Option<WriteGuard<'_>>, StoreError> {
        match self.place {
            DatabaseAddress::File { .. } => self.writing.take(self.patience).map(Some).ok_or(StoreError::Busy),
            DatabaseAddress::Server { .. } => Ok(None),
        }
    }

    fn lend(&self) -> Result<Lent<'_>, StoreError> {
        let until = Instant::now() + self.patience;
        let mut state = self.state.lock();
        loop {
            let now = Instant::now();
            if let Some(connection) = state.idle.pop_front() {
                return Ok(Lent {
                    pool: self,
                    number: state.leases.lend(now),
                    connection: Some(connection),
                });
            }
            if state.leases.count() < MAX_CONNECTIONS {
                let mut lent = Lent {
                    pool: self,
                    number: state.leases.lend(now),
                    connection: None,
                };
                drop(state);
                lent.connection = Some(Connection::establish(&self.place)?);
                return Ok(lent);
            }
            let written_off = state.leases.write_off(now);
            if written_off > 0 {
                drop(state);
                log::warn!(database:% = self.place, connections = written_off; "the database is silent; new connections are made in place of those that wait for it");
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

/// A connection that comes back by itself, or is counted out.
struct Lent<'p> {
    pool: &'p Pool,
    number: u64,
    connection: Option<Connection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let connection = self.connection.take().filter(|_| !std::thread::panicking());
        let mut state = self.pool.state.lock();
        let counts = state.leases.come_back(self.number);
        let late = match connection {
            Some(connection) if counts => {
                state.idle.push_front(connection);
                None
            }
            other => other,
        };
        drop(state);
        self.pool.freed.notify_one();
        drop(late);
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

    fn lend_all(pool: &Pool, count: usize) -> Vec<Lent<'_>> {
        let lend = |_| pool.lend().expect("there is one more");
        (0..count).map(lend).collect()
    }

    #[test]
    fn a_connection_that_comes_back_soon_is_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let pool = Pool::patient(file(&folder), SOON, MAX_LEASE);
        let mut lent = lend_all(&pool, MAX_CONNECTIONS);
        assert!(matches!(pool.lend(), Err(StoreError::Busy)));
        lent.pop();
        drop(pool.lend().expect("one came back"));
        drop(lent);
        assert_eq!(pool.state.lock().idle.len(), MAX_CONNECTIONS);
    }

    #[test]
    fn connections_that_are_silent_for_too_long_are_replaced_and_do_not_come_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let pool = Pool::patient(file(&folder), SOON, Duration::ZERO);
        let silent = lend_all(&pool, MAX_CONNECTIONS);
        let others = lend_all(&pool, MAX_CONNECTIONS);
        drop(silent);
        assert_eq!(
            pool.state.lock().idle.len(),
            0,
            "what was written off is not lent again"
        );
        drop(others);
        assert_eq!(pool.state.lock().idle.len(), MAX_CONNECTIONS);
        assert_eq!(pool.state.lock().leases.count(), 0);
    }

    #[test]
    fn who_does_not_get_the_turn_to_write_hears_that_it_is_busy() {
        let folder = tempfile::tempdir().expect("a folder");
        let pool = Pool::patient(file(&folder), SOON, MAX_LEASE);
        let turn = pool.write_in_turn().expect("nobody else writes");
        assert!(matches!(pool.write_in_turn(), Err(StoreError::Busy)));
        drop(turn);
        drop(pool.write_in_turn().expect("the turn ended"));
        pool.write_in_turn().expect("and it ends again");
    }

    #[test]
    fn who_waits_for_the_turn_to_write_gets_it_when_it_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let pool = Pool::patient(file(&folder), Duration::from_secs(60), MAX_LEASE);
        let turn = pool.write_in_turn().expect("nobody else writes");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| pool.write_in_turn().is_ok());
            drop(turn);
            assert!(waits.join().expect("no panic"));
        });
    }

    #[test]
    fn when_too_many_are_silent_no_more_are_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let pool = Pool::patient(file(&folder), SOON, Duration::ZERO);
        let silent = lend_all(&pool, MAX_CONNECTIONS + MAX_ABANDONED);
        assert!(matches!(pool.lend(), Err(StoreError::Busy)));
        drop(silent);
        drop(pool.lend().expect("they came back"));
    }
}
