//! Connections that wait to be used. A connection that failed is not used again, so what comes back is found at the
//! next question.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::error::StoreError;
use super::place::Place;

/// More would wait for each other in SQLite anyway, and PostgreSQL has a hundred for everyone.
const MOST: usize = 6;

/// How long a question waits for a connection. Whoever asks has a timeout of their own, and should hear why.
const PATIENCE: Duration = Duration::from_secs(5);

/// All connections to one database.
pub(super) struct Pool {
    place: Place,
    state: Mutex<State>,
    freed: Condvar,
    /// SQLite lets one write; who waits here is served in turn and not by luck.
    writing: Mutex<()>,
}

#[derive(Default)]
struct State {
    idle: VecDeque<Connection>,
    made: usize,
}

impl Pool {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            state: Mutex::default(),
            freed: Condvar::new(),
            writing: Mutex::new(()),
        }
    }

    pub(super) fn place(&self) -> &Place {
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
            // The others were made before it failed, and may have been lost with it.
            self.lock().forget_idle();
        }
        drop(lent);
        outcome
    }

    /// The right to write, where only one may.
    pub(super) fn write_in_turn(&self) -> Option<MutexGuard<'_, ()>> {
        let in_turn = || self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(self.place, Place::File { .. }).then(in_turn)
    }

    fn lend(&self) -> Result<Lent<'_>, StoreError> {
        let until = Instant::now() + PATIENCE;
        let mut state = self.lock();
        loop {
            if let Some(connection) = state.idle.pop_front() {
                return Ok(Lent {
                    pool: self,
                    connection: Some(connection),
                });
            }
            if state.made < MOST {
                state.made += 1;
                drop(state);
                let mut lent = Lent {
                    pool: self,
                    connection: None,
                };
                lent.connection = Some(Connection::establish(&self.place)?);
                return Ok(lent);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(StoreError::Busy);
            }
            let waited = self.freed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget_idle(&mut self) {
        self.made -= self.idle.len();
        self.idle.clear();
    }
}

/// A connection that comes back by itself, or is counted out.
struct Lent<'p> {
    pool: &'p Pool,
    connection: Option<Connection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let connection = self.connection.take().filter(|_| !std::thread::panicking());
        let mut state = self.pool.lock();
        match connection {
            Some(connection) => state.idle.push_front(connection),
            None => state.made -= 1,
        }
        self.pool.freed.notify_one();
    }
}
