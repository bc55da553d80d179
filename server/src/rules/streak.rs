//! Counts consecutive faults and keeps the last one. Consequences are up to the caller.

use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use watchpost_policies::Fault;

/// Faults since the last success.
#[derive(Debug, Default)]
pub(super) struct Streak {
    faults: AtomicU32,
    last: Mutex<String>,
}

impl Streak {
    /// Counts an answer and returns the number of consecutive faults.
    pub(super) fn count(&self, failed: Option<&Fault>) -> u32 {
        let Some(fault) = failed else {
            // Fast path: almost every answer follows a success.
            if self.length() > 0 {
                self.faults.store(0, Ordering::Relaxed);
            }
            return 0;
        };
        *self.last.lock() = fault.to_string();
        self.faults.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Number of consecutive faults.
    pub(super) fn length(&self) -> u32 {
        self.faults.load(Ordering::Relaxed)
    }

    /// The last fault.
    pub(super) fn last(&self) -> String {
        self.last.lock().clone()
    }
}
