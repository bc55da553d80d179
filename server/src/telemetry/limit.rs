//! Limits log lines about events that clients cause, so that no client can fill the log. It counts the lines that it
//! suppresses, and writes none itself.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The period in which [`MAX_LINES`] lines are written.
const PERIOD: Duration = Duration::from_secs(10);
/// Enough to name several clients that have the same problem.
const MAX_LINES: u32 = 5;

/// The limit of one kind of log line.
#[derive(Debug, Default)]
pub struct LogLimit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When the current period began; `None` before the first line.
    began: Option<Instant>,
    /// The lines written in the current period.
    written: u32,
    /// The lines suppressed since the last one that was written.
    suppressed: u64,
}

impl LogLimit {
    /// Whether another line may be written: `Some` with the number of lines suppressed since the last one, or `None` if
    /// this one must be suppressed too.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        let continues = |began: Instant| now.saturating_duration_since(began) < PERIOD;
        if !state.began.is_some_and(continues) {
            state.began = Some(now);
            state.written = 0;
        }
        if state.written >= MAX_LINES {
            state.suppressed += 1;
            return None;
        }
        state.written += 1;
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_limit_are_suppressed_and_the_next_line_counts_them() {
        let (limit, start) = (LogLimit::default(), Instant::now());
        for _ in 0..MAX_LINES {
            assert_eq!(limit.admit(start), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(limit.admit(start + PERIOD / 2), None);
        }
        assert_eq!(limit.admit(start + PERIOD), Some(7));
        assert_eq!(limit.admit(start + PERIOD), Some(0), "they are counted once");
    }

    #[test]
    fn lines_below_the_limit_are_all_written() {
        let (limit, start) = (LogLimit::default(), Instant::now());
        for at in 0..20 {
            let now = start + at * PERIOD / MAX_LINES;
            assert_eq!(limit.admit(now), Some(0), "{at}");
        }
    }
}
