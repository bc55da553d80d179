//! Detects jumps of the system clock by comparing it with the monotonic clock. It reads neither; callers pass the
//! times.

use std::time::{Duration, Instant};

/// The minimum difference that counts as a jump. A clock that is being slewed gains or loses at most two seconds an
/// hour, and a minute is small compared to the shortest retention of the history. A suspended machine looks the same,
/// and loses nothing by it.
const MAX_DRIFT: Duration = Duration::from_secs(60);

/// After a jump, both clocks must agree for this long before the system clock is trusted again; until then an operator
/// can correct it.
const TRUST_AFTER: Duration = Duration::from_secs(60 * 60);

/// The monitor of the system clock.
pub(crate) struct ClockMonitor {
    since: (u64, Instant),
    jumped: bool,
}

impl ClockMonitor {
    /// A clock that is trusted until it jumps.
    pub(crate) fn new(wall_ms: u64, now: Instant) -> Self {
        Self {
            since: (wall_ms, now),
            jumped: false,
        }
    }

    /// Compares the clocks, and returns by how many milliseconds the system clock jumped, if it did. Small steps are
    /// added up over an hour.
    pub(crate) fn check(&mut self, wall_ms: u64, now: Instant) -> Option<i64> {
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
    pub(crate) fn is_trusted(&self) -> bool {
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
