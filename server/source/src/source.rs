//! The trait of a source: a name, a schedule and one asynchronous measurement. A source does not know the round,
//! and is never measured concurrently.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use watchpost_policies::MetricPattern;

use crate::probe::Reading;

/// A measurement in progress. The error says why nothing could be measured; partial failures are gaps in the
/// reading.
pub type Measurement<'s> = LocalBoxFuture<'s, Result<Reading, String>>;

/// Creates a source on the collector's thread: when it is added, and again after a panic.
pub type MakeSource = Box<dyn Fn() -> Box<dyn Source> + Send>;

/// A source of measurements.
pub trait Source {
    /// The name in gaps, metrics and the status: `host.memory`. It is unique in a collector.
    fn name(&self) -> &str;

    /// The metrics that are missing if the source fails.
    fn metrics(&self) -> Vec<MetricPattern>;

    /// The interval and the timeout.
    fn schedule(&self) -> Schedule;

    /// Measures on the collector's thread, so it must not block. The future is dropped at the timeout.
    fn measure(&mut self, now_ms: u64) -> Measurement<'_>;

    /// Whether scrapes measure it between rounds.
    fn is_refreshable(&self) -> bool {
        false
    }

    /// Measures between two rounds, for a scrape, as `measure` does. The result leaves out the metrics that cover the
    /// time since the last round, and the next round measures what it would have measured without this.
    fn refresh(&mut self, now_ms: u64) -> Measurement<'_> {
        self.measure(now_ms)
    }

    /// The rest of a dropped measurement that cannot be cancelled. The source is not measured again before it
    /// ends.
    fn unfinished(&mut self) -> Option<LocalBoxFuture<'_, ()>> {
        None
    }
}

/// The interval and the timeout of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Rounds that start within this interval after the last measurement reuse its result.
    pub interval: Duration,
    /// A measurement that takes longer fails.
    pub timeout: Duration,
}

/// The schedule of a source with settings of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnSchedule {
    pub schedule: Schedule,
    /// Whether the interval is its own, and not that of the rounds. It says how often the source may be measured, so
    /// scrapes do not measure it.
    pub has_own_interval: bool,
}
