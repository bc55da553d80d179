//! Tracks whether rounds come, by the times of their arrival. It has no clock; callers pass the time.

use std::time::{Duration, Instant};

/// The time of the last round, and how long the next may take.
pub(super) struct Watchdog {
    last: Instant,
    timeout: Duration,
    has_stopped: bool,
}

impl Watchdog {
    /// No round has come yet; the first one is expected within the timeout.
    pub(super) fn new(now: Instant, timeout: Duration) -> Self {
        Self {
            last: now,
            timeout,
            has_stopped: false,
        }
    }

    /// Records a round.
    pub(super) fn heartbeat(&mut self, now: Instant) {
        self.last = now;
        self.has_stopped = false;
    }

    /// Whether the last round is recent enough.
    pub(super) fn is_alive(&self, now: Instant) -> bool {
        self.age(now) <= self.timeout
    }

    /// The time since the last round.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last)
    }

    /// Records that rounds stopped. Returns whether that is new.
    pub(super) fn stops(&mut self) -> bool {
        !std::mem::replace(&mut self.has_stopped, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_alive_while_rounds_come_and_for_the_timeout_after_the_last() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut watchdog = Watchdog::new(begin, Duration::from_secs(35));
        assert!(
            watchdog.is_alive(at(35)) && !watchdog.is_alive(at(36)),
            "before the first round"
        );
        watchdog.heartbeat(at(30));
        assert!(watchdog.is_alive(at(65)) && !watchdog.is_alive(at(66)));
        assert!(watchdog.stops() && !watchdog.stops(), "it is new once");
        watchdog.heartbeat(at(70));
        assert!(
            watchdog.is_alive(at(71)) && watchdog.stops(),
            "and again after it was better"
        );
    }
}
