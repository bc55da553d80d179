//! Detects another process that writes rounds under the same machine's name, by the times of this process's rounds. It
//! reads no database.

use std::collections::VecDeque;

/// The number of the newest rounds in the database that are checked.
pub(super) const NEWEST: i64 = 32;

/// The number of remembered times: more rounds than can be pending, so that the newest ones in the database are among
/// them.
const REMEMBERED_ROUNDS: usize = 320;

/// The times of this process's rounds.
#[derive(Default)]
pub(super) struct DuplicateWriter {
    first_ms: Option<u64>,
    last: VecDeque<u64>,
}

impl DuplicateWriter {
    /// Adds a round of this process. Returns false if it is the same as the last.
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

    /// The time of the first round. Older rounds in the database may be of an earlier process.
    pub(super) fn first_ms(&self) -> Option<u64> {
        self.first_ms
    }

    /// The number of these rounds that this process did not write.
    pub(super) fn foreign(&self, newest: &[u64]) -> usize {
        newest.iter().filter(|time_ms| !self.last.contains(time_ms)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_of_another_process_are_foreign() {
        let mut own_rounds = DuplicateWriter::default();
        assert_eq!(own_rounds.first_ms(), None);
        for time_ms in [10, 20, 30] {
            assert!(own_rounds.add(time_ms));
        }
        assert!(!own_rounds.add(30), "it is the same round");
        assert_eq!(own_rounds.first_ms(), Some(10));
        assert_eq!(own_rounds.foreign(&[30, 20, 10]), 0);
        assert_eq!(own_rounds.foreign(&[31, 30, 20]), 1);
    }

    #[test]
    fn the_newest_rounds_in_the_database_are_remembered_while_a_full_buffer_waits() {
        let mut own_rounds = DuplicateWriter::default();
        (0..10_000).for_each(|time_ms| assert!(own_rounds.add(time_ms)));
        let pending = super::super::writer::CAPACITY + super::super::writer::BATCH_SIZE;
        let written = 10_000 - pending as u64;
        let newest: Vec<u64> = (0..NEWEST as u64).map(|at| written - 1 - at).collect();
        assert_eq!(own_rounds.foreign(&newest), 0);
    }
}
