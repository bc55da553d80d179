//! One source of measurements: a probe with a timeout, asked once a round. It is asked on a thread that may block,
//! and never by two at once: while an answer is overdue, the source is not asked again.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use watchpost_policies::MetricPattern;

use super::probe::{Probe, Reading};
use crate::{clock, tasks};

/// Makes a probe; anew after it panicked.
pub type MakeProbe = Box<dyn Fn() -> Box<dyn Probe>>;

/// One source.
pub struct Source {
    make: MakeProbe,
    interval: Duration,
    timeout: Duration,
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
    pub fn new(make: MakeProbe, interval: Duration, timeout: Duration) -> Self {
        Self {
            make,
            interval,
            timeout,
        }
    }

    /// What it is called, and what is missing when it does not answer.
    pub fn describe(&self) -> (&'static str, Vec<MetricPattern>) {
        let probe = (self.make)();
        (probe.name(), probe.metrics())
    }

    /// Answers each round, until nobody asks any more.
    pub async fn run(self: std::rc::Rc<Self>, mut rounds: watch::Receiver<u64>, answers: mpsc::Sender<Answer>) {
        let mut probe = (self.make)();
        let source = probe.name();
        let mut last: Option<(Instant, Answer)> = None;
        while rounds.changed().await.is_ok() {
            let round = *rounds.borrow_and_update();
            let began = Instant::now();
            if let Some((asked, answer)) = last.as_ref().filter(|(asked, _)| !self.is_due(*asked, began)) {
                let again = Answer {
                    round,
                    ..answer.clone()
                };
                last = Some((*asked, again.clone()));
                if answers.send(again).await.is_err() {
                    return;
                }
                continue;
            }
            let answer = |outcome: Result<Reading, (String, bool)>| Answer {
                source,
                round,
                outcome: outcome.map_err(|(why, overdue)| Trouble { why, overdue }),
                took: began.elapsed(),
                time_ms: clock::now_ms(),
            };
            let now_ms = clock::now_ms();
            let mut asked = Box::pin(tasks::block(move || {
                let outcome = probe.measure(now_ms);
                (probe, outcome)
            }));
            let answered = match tokio::time::timeout(self.timeout, &mut asked).await {
                Ok(answered) => answered,
                Err(_) => {
                    let why = format!(
                        "it did not answer within {:?}; it is not asked again until it does",
                        self.timeout
                    );
                    if answers.send(answer(Err((why, true)))).await.is_err() {
                        return;
                    }
                    let late = asked.await;
                    log::warn!(source, took_ms = began.elapsed().as_millis() as u64; "a source answered too late");
                    probe = late.map_or_else(|_| (self.make)(), |(probe, _)| probe);
                    continue;
                }
            };
            let outcome = match answered {
                Ok((same, outcome)) => {
                    probe = same;
                    outcome
                }
                Err(panic) => {
                    probe = (self.make)();
                    Err(format!("it panicked: {panic}; it begins anew"))
                }
            };
            let answer = answer(outcome.map_err(|why| (why, false)));
            // One that failed is asked again at once.
            last = answer.outcome.is_ok().then(|| (began, answer.clone()));
            if answers.send(answer).await.is_err() {
                return;
            }
        }
    }

    /// Rounds begin a little early or late.
    fn is_due(&self, asked: Instant, now: Instant) -> bool {
        now.duration_since(asked) >= self.interval.mul_f64(0.95)
    }
}
