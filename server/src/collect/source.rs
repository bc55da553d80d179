//! One source of measurements, with a timeout, asked once a round and never by two at once. A probe of this machine is
//! asked on a thread that may block; while its answer is overdue it is not asked again. Azure is asked from here, and
//! what it does not say in time is given up.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use watchpost_policies::MetricPattern;

use super::azure::{self, Azure};
use super::probe::{Probe, Reading};
use crate::{clock, tasks};

/// Makes whom to ask; anew after it panicked.
pub type Make = Box<dyn Fn() -> Asked>;

/// Who is asked.
pub enum Asked {
    /// A part of this machine, or a database. It blocks.
    Probe(Box<dyn Probe>),
    /// Azure. It waits for others and lets us go on.
    Azure(Box<Azure>),
}

/// One source.
pub struct Source {
    make: Make,
    interval: Duration,
    timeout: Duration,
}

/// What the collector has to know of a source.
#[derive(Clone, Debug)]
pub struct Described {
    /// What it is called.
    pub name: &'static str,
    /// What is missing when it does not answer.
    pub metrics: Vec<MetricPattern>,
    /// How long it may take.
    pub timeout: Duration,
    /// How long an answer counts, where the next is not waited for.
    pub lasts: Duration,
}

/// What came of asking a source.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Which source.
    pub source: &'static str,
    /// The round that asked.
    pub round: u64,
    /// What it measured, or why it did not.
    pub outcome: Result<Reading, Trouble>,
    /// How long it took.
    pub took: Duration,
    /// When it answered, in milliseconds since 1970 (UTC).
    pub time_ms: u64,
}

/// Why a source did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// A sentence.
    pub why: String,
    /// Whether it is still busy with the question, and hears no other.
    pub overdue: bool,
}

impl Source {
    /// A source that is asked this often, and has this long to answer. In rounds between, its last answer counts.
    pub fn new(make: Make, interval: Duration, timeout: Duration) -> Self {
        Self {
            make,
            interval,
            timeout,
        }
    }

    /// What it is called, and what is missing when it does not answer.
    pub fn describe(&self) -> Described {
        let asked = (self.make)();
        Described {
            name: asked.name(),
            metrics: asked.metrics(),
            timeout: self.timeout,
            lasts: self.interval * 2 + self.timeout,
        }
    }

    /// Answers each round, until nobody asks any more.
    pub async fn run(self: std::rc::Rc<Self>, mut rounds: watch::Receiver<u64>, answers: mpsc::Sender<Answer>) {
        let mut asked = (self.make)();
        let source = asked.name();
        let mut last: Option<(Instant, Answer)> = None;
        while rounds.changed().await.is_ok() {
            let round = *rounds.borrow_and_update();
            let began = Instant::now();
            if let Some((at, answer)) = last.take_if(|(at, _)| !self.is_due(*at, began)) {
                let again = Answer { round, ..answer };
                last = Some((at, again.clone()));
                if answers.send(again).await.is_err() {
                    return;
                }
                continue;
            }
            let answer = |outcome| Answer {
                source,
                round,
                outcome,
                took: began.elapsed(),
                time_ms: clock::now_ms(),
            };
            let outcome = match asked {
                Asked::Azure(azure) => {
                    let (same, outcome) = self.of_azure(azure).await;
                    asked = same;
                    outcome
                }
                Asked::Probe(probe) => match self.of_probe(probe).await {
                    Ok((same, outcome)) => {
                        asked = same;
                        outcome
                    }
                    Err((late, why)) => {
                        let overdue = Trouble { why, overdue: true };
                        if answers.send(answer(Err(overdue))).await.is_err() {
                            return;
                        }
                        asked = match late.await {
                            Ok((mut probe, _)) => {
                                probe.was_not_heard();
                                Asked::Probe(probe)
                            }
                            Err(_) => (self.make)(),
                        };
                        log::warn!(source, took_ms = began.elapsed().as_millis() as u64; "a source answered too late");
                        continue;
                    }
                },
            };
            let answer = answer(outcome);
            // One that failed is asked again at once.
            last = answer.outcome.is_ok().then(|| (began, answer.clone()));
            if answers.send(answer).await.is_err() {
                return;
            }
        }
    }

    async fn of_azure(&self, mut azure: Box<Azure>) -> (Asked, Outcome) {
        let question = AssertUnwindSafe(azure.measure(clock::now_ms())).catch_unwind();
        match tokio::time::timeout(self.timeout, question).await {
            Ok(Ok(outcome)) => (Asked::Azure(azure), outcome.map_err(Trouble::of)),
            Ok(Err(panic)) => {
                let why = tasks::message_of(panic.as_ref());
                ((self.make)(), Err(Trouble::of_panic(&why)))
            }
            Err(_) => {
                let why = format!("it did not answer within {:?}", self.timeout);
                (Asked::Azure(azure), Err(Trouble::of(why)))
            }
        }
    }

    /// The error is an answer that is still under way.
    async fn of_probe(&self, mut probe: Box<dyn Probe>) -> Result<(Asked, Outcome), (Late, String)> {
        let now_ms = clock::now_ms();
        let mut question: Late = Box::pin(tasks::block(move || {
            let outcome = probe.measure(now_ms);
            (probe, outcome)
        }));
        match tokio::time::timeout(self.timeout, &mut question).await {
            Ok(Ok((probe, outcome))) => Ok((Asked::Probe(probe), outcome.map_err(Trouble::of))),
            Ok(Err(panic)) => Ok(((self.make)(), Err(Trouble::of_panic(&panic)))),
            Err(_) => {
                let timeout = self.timeout;
                let why = format!("it did not answer within {timeout:?}; it is not asked again until it does");
                Err((question, why))
            }
        }
    }

    /// Rounds begin a little early or late.
    fn is_due(&self, asked: Instant, now: Instant) -> bool {
        now.duration_since(asked) >= self.interval.mul_f64(0.95)
    }
}

type Outcome = Result<Reading, Trouble>;
type Late = Pin<Box<dyn Future<Output = Result<(Box<dyn Probe>, Result<Reading, String>), String>>>>;

impl Asked {
    fn name(&self) -> &'static str {
        match self {
            Self::Probe(probe) => probe.name(),
            Self::Azure(_) => azure::NAME,
        }
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        match self {
            Self::Probe(probe) => probe.metrics(),
            Self::Azure(azure) => azure.metrics(),
        }
    }
}

impl Trouble {
    fn of(why: String) -> Self {
        Self { why, overdue: false }
    }

    fn of_panic(panic: &str) -> Self {
        Self::of(format!("it panicked: {panic}; it begins anew"))
    }
}
