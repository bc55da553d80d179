//! Which rounds were this process's: so those of somebody else are seen, who writes as the same machine. It reads no
//! database.

use std::collections::VecDeque;

/// How many of the newest rounds in the database are looked at.
pub(super) const NEWEST: i64 = 32;

/// Times that are remembered: more than can wait to be written, so that what is newest in the database is among them.
const REMEMBERED_ROUNDS: usize = 320;

/// The times of its rounds.
#[derive(Default)]
pub(super) struct DuplicateWriter {
    first_ms: Option<u64>,
    last: VecDeque<u64>,
}

impl DuplicateWriter {
    /// One of ours. Whether it is another than the last.
    pub(super) fn add(&mut self, time_ms: u64) -> bool {
        if self.last.back() == Some(&time_ms) {
            return false;
        }
        self.first_ms.get_or_insert(time_ms);
        self.last.push_back(time_ms);
        if self.last.len() > REMEMBERED_ROUNDS {
            self.last.pop_front();
        }
        true
    }

    /// When the first of them was. What is older may be of a process before this one.
    pub(super) fn first_ms(&self) -> Option<u64> {
        self.first_ms
    }

    /// How many of the newest in the database are not ours.
    pub(super) fn foreign(&self, newest: &[u64]) -> usize {
        newest.iter().filter(|time_ms| !self.last.contains(time_ms)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_did_not_measure_is_foreign() {
        let mut ours = DuplicateWriter::default();
        assert_eq!(ours.first_ms(), None);
        for time_ms in [10, 20, 30] {
            assert!(ours.add(time_ms));
        }
        assert!(!ours.add(30), "it is told twice");
        assert_eq!(ours.first_ms(), Some(10));
        assert_eq!(ours.foreign(&[30, 20, 10]), 0);
        assert_eq!(ours.foreign(&[31, 30, 20]), 1);
    }

    #[test]
    fn the_newest_in_the_database_are_remembered_behind_all_that_may_wait() {
        let mut ours = DuplicateWriter::default();
        (0..10_000).for_each(|time_ms| assert!(ours.add(time_ms)));
        let pending = super::super::writer::CAPACITY + super::super::writer::BATCH_SIZE;
        let written = 10_000 - pending as u64;
        let newest: Vec<u64> = (0..NEWEST as u64).map(|at| written - 1 - at).collect();
        assert_eq!(ours.foreign(&newest), 0);
    }
}
