//! A lock with a timeout.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// A lock that one writer holds at a time.
#[derive(Default)]
pub(super) struct WriteLock {
    locked: Mutex<bool>,
    released: Condvar,
}

/// Holds the lock until it is dropped.
pub(super) struct WriteGuard<'t>(&'t WriteLock);

impl WriteLock {
    /// Acquires the lock, or returns `None` after the timeout.
    pub(super) fn acquire(&self, timeout: Duration) -> Option<WriteGuard<'_>> {
        let mut locked = self.locked.lock();
        self.released.wait_while_for(&mut locked, |locked| *locked, timeout);
        if *locked {
            return None;
        }
        *locked = true;
        Some(WriteGuard(self))
    }
}

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        *self.0.locked.lock() = false;
        self.0.released.notify_one();
    }
}
