//! Measures one source, once per round or refresh and with its timeout, and sends the result to the collector. A
//! source whose measurement outlives its timeout is not measured again before that ends.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};

use super::probe::Reading;
use super::source::{MakeSource, Schedule, Source};
use crate::{clock, tasks};

/// The numbers of the latest round and of the latest refresh that a source is measured for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Requests {
    pub round: u64,
    pub refresh: u64,
}

/// The number of the round or of the refresh that a result belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Round(u64),
    Refresh(u64),
}

/// The result of measuring a source.
#[derive(Clone, Debug)]
pub(super) struct SourceResult {
    /// The unique number of the source, which is never reused.
    pub source: u64,
    /// What requested it.
    pub request: Request,
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
    number: u64,
    source: Box<dyn Source>,
    /// Recreates the source after a panic.
    make: MakeSource,
    requests: watch::Receiver<Requests>,
    /// The channel to the collector.
    answers: mpsc::Sender<SourceResult>,
    /// The last successful measurement for a round, with its start.
    last: Option<(Instant, SourceResult)>,
}

impl Runner {
    /// A runner of the source that `make` made. Requests count from now on.
    pub(super) fn new(
        number: u64,
        (source, make): (Box<dyn Source>, MakeSource),
        requests: watch::Receiver<Requests>,
        answers: mpsc::Sender<SourceResult>,
    ) -> Self {
        Self {
            number,
            source,
            make,
            requests,
            answers,
            last: None,
        }
    }

    /// Measures at each request, until the collector is dropped.
    pub(super) async fn run(mut self) {
        let mut handled = Requests::default();
        while self.requests.changed().await.is_ok() {
            let requests = *self.requests.borrow_and_update();
            let (round, refresh) = (requests.round, requests.refresh);
            let new = [
                (round != handled.round).then_some(Request::Round(round)),
                (refresh != handled.refresh).then_some(Request::Refresh(refresh)),
            ];
            handled = requests;
            for request in new.into_iter().flatten() {
                if self.answer(request).await.is_err() {
                    return;
                }
            }
        }
    }

    /// The error says that the collector is gone.
    async fn answer(&mut self, request: Request) -> Result<(), mpsc::error::SendError<SourceResult>> {
        let started = Instant::now();
        let schedule = self.source.schedule();
        let is_round = matches!(request, Request::Round(_));
        if is_round
            && let Some((at, last)) = &self.last
            && !is_due(schedule, *at, started)
        {
            let again = SourceResult {
                request,
                ..last.clone()
            };
            return self.answers.send(again).await;
        }
        let outcome = self.measure(request, schedule).await;
        let is_overdue = matches!(outcome, Err(ProbeError { timed_out: true, .. }));
        let answer = SourceResult {
            source: self.number,
            request,
            outcome,
            duration: started.elapsed(),
            time_ms: clock::now_ms(),
        };
        if is_round {
            // A failed source is measured again in the next round.
            self.last = answer.outcome.is_ok().then(|| (started, answer.clone()));
        }
        self.answers.send(answer).await?;
        if is_overdue {
            self.finish().await;
            let duration_ms = started.elapsed().as_millis() as u64;
            log::warn!(source = self.source.name(), duration_ms; "a source's result arrived after its timeout");
        }
        Ok(())
    }

    async fn measure(&mut self, request: Request, Schedule { timeout, .. }: Schedule) -> Result<Reading, ProbeError> {
        // In an async block, so that a panic before the first await is caught too.
        let source = &mut self.source;
        let measurement = async {
            match request {
                Request::Round(_) => source.measure(clock::now_ms()).await,
                Request::Refresh(_) => source.refresh(clock::now_ms()).await,
            }
        };
        let measured = AssertUnwindSafe(measurement).catch_unwind();
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
