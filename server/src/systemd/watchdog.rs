//! Whether rounds come, by the times at which they came. It has no clock.

use std::time::{Duration, Instant};

/// When the last round came, and how long the next may take.
pub(super) struct Watchdog {
    last: Instant,
    patience: Duration,
    has_stopped: bool,
}

impl Watchdog {
    /// Nothing came yet, but somebody begins now.
    pub(super) fn new(now: Instant, patience: Duration) -> Self {
        Self {
            last: now,
            patience,
            has_stopped: false,
        }
    }

    /// A round came.
    pub(super) fn heartbeat(&mut self, now: Instant) {
        self.last = now;
        self.has_stopped = false;
    }

    /// Whether the next may still come.
    pub(super) fn is_alive(&self, now: Instant) -> bool {
        self.age(now) <= self.patience
    }

    /// How long ago the last came.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last)
    }

    /// It does not beat any more. Whether that is new.
    pub(super) fn stops(&mut self) -> bool {
        !std::mem::replace(&mut self.has_stopped, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_beats_while_rounds_come_and_for_its_patience_after_the_last() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut pulse = Watchdog::new(begin, Duration::from_secs(35));
        assert!(
            pulse.is_alive(at(35)) && !pulse.is_alive(at(36)),
            "before the first round"
        );
        pulse.heartbeat(at(30));
        assert!(pulse.is_alive(at(65)) && !pulse.is_alive(at(66)));
        assert!(pulse.stops() && !pulse.stops(), "it is new once");
        pulse.heartbeat(at(70));
        assert!(pulse.is_alive(at(71)) && pulse.stops(), "and again after it was better");
    }
}
