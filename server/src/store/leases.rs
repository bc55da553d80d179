//! The leases of a pool's connections and their start times. It knows no connection and no clock: callers pass the
//! time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Twice PostgreSQL's statement timeout, because most leases run one statement. Leases of several statements (writing
/// rounds, compacting a window) take this long only over a very slow network; they may still end normally, and cost no
/// more than a new connection. Migrations use a separate connection.
pub(super) const MAX_LEASE: Duration = Duration::from_secs(60);

/// Maximum number of connections that are written off and not returned yet, each with a thread that waits for the
/// network. If more connections hang, new ones would hang as well.
pub(super) const MAX_ABANDONED: usize = 24;

/// All leases of a pool.
pub(super) struct Leases {
    since: BTreeMap<u64, Instant>,
    next: u64,
    written_off: usize,
    max_lease: Duration,
}

impl Leases {
    /// No leases; each lease is written off after `max_lease`.
    pub(super) fn new(max_lease: Duration) -> Self {
        Self {
            since: BTreeMap::new(),
            next: 0,
            written_off: 0,
            max_lease,
        }
    }

    /// The number of leases that are not written off.
    pub(super) fn count(&self) -> usize {
        self.since.len()
    }

    /// Adds a lease and returns its number, with which it is returned.
    pub(super) fn lend(&mut self, now: Instant) -> u64 {
        self.next += 1;
        self.since.insert(self.next, now);
        self.next
    }

    /// Ends a lease. Returns false if it was written off before.
    pub(super) fn end(&mut self, number: u64) -> bool {
        let counts = self.since.remove(&number).is_some();
        if !counts {
            self.written_off -= 1;
        }
        counts
    }

    /// Writes off the leases that last too long, and returns their number.
    pub(super) fn write_off(&mut self, now: Instant) -> usize {
        let expired = self
            .since
            .iter()
            .filter(|(_, since)| now.saturating_duration_since(**since) >= self.max_lease);
        let may = MAX_ABANDONED - self.written_off;
        let numbers: Vec<u64> = expired.map(|(number, _)| *number).take(may).collect();
        for number in &numbers {
            self.since.remove(number);
        }
        self.written_off += numbers.len();
        numbers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lease_that_lasts_too_long_is_written_off() {
        let (mut leases, now) = (Leases::new(MAX_LEASE), Instant::now());
        let old = leases.lend(now);
        let young = leases.lend(now + Duration::from_secs(1));
        assert_eq!(leases.write_off(now + MAX_LEASE - Duration::from_millis(1)), 0);
        assert_eq!(leases.write_off(now + MAX_LEASE), 1);
        assert_eq!(leases.count(), 1);
        assert!(!leases.end(old), "it was written off");
        assert_eq!(leases.count(), 1, "so its return changes nothing");
        assert!(leases.end(young));
        assert_eq!(leases.count(), 0);
    }

    #[test]
    fn no_more_are_written_off_than_may_be_missing() {
        let (mut leases, now) = (Leases::new(Duration::ZERO), Instant::now());
        let numbers: Vec<_> = (0..MAX_ABANDONED + 2).map(|_| leases.lend(now)).collect();
        assert_eq!(leases.write_off(now), MAX_ABANDONED);
        assert_eq!(leases.write_off(now), 0);
        assert_eq!(leases.count(), 2);
        leases.end(numbers[0]);
        assert_eq!(leases.write_off(now), 1, "one came back, so one more may be missing");
    }
}
