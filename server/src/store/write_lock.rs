//! A right that one has at a time. Who waits for it does so for a while and not for ever.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// The right.
#[derive(Default)]
pub(super) struct WriteLock {
    taken: Mutex<bool>,
    ended: Condvar,
}

/// Who has it; it ends with this.
pub(super) struct WriteGuard<'t>(&'t WriteLock);

impl WriteLock {
    /// Takes it, or tells that somebody else had it all the while.
    pub(super) fn take(&self, patience: Duration) -> Option<WriteGuard<'_>> {
        let mut taken = self.taken.lock();
        self.ended.wait_while_for(&mut taken, |taken| *taken, patience);
        if *taken {
            return None;
        }
        *taken = true;
        Some(WriteGuard(self))
    }
}

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        *self.0.taken.lock() = false;
        self.0.ended.notify_one();
    }
}
