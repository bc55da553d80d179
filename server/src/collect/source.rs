//! What the collector can measure: a source has a name, a schedule and one asynchronous operation. It does not know in
//! which round it is measured, and it is never measured twice at once.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use watchpost_policies::MetricPattern;

use super::probe::Reading;

/// A measurement in progress. An error is a sentence that says why nothing could be measured; what is missing of an
/// answer is a gap in it.
pub type Measurement<'s> = LocalBoxFuture<'s, Result<Reading, String>>;

/// Makes a source on the collector's thread: when it is added, and anew after it panicked.
pub type MakeSource = Box<dyn Fn() -> Box<dyn Source> + Send>;

/// One source of measurements.
pub trait Source {
    /// The name in gaps, metrics and the status: `host.memory`. No two sources of a collector have the same.
    fn name(&self) -> &str;

    /// The metrics that are missing when it does not answer.
    fn metrics(&self) -> Vec<MetricPattern>;

    /// How often it is measured, and how long that may take.
    fn schedule(&self) -> Schedule;

    /// Measures on the collector's thread, so it must not block. The future is dropped when the timeout passes.
    fn measure(&mut self, now_ms: u64) -> Measurement<'_>;

    /// What goes on of a measurement that was dropped, because it cannot be cancelled. The source is not measured again
    /// before this ends.
    fn unfinished(&mut self) -> Option<LocalBoxFuture<'_, ()>> {
        None
    }
}

/// How often a source is measured, and how long that may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// In rounds that begin earlier than this after its last measurement, that one is repeated.
    pub interval: Duration,
    /// A measurement that takes longer is a failure.
    pub timeout: Duration,
}
