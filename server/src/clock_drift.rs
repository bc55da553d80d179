//! Decides whether the system clock can be trusted enough to delete old data: it must agree with the monotonic clock, at
//! the start with the time when it was last trusted, and not differ from the database's clock if there is one. It reads
//! no clock; callers pass the times.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::atomic_file::{self, PRIVATE};

/// The minimum difference that counts as a jump. A clock that is being slewed gains or loses at most two seconds an
/// hour, and a minute is small compared to the shortest retention of the history. A suspended machine looks the same,
/// and loses nothing by it.
const MAX_DRIFT: Duration = Duration::from_secs(60);

/// After a jump, both clocks must agree for this long before the system clock is trusted again; until then an operator
/// can correct it.
const TRUST_AFTER: Duration = Duration::from_secs(60 * 60);

/// A start within this time after the clock was last trusted is a restart; a clock that is further ahead may be wrong,
/// and is trusted after an hour.
const MAX_ABSENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// The interval at which the trusted time is stored.
const STORE_INTERVAL: Duration = Duration::from_secs(60);

/// The system clock as far as it is trusted. Tasks that delete by age share it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct TrustedClock(Arc<Mutex<State>>);

struct State {
    monitor: ClockMonitor,
    /// The file with the time when the clock was last trusted.
    file: Option<PathBuf>,
    stored: Option<Instant>,
    differs_from_database: bool,
}

impl TrustedClock {
    /// The clock at the start of the process. The file has the time when an earlier process last trusted it; without
    /// one, it is trusted after an hour.
    pub(crate) fn load(file: Option<PathBuf>, wall_ms: u64, now: Instant) -> Self {
        let text = file.as_ref().and_then(|file| fs::read_to_string(file).ok());
        let last_ms = text.and_then(|text| text.trim().parse().ok());
        Self(Arc::new(Mutex::new(State {
            monitor: ClockMonitor::starting(wall_ms, now, last_ms),
            file,
            stored: None,
            differs_from_database: false,
        })))
    }

    /// Compares the clocks, and returns the time if the system clock is trusted. `database_ms` is the time of a database
    /// server at the same moment.
    pub(crate) fn check(&self, wall_ms: u64, now: Instant, database_ms: Option<u64>) -> Option<u64> {
        let mut state = self.0.lock();
        if let Some(jump_ms) = state.monitor.check(wall_ms, now) {
            log::warn!(jump_ms; "the clock jumped; nothing is deleted by age for an hour");
        }
        let difference = database_ms.map(|database_ms| database_ms.abs_diff(wall_ms));
        let differs = difference.is_some_and(|ms| u128::from(ms) > MAX_DRIFT.as_millis());
        if differs && !state.differs_from_database {
            let difference_ms = difference.unwrap_or_default();
            log::warn!(difference_ms; "the clock differs from the database's; nothing is deleted by age");
        }
        state.differs_from_database = differs;
        // A database that agrees proves nothing: on the same machine it has the same clock.
        if differs || !state.monitor.is_trusted() {
            return None;
        }
        if state
            .stored
            .is_none_or(|at| now.saturating_duration_since(at) >= STORE_INTERVAL)
        {
            state.stored = Some(now);
            if let Some(file) = &state.file
                && let Err(error) = atomic_file::replace(file, format!("{wall_ms}\n").as_bytes(), PRIVATE)
            {
                log::warn!(file:% = file.display(), reason:% = error; "could not store the time; after a restart, nothing is deleted by age for an hour");
            }
        }
        Some(wall_ms)
    }
}

/// The monitor of the system clock.
struct ClockMonitor {
    since: (u64, Instant),
    jumped: bool,
}

impl ClockMonitor {
    /// A clock at the start of a process: trusted if it was trusted by an earlier process within a day.
    fn starting(wall_ms: u64, now: Instant, last_ms: Option<u64>) -> Self {
        let begin_ms = |last_ms: u64| last_ms.saturating_sub(MAX_DRIFT.as_millis() as u64);
        let end_ms = |last_ms: u64| last_ms.saturating_add(MAX_ABSENCE.as_millis() as u64);
        let is_restart = last_ms.is_some_and(|last_ms| (begin_ms(last_ms)..=end_ms(last_ms)).contains(&wall_ms));
        Self {
            since: (wall_ms, now),
            jumped: !is_restart,
        }
    }

    /// A clock that is trusted until it jumps.
    fn new(wall_ms: u64, now: Instant) -> Self {
        Self {
            since: (wall_ms, now),
            jumped: false,
        }
    }

    /// Compares the clocks, and returns by how many milliseconds the system clock jumped, if it did. Small steps are
    /// added up over an hour.
    fn check(&mut self, wall_ms: u64, now: Instant) -> Option<i64> {
        let elapsed = now.saturating_duration_since(self.since.1);
        let wall_elapsed_ms = i128::from(wall_ms) - i128::from(self.since.0);
        let drift_ms = wall_elapsed_ms - i128::try_from(elapsed.as_millis()).unwrap_or(i128::MAX);
        if drift_ms.unsigned_abs() > MAX_DRIFT.as_millis() {
            *self = Self {
                since: (wall_ms, now),
                jumped: true,
            };
            return Some(i64::try_from(drift_ms).unwrap_or(i64::MAX));
        }
        if elapsed >= TRUST_AFTER {
            *self = Self::new(wall_ms, now);
        }
        None
    }

    /// Whether the system clock can be relied on.
    fn is_trusted(&self) -> bool {
        !self.jumped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: u64 = 1_700_000_000_000;
    const MINUTE: u64 = 60_000;

    /// A monitor, and a function that checks it after so many minutes with the system clock off by so many
    /// milliseconds.
    fn monitor() -> (ClockMonitor, impl Fn(&mut ClockMonitor, u64, i64) -> Option<i64>) {
        let begin = Instant::now();
        let check = move |monitor: &mut ClockMonitor, minutes: u64, drift_ms: i64| {
            let wall_ms = (BEGIN + minutes * MINUTE).saturating_add_signed(drift_ms);
            monitor.check(wall_ms, begin + Duration::from_millis(minutes * MINUTE))
        };
        (ClockMonitor::new(BEGIN, begin), check)
    }

    /// A clock that starts with this stored time, and the file.
    fn starting(stored: &str) -> (TrustedClock, Instant, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("clock");
        fs::write(&file, stored).expect("written");
        let now = Instant::now();
        (TrustedClock::load(Some(file), BEGIN, now), now, folder)
    }

    #[test]
    fn a_clock_is_trusted_at_the_start_if_it_was_trusted_within_a_day() {
        let day = 24 * 60 * MINUTE;
        for (stored, is_trusted) in [
            (BEGIN.to_string(), true),
            ((BEGIN - day).to_string(), true),
            ((BEGIN - day - 1).to_string(), false),
            ((BEGIN + MINUTE).to_string(), true),
            ((BEGIN + MINUTE + 1).to_string(), false),
            (String::new(), false),
            ("yesterday".to_owned(), false),
        ] {
            let (clock, now, _folder) = starting(&stored);
            assert_eq!(clock.check(BEGIN, now, None).is_some(), is_trusted, "{stored}");
        }
    }

    #[test]
    fn a_clock_that_is_ahead_at_the_start_is_trusted_after_an_hour_and_then_its_time_is_stored() {
        let (clock, begin, folder) = starting("");
        let file = folder.path().join("clock");
        for minutes in [0, 1, 59] {
            let now = begin + Duration::from_millis(minutes * MINUTE);
            assert_eq!(clock.check(BEGIN + minutes * MINUTE, now, None), None, "{minutes}");
        }
        assert_eq!(
            fs::read_to_string(&file).expect("read"),
            "",
            "an untrusted time is not stored"
        );
        let (wall_ms, now) = (BEGIN + 60 * MINUTE, begin + Duration::from_millis(60 * MINUTE));
        assert_eq!(clock.check(wall_ms, now, None), Some(wall_ms));
        assert_eq!(fs::read_to_string(&file).expect("read").trim(), wall_ms.to_string());
    }

    #[test]
    fn a_database_with_another_time_prevents_trust_and_one_with_the_same_time_proves_nothing() {
        let (clock, now, _folder) = starting("");
        assert_eq!(
            clock.check(BEGIN, now, Some(BEGIN)),
            None,
            "both may have the same wrong clock"
        );
        let (clock, now, _folder) = starting(&BEGIN.to_string());
        assert_eq!(clock.check(BEGIN, now, Some(BEGIN - 10 * MINUTE)), None);
        assert_eq!(clock.check(BEGIN, now, None), Some(BEGIN));
    }

    #[test]
    fn a_clock_without_drift_is_trusted_from_the_start() {
        let (mut monitor, check) = monitor();
        assert!(monitor.is_trusted());
        for minutes in 0..300 {
            assert_eq!(check(&mut monitor, minutes, 0), None);
            assert!(monitor.is_trusted());
        }
    }

    #[test]
    fn after_a_jump_in_either_direction_it_is_not_trusted_for_an_hour() {
        let years = 10 * 365 * 24 * 60 * 60 * 1000;
        for jump in [years, -years, 60_001, -60_001] {
            let (mut monitor, check) = monitor();
            assert_eq!(check(&mut monitor, 1, 0), None);
            assert_eq!(check(&mut monitor, 2, jump), Some(jump));
            for minutes in 3..62 {
                assert_eq!(check(&mut monitor, minutes, jump), None);
                assert!(!monitor.is_trusted(), "{jump} after {minutes} min");
            }
            assert_eq!(check(&mut monitor, 62, jump), None);
            assert!(monitor.is_trusted(), "{jump}");
        }
    }

    #[test]
    fn a_jump_back_restarts_the_hour() {
        let (mut monitor, check) = monitor();
        assert_eq!(check(&mut monitor, 2, 3_600_000), Some(3_600_000));
        assert_eq!(check(&mut monitor, 50, 0), Some(-3_600_000));
        assert_eq!(check(&mut monitor, 70, 0), None);
        assert!(!monitor.is_trusted());
        assert_eq!(check(&mut monitor, 110, 0), None);
        assert!(monitor.is_trusted());
    }

    #[test]
    fn a_clock_that_is_slewed_has_not_jumped() {
        let (mut monitor, check) = monitor();
        for minutes in 0..6000_u64 {
            let gained = i64::try_from(minutes * 30).expect("small");
            assert_eq!(check(&mut monitor, minutes, gained), None, "{minutes}");
        }
        assert!(monitor.is_trusted());
    }

    #[test]
    fn small_steps_within_an_hour_are_added_up() {
        let (mut monitor, check) = monitor();
        let steps =
            (1..10).map(|minutes: u64| check(&mut monitor, minutes, i64::try_from(minutes * 20_000).expect("small")));
        assert_eq!(steps.flatten().next(), Some(80_000));
        assert!(!monitor.is_trusted());
    }
}
