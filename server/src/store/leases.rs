//! Which connections are lent, and since when. It knows no connection and no clock: moments are told to it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Twice what PostgreSQL may take for a statement, which is what most leases are for. Those of several statements
/// (rounds that are written, a window that is packed) take this long only over a very slow wire; they may end all the
/// same, and cost no more than a new connection. Migrations have a connection of their own.
pub(super) const MAX_LEASE: Duration = Duration::from_secs(60);

/// Connections that were written off and have not come back, each with a thread that waits for its wire. With more the
/// wire is not the exception any more, and new connections would meet the same.
pub(super) const MAX_ABANDONED: usize = 24;

/// All leases of a pool.
pub(super) struct Leases {
    since: BTreeMap<u64, Instant>,
    next: u64,
    written_off: usize,
    longest: Duration,
}

impl Leases {
    /// None yet; each is believed in for so long.
    pub(super) fn new(longest: Duration) -> Self {
        Self {
            since: BTreeMap::new(),
            next: 0,
            written_off: 0,
            longest,
        }
    }

    /// How many are lent and believed in.
    pub(super) fn count(&self) -> usize {
        self.since.len()
    }

    /// One more; by its number it comes back.
    pub(super) fn lend(&mut self, now: Instant) -> u64 {
        self.next += 1;
        self.since.insert(self.next, now);
        self.next
    }

    /// One comes back. Whether it still counts.
    pub(super) fn come_back(&mut self, number: u64) -> bool {
        let counts = self.since.remove(&number).is_some();
        if !counts {
            self.written_off -= 1;
        }
        counts
    }

    /// Stops believing in those that are lent for too long, and tells how many these are.
    pub(super) fn write_off(&mut self, now: Instant) -> usize {
        let silent = self
            .since
            .iter()
            .filter(|(_, since)| now.saturating_duration_since(**since) >= self.longest);
        let may = MAX_ABANDONED - self.written_off;
        let numbers: Vec<u64> = silent.map(|(number, _)| *number).take(may).collect();
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
        assert!(!leases.come_back(old), "it does not count any more");
        assert_eq!(leases.count(), 1, "so its return changes nothing");
        assert!(leases.come_back(young));
        assert_eq!(leases.count(), 0);
    }

    #[test]
    fn no_more_are_written_off_than_may_be_missing() {
        let (mut leases, now) = (Leases::new(Duration::ZERO), Instant::now());
        let numbers: Vec<_> = (0..MAX_ABANDONED + 2).map(|_| leases.lend(now)).collect();
        assert_eq!(leases.write_off(now), MAX_ABANDONED);
        assert_eq!(leases.write_off(now), 0);
        assert_eq!(leases.count(), 2);
        leases.come_back(numbers[0]);
        assert_eq!(leases.write_off(now), 1, "one came back, so one more may be missing");
    }
}
