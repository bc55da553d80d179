//! Whether the clock on the wall runs as the one that only counts. It asks neither: moments are told to it.

use std::time::{Duration, Instant};

/// Further apart is a jump. A clock that is being put right gains or loses at most two seconds an hour, and a minute
/// is little against the shortest time for which history is kept. A machine that slept looks the same, and loses
/// nothing by it.
const MAX_DRIFT: Duration = Duration::from_secs(60);

/// After a jump both have to agree for so long before the clock is believed again; whoever looks after the machine can
/// put it right until then.
const TRUST_AFTER: Duration = Duration::from_secs(60 * 60);

/// What is known of the clock.
pub(crate) struct ClockMonitor {
    since: (u64, Instant),
    jumped: bool,
}

impl ClockMonitor {
    /// A clock that is believed until it jumps.
    pub(crate) fn new(wall_ms: u64, now: Instant) -> Self {
        Self {
            since: (wall_ms, now),
            jumped: false,
        }
    }

    /// Looks again, and tells by how many milliseconds it jumped, if it did. Small steps are added up over an hour.
    pub(crate) fn look(&mut self, wall_ms: u64, now: Instant) -> Option<i64> {
        let counted = now.saturating_duration_since(self.since.1);
        let shown_ms = i128::from(wall_ms) - i128::from(self.since.0);
        let apart_ms = shown_ms - i128::try_from(counted.as_millis()).unwrap_or(i128::MAX);
        if apart_ms.unsigned_abs() > MAX_DRIFT.as_millis() {
            *self = Self {
                since: (wall_ms, now),
                jumped: true,
            };
            return Some(i64::try_from(apart_ms).unwrap_or(i64::MAX));
        }
        if counted >= TRUST_AFTER {
            *self = Self::new(wall_ms, now);
        }
        None
    }

    /// Whether what it says may be acted on.
    pub(crate) fn is_trusted(&self) -> bool {
        !self.jumped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: u64 = 1_700_000_000_000;
    const MINUTE: u64 = 60_000;

    /// A clock, and a way to look at it after so many minutes when it shows so many milliseconds more than that.
    fn clock() -> (ClockMonitor, impl Fn(&mut ClockMonitor, u64, i64) -> Option<i64>) {
        let begin = Instant::now();
        let look = move |steady: &mut ClockMonitor, minutes: u64, apart_ms: i64| {
            let wall_ms = (BEGIN + minutes * MINUTE).saturating_add_signed(apart_ms);
            steady.look(wall_ms, begin + Duration::from_millis(minutes * MINUTE))
        };
        (ClockMonitor::new(BEGIN, begin), look)
    }

    #[test]
    fn a_clock_that_runs_as_time_does_is_trusted_from_the_start() {
        let (mut steady, look) = clock();
        assert!(steady.is_trusted());
        for minutes in 0..300 {
            assert_eq!(look(&mut steady, minutes, 0), None);
            assert!(steady.is_trusted());
        }
    }

    #[test]
    fn after_a_jump_in_either_direction_it_is_not_believed_for_an_hour() {
        let years = 10 * 365 * 24 * 60 * 60 * 1000;
        for jump in [years, -years, 60_001, -60_001] {
            let (mut steady, look) = clock();
            assert_eq!(look(&mut steady, 1, 0), None);
            assert_eq!(look(&mut steady, 2, jump), Some(jump));
            for minutes in 3..62 {
                assert_eq!(look(&mut steady, minutes, jump), None);
                assert!(!steady.is_trusted(), "{jump} after {minutes} min");
            }
            assert_eq!(look(&mut steady, 62, jump), None);
            assert!(steady.is_trusted(), "{jump}");
        }
    }

    #[test]
    fn a_jump_back_begins_the_hour_anew() {
        let (mut steady, look) = clock();
        assert_eq!(look(&mut steady, 2, 3_600_000), Some(3_600_000));
        assert_eq!(look(&mut steady, 50, 0), Some(-3_600_000));
        assert_eq!(look(&mut steady, 70, 0), None);
        assert!(!steady.is_trusted());
        assert_eq!(look(&mut steady, 110, 0), None);
        assert!(steady.is_trusted());
    }

    #[test]
    fn a_clock_that_is_put_right_slowly_has_not_jumped() {
        let (mut steady, look) = clock();
        for minutes in 0..6000_u64 {
            let gained = i64::try_from(minutes * 30).expect("small");
            assert_eq!(look(&mut steady, minutes, gained), None, "{minutes}");
        }
        assert!(steady.is_trusted());
    }

    #[test]
    fn small_steps_within_an_hour_are_added_up() {
        let (mut steady, look) = clock();
        let steps =
            (1..10).map(|minutes: u64| look(&mut steady, minutes, i64::try_from(minutes * 20_000).expect("small")));
        assert_eq!(steps.flatten().next(), Some(80_000));
        assert!(!steady.is_trusted());
    }
}
