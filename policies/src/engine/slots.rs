//! The bound in front of the pool of instances: who gets a slot gets an instance. It does not know what the
//! instances do.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::ticker::Ticker;

pub(super) struct Slots {
    free: Mutex<u32>,
    freed: Condvar,
}

/// The right to one instance, for as long as it lives; meanwhile the ticker ticks.
pub(super) struct Slot<'e> {
    slots: &'e Slots,
    ticker: &'e Ticker,
}

impl Slots {
    pub(super) fn new(count: u32) -> Self {
        Self {
            free: Mutex::new(count),
            freed: Condvar::new(),
        }
    }

    /// Waits until a slot is free. It ends, because every instance has a deadline.
    pub(super) fn wait<'e>(&'e self, ticker: &'e Ticker) -> Slot<'e> {
        let mut free = self.lock();
        while *free == 0 {
            free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        drop(free);
        self.slot(ticker)
    }

    /// Waits for a slot for so long and no longer.
    pub(super) fn wait_at_most<'e>(&'e self, patience: Duration, ticker: &'e Ticker) -> Option<Slot<'e>> {
        let mut free = self.lock();
        if *free == 0 {
            let until = Instant::now() + patience;
            while *free == 0 {
                let left = until.checked_duration_since(Instant::now())?;
                let waited = self.freed.wait_timeout(free, left);
                (free, _) = waited.unwrap_or_else(PoisonError::into_inner);
            }
        }
        *free -= 1;
        drop(free);
        Some(self.slot(ticker))
    }

    fn slot<'e>(&'e self, ticker: &'e Ticker) -> Slot<'e> {
        ticker.begin();
        Slot { slots: self, ticker }
    }

    fn lock(&self) -> MutexGuard<'_, u32> {
        // A number is whole even after a panic.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.ticker.end();
        *self.slots.lock() += 1;
        self.slots.freed.notify_one();
    }
}
