//! How long the database has been failing, by the monotonic clock. Queries report their results here; a query that the
//! database rejects for its content is a success. Reads and writes are separate, because a locked or full database still
//! answers reads.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::error::StoreError;

/// The kind of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// Since when queries fail.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<Failing>);

#[derive(Debug, Default)]
struct Failing {
    reads: Option<Instant>,
    writes: Option<Instant>,
}

impl Health {
    /// Notes the result of a query.
    pub(super) fn note<T>(&self, access: Access, result: &Result<T, StoreError>) {
        let mut failing = self.0.lock();
        match (access, is_failure(result)) {
            (Access::Read, true) => drop(failing.reads.get_or_insert_with(Instant::now)),
            (Access::Write, true) => drop(failing.writes.get_or_insert_with(Instant::now)),
            (Access::Read, false) => failing.reads = None,
            (Access::Write, false) => *failing = Failing::default(),
        }
    }

    /// Notes that the database did not respond.
    pub(super) fn note_timeout(&self) {
        let mut failing = self.0.lock();
        let now = Instant::now();
        failing.reads.get_or_insert(now);
        failing.writes.get_or_insert(now);
    }

    /// How long it has been failing, if it is.
    pub(super) fn failing_for(&self) -> Option<Duration> {
        let failing = self.0.lock();
        let since = [failing.reads, failing.writes].into_iter().flatten().min();
        since.map(|since| since.elapsed())
    }
}

fn is_failure<T>(result: &Result<T, StoreError>) -> bool {
    match result {
        Ok(_) | Err(StoreError::Refused(_) | StoreError::Unencodable(_) | StoreError::Unreadable(_)) => false,
        Err(
            StoreError::Unreachable(_)
            | StoreError::Busy
            | StoreError::Full
            // A table is missing, or a permission.
            | StoreError::Missing(_)
            | StoreError::Damaged(_)
            | StoreError::Failed(_),
        ) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_answers_reads_and_rejects_writes_is_failing() {
        let health = Health::default();
        assert_eq!(health.failing_for(), None);
        health.note::<()>(Access::Write, &Err(StoreError::Full));
        health.note(Access::Read, &Ok(()));
        assert!(health.failing_for().is_some());
        health.note(Access::Write, &Ok(()));
        assert_eq!(health.failing_for(), None);
    }

    #[test]
    fn a_database_without_a_table_or_a_permission_is_failing() {
        let health = Health::default();
        let missing = StoreError::Missing("no such table: rule_generations".to_owned());
        health.note::<()>(Access::Read, &Err(missing));
        assert!(health.failing_for().is_some());
        health.note(Access::Read, &Ok(()));
        assert_eq!(health.failing_for(), None);
    }

    #[test]
    fn a_write_that_violates_a_constraint_is_no_failure_and_a_timeout_is() {
        let health = Health::default();
        health.note::<()>(Access::Write, &Err(StoreError::Refused("a duplicate".to_owned())));
        assert_eq!(health.failing_for(), None);
        health.note_timeout();
        let first = health.failing_for().expect("it is failing");
        health.note_timeout();
        assert!(health.failing_for().is_some_and(|later| later >= first));
        health.note(Access::Read, &Ok(()));
        assert!(health.failing_for().is_some(), "writes may still fail");
    }
}
