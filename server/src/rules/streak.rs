//! How often something failed, one time after the other, and how it failed last. What follows from that is not known here.

use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use watchpost_policies::Fault;

/// Failures since the last good answer.
#[derive(Debug, Default)]
pub(super) struct Streak {
    faults: AtomicU32,
    last: Mutex<String>,
}

impl Streak {
    /// Counts an answer, and tells how many failed now, one after the other.
    pub(super) fn count(&self, failed: Option<&Fault>) -> u32 {
        let Some(fault) = failed else {
            // Every answer comes by here, and almost none has a fault before it.
            if self.length() > 0 {
                self.faults.store(0, Ordering::Relaxed);
            }
            return 0;
        };
        *self.last.lock() = fault.to_string();
        self.faults.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How many failed, one after the other.
    pub(super) fn length(&self) -> u32 {
        self.faults.load(Ordering::Relaxed)
    }

    /// How the last failed.
    pub(super) fn last(&self) -> String {
        self.last.lock().clone()
    }
}
