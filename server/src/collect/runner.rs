//! Measures one source, once per round and with its timeout, and sends the result to the collector. A source
//! whose measurement outlives its timeout is not measured again before that ends.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};

use super::probe::Reading;
use super::source::{MakeSource, Schedule, Source};
use crate::{clock, tasks};

/// The result of measuring a source.
#[derive(Clone, Debug)]
pub(super) struct SourceResult {
    /// The unique number of the source, which is never reused.
    pub source: u64,
    /// The round that requested it.
    pub round: u64,
    /// The reading or the error.
    pub outcome: Result<Reading, ProbeError>,
    pub duration: Duration,
    /// When the measurement ended, in milliseconds since 1970 (UTC).
    pub time_ms: u64,
}

/// Why a source has no reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProbeError {
    pub reason: String,
    /// Whether the measurement is still running, so that the source cannot be measured again yet.
    pub timed_out: bool,
}

/// The task of one source.
pub(super) struct Runner {
    /// The number of the source in its results.
    pub number: u64,
    pub source: Box<dyn Source>,
    /// Recreates the source after a panic.
    pub make: MakeSource,
    /// The number of the current round.
    pub rounds: watch::Receiver<u64>,
    /// The channel to the collector.
    pub answers: mpsc::Sender<SourceResult>,
}

impl Runner {
    /// Measures in each round, until the collector is dropped.
    pub(super) async fn run(mut self) {
        let name: Arc<str> = self.source.name().into();
        let mut last: Option<(Instant, SourceResult)> = None;
        while self.rounds.changed().await.is_ok() {
            let round = *self.rounds.borrow_and_update();
            let started = Instant::now();
            let schedule = self.source.schedule();
            if let Some((at, answer)) = last.take_if(|(at, _)| !is_due(schedule, *at, started)) {
                let again = SourceResult { round, ..answer };
                last = Some((at, again.clone()));
                if self.answers.send(again).await.is_err() {
                    return;
                }
                continue;
            }
            let outcome = self.measure(schedule).await;
            let is_overdue = matches!(outcome, Err(ProbeError { timed_out: true, .. }));
            let answer = SourceResult {
                source: self.number,
                round,
                outcome,
                duration: started.elapsed(),
                time_ms: clock::now_ms(),
            };
            // A failed source is measured again in the next round.
            last = answer.outcome.is_ok().then(|| (started, answer.clone()));
            if self.answers.send(answer).await.is_err() {
                return;
            }
            if is_overdue {
                self.finish().await;
                log::warn!(source = &*name, duration_ms = started.elapsed().as_millis() as u64; "a source's result arrived after its timeout");
            }
        }
    }

    async fn measure(&mut self, Schedule { timeout, .. }: Schedule) -> Result<Reading, ProbeError> {
        // In an async block, so that a panic before the first await is caught too.
        let source = &mut self.source;
        let measured = AssertUnwindSafe(async { source.measure(clock::now_ms()).await }).catch_unwind();
        match tokio::time::timeout(timeout, measured).await {
            Ok(Ok(outcome)) => outcome.map_err(ProbeError::of),
            Ok(Err(panic)) => {
                let panic = tasks::message_of(panic.as_ref());
                self.source = (self.make)();
                Err(ProbeError::of(format!("it panicked: {panic}; it was restarted")))
            }
            Err(_) if self.source.unfinished().is_some() => {
                let reason =
                    format!("no result within {timeout:?}; it is not measured again until this measurement ends");
                Err(ProbeError {
                    reason,
                    timed_out: true,
                })
            }
            Err(_) => Err(ProbeError::of(format!("no result within {timeout:?}"))),
        }
    }

    async fn finish(&mut self) {
        let Some(unfinished) = self.source.unfinished() else {
            return;
        };
        if AssertUnwindSafe(unfinished).catch_unwind().await.is_err() {
            self.source = (self.make)();
        }
    }
}

/// The tolerance for rounds that start slightly early.
fn is_due(schedule: Schedule, last: Instant, now: Instant) -> bool {
    now.duration_since(last) >= schedule.interval.mul_f64(0.95)
}

impl ProbeError {
    fn of(reason: String) -> Self {
        Self {
            reason,
            timed_out: false,
        }
    }
}
