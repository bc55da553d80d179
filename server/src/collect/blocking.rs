//! Runs a probe as a source, on a thread that may block. A thread cannot be cancelled, so a timed-out
//! measurement keeps running, and the probe is not measured again before it ends.

use std::panic::resume_unwind;

use futures_util::future::LocalBoxFuture;
use watchpost_policies::MetricPattern;

use super::probe::{Probe, Reading};
use super::source::{Measurement, Schedule, Source};
use crate::tasks;

/// A probe and its thread.
pub struct Blocking {
    name: &'static str,
    metrics: Vec<MetricPattern>,
    schedule: Schedule,
    is_refreshable: bool,
    state: State,
}

enum State {
    Idle(Box<dyn Probe>),
    /// The thread owns the probe.
    Measuring(Thread),
    /// The thread panicked and the probe is lost. The runner recreates the source.
    Lost,
}

/// The error is the message of a panic.
type Thread = LocalBoxFuture<'static, Result<(Box<dyn Probe>, Result<Reading, String>), String>>;

/// What the thread does with the probe.
type Work = fn(&mut dyn Probe, u64) -> Result<Reading, String>;

impl Blocking {
    /// Creates a source that measures the probe.
    pub fn new(probe: Box<dyn Probe>, schedule: Schedule) -> Self {
        Self {
            name: probe.name(),
            metrics: probe.metrics(),
            schedule,
            is_refreshable: false,
            state: State::Idle(probe),
        }
    }

    /// The same source, which scrapes measure between rounds too.
    pub fn refreshable(self) -> Self {
        Self {
            is_refreshable: true,
            ..self
        }
    }

    async fn run(&mut self, work: Work, now_ms: u64) -> Result<Reading, String> {
        self.discard().await;
        self.begin(work, now_ms);
        let outcome = self.end().await;
        outcome.unwrap_or_else(|| Err("it panicked earlier".to_owned()))
    }

    fn begin(&mut self, work: Work, now_ms: u64) {
        self.state = match std::mem::replace(&mut self.state, State::Lost) {
            State::Idle(mut probe) => State::Measuring(Box::pin(tasks::block(move || {
                let outcome = work(probe.as_mut(), now_ms);
                (probe, outcome)
            }))),
            other => other,
        };
    }

    /// Waits for the thread, if one is running. Cancelling this keeps the thread for the next call. A panic of
    /// the thread is resumed here.
    async fn end(&mut self) -> Option<Result<Reading, String>> {
        let State::Measuring(thread) = &mut self.state else {
            return None;
        };
        match thread.await {
            Ok((probe, outcome)) => {
                self.state = State::Idle(probe);
                Some(outcome)
            }
            Err(panic) => {
                self.state = State::Lost;
                resume_unwind(Box::new(panic))
            }
        }
    }

    async fn discard(&mut self) {
        if self.end().await.is_some()
            && let State::Idle(probe) = &mut self.state
        {
            probe.on_discarded();
        }
    }
}

impl Source for Blocking {
    fn name(&self) -> &str {
        self.name
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        self.metrics.clone()
    }

    fn schedule(&self) -> Schedule {
        self.schedule
    }

    fn measure(&mut self, now_ms: u64) -> Measurement<'_> {
        Box::pin(self.run(|probe, now_ms| probe.measure(now_ms), now_ms))
    }

    fn is_refreshable(&self) -> bool {
        self.is_refreshable
    }

    fn refresh(&mut self, now_ms: u64) -> Measurement<'_> {
        Box::pin(self.run(|probe, now_ms| probe.refresh(now_ms), now_ms))
    }

    fn unfinished(&mut self) -> Option<LocalBoxFuture<'_, ()>> {
        match self.state {
            State::Measuring(_) => Some(Box::pin(self.discard())),
            State::Idle(_) | State::Lost => None,
        }
    }
}
