//! Measures one source, once a round and with its timeout, and tells the collector what came of it. A source whose
//! measurement goes on after its timeout is not measured again before that ends.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};

use super::probe::Reading;
use super::source::{MakeSource, Schedule, Source};
use crate::{clock, tasks};

/// What came of measuring a source.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// Which source: no other, and none that had its name before, has this number.
    pub source: u64,
    /// The round that asked.
    pub round: u64,
    /// What it measured, or why it did not.
    pub outcome: Result<Reading, ProbeError>,
    /// How long it took.
    pub took: Duration,
    /// When it answered, in milliseconds since 1970 (UTC).
    pub time_ms: u64,
}

/// Why a source did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProbeError {
    /// A sentence.
    pub why: String,
    /// Whether it is still busy with the question, and hears no other.
    pub timed_out: bool,
}

/// One source at work.
pub(super) struct Runner {
    /// The number of the source in its answers.
    pub number: u64,
    /// The source.
    pub source: Box<dyn Source>,
    /// Makes it anew.
    pub make: MakeSource,
    /// The number of the round that wants to be answered.
    pub rounds: watch::Receiver<u64>,
    /// Who hears the answers.
    pub answers: mpsc::Sender<Answer>,
}

impl Runner {
    /// Answers each round, until nobody asks or listens any more.
    pub(super) async fn run(mut self) {
        let name: Arc<str> = self.source.name().into();
        let mut last: Option<(Instant, Answer)> = None;
        while self.rounds.changed().await.is_ok() {
            let round = *self.rounds.borrow_and_update();
            let began = Instant::now();
            let schedule = self.source.schedule();
            if let Some((at, answer)) = last.take_if(|(at, _)| !is_due(schedule, *at, began)) {
                let again = Answer { round, ..answer };
                last = Some((at, again.clone()));
                if self.answers.send(again).await.is_err() {
                    return;
                }
                continue;
            }
            let outcome = self.measure(schedule).await;
            let is_overdue = matches!(outcome, Err(ProbeError { timed_out: true, .. }));
            let answer = Answer {
                source: self.number,
                round,
                outcome,
                took: began.elapsed(),
                time_ms: clock::now_ms(),
            };
            // One that failed is asked again at once.
            last = answer.outcome.is_ok().then(|| (began, answer.clone()));
            if self.answers.send(answer).await.is_err() {
                return;
            }
            if is_overdue {
                self.finish().await;
                log::warn!(source = &*name, duration_ms = began.elapsed().as_millis() as u64; "a source answered too late");
            }
        }
    }

    async fn measure(&mut self, Schedule { timeout, .. }: Schedule) -> Result<Reading, ProbeError> {
        // In a block, so that a panic before the first wait is caught too.
        let source = &mut self.source;
        let measured = AssertUnwindSafe(async { source.measure(clock::now_ms()).await }).catch_unwind();
        match tokio::time::timeout(timeout, measured).await {
            Ok(Ok(outcome)) => outcome.map_err(ProbeError::of),
            Ok(Err(panic)) => {
                let panic = tasks::message_of(panic.as_ref());
                self.source = (self.make)();
                Err(ProbeError::of(format!("it panicked: {panic}; it begins anew")))
            }
            Err(_) if self.source.unfinished().is_some() => {
                let why = format!("it did not answer within {timeout:?}; it is not asked again until it does");
                Err(ProbeError { why, timed_out: true })
            }
            Err(_) => Err(ProbeError::of(format!("it did not answer within {timeout:?}"))),
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

/// Rounds begin a little early or late.
fn is_due(schedule: Schedule, asked: Instant, now: Instant) -> bool {
    now.duration_since(asked) >= schedule.interval.mul_f64(0.95)
}

impl ProbeError {
    fn of(why: String) -> Self {
        Self { why, timed_out: false }
    }
}
