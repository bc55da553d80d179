//! A right that one has at a time. Who waits for it does so for a while and not for ever.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The right.
#[derive(Default)]
pub(super) struct Turn {
    taken: Mutex<bool>,
    ended: Condvar,
}

/// Who has it; it ends with this.
pub(super) struct Taken<'t>(&'t Turn);

impl Turn {
    /// Takes it, or tells that somebody else had it all the while.
    pub(super) fn take(&self, patience: Duration) -> Option<Taken<'_>> {
        let waited = self.ended.wait_timeout_while(self.lock(), patience, |taken| *taken);
        let mut taken = waited.unwrap_or_else(PoisonError::into_inner).0;
        if *taken {
            return None;
        }
        *taken = true;
        Some(Taken(self))
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.0.lock() = false;
        self.0.ended.notify_one();
    }
}
