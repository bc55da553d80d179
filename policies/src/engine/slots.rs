//! Limits the number of concurrent instances: the holder of a slot may create an instance.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::ticker::Ticker;

pub(super) struct Slots {
    count: Mutex<Count>,
    freed: Condvar,
}

struct Count {
    free: u32,
    /// Notifying without waiters costs a system call, a tenth of a whole decision.
    waiting: u32,
}

/// The right to one instance until it is dropped; the ticker runs meanwhile.
pub(super) struct Slot<'e> {
    slots: &'e Slots,
    ticker: &'e Ticker,
}

impl Slots {
    pub(super) fn new(free: u32) -> Self {
        Self {
            count: Mutex::new(Count { free, waiting: 0 }),
            freed: Condvar::new(),
        }
    }

    /// Waits until a slot is free, which ends because every instance has a deadline.
    pub(super) fn wait<'e>(&'e self, ticker: &'e Ticker) -> Slot<'e> {
        let mut count = self.count.lock();
        while count.free == 0 {
            count.waiting += 1;
            self.freed.wait(&mut count);
            count.waiting -= 1;
        }
        self.take(count, ticker)
    }

    /// Waits for a slot for at most `timeout`.
    pub(super) fn wait_at_most<'e>(&'e self, timeout: Duration, ticker: &'e Ticker) -> Option<Slot<'e>> {
        let mut count = self.count.lock();
        if count.free == 0 {
            let until = Instant::now() + timeout;
            while count.free == 0 {
                let left = until.checked_duration_since(Instant::now())?;
                count.waiting += 1;
                self.freed.wait_for(&mut count, left);
                count.waiting -= 1;
            }
        }
        Some(self.take(count, ticker))
    }

    fn take<'e>(&'e self, mut count: MutexGuard<'_, Count>, ticker: &'e Ticker) -> Slot<'e> {
        count.free -= 1;
        drop(count);
        ticker.begin();
        Slot { slots: self, ticker }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.ticker.end();
        let mut count = self.slots.count.lock();
        count.free += 1;
        let is_awaited = count.waiting > 0;
        drop(count);
        if is_awaited {
            self.slots.freed.notify_one();
        }
    }
}
