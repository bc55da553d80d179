//! The collector: an actor that asks all sources once a round, puts together what they said, and publishes it. It
//! never waits for a source that is overdue from an earlier round.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout_at};
use watchpost_policies::{Gap, Labels, Snapshot};

use super::probe::Reading;
use super::source::{Answer, Described, Trouble};
use crate::clock;

/// Every source may have one answer under way, and one more that came late; more sources than this there are not.
pub const MAILBOX: usize = 64;

/// One round of measuring.
#[derive(Clone, Debug)]
pub struct Round {
    /// Its number, from one.
    pub number: u64,
    /// What was measured.
    pub snapshot: Arc<Snapshot>,
    /// When it began, in milliseconds since 1970 (UTC).
    pub began_ms: u64,
    /// How long it took.
    pub took: Duration,
    /// How each source did.
    pub sources: BTreeMap<&'static str, SourceState>,
}

/// How a source did.
#[derive(Clone, Debug, Serialize)]
pub struct SourceState {
    /// Whether it answered in this round.
    pub success: bool,
    /// How long its last answer took, in seconds.
    pub duration_seconds: f64,
    /// When it answered with measurements the last time, in milliseconds since 1970 (UTC).
    pub last_success_ms: Option<u64>,
    /// How old that answer is, in seconds.
    pub age_seconds: Option<f64>,
    /// How often it failed since the start.
    pub failures: u64,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How many samples it gave.
    pub samples: usize,
}

/// What the collector needs to know.
pub struct Options {
    /// What measurements call this machine.
    pub host: String,
    /// What else is known about it.
    pub facts: Labels,
    /// How often a round begins.
    pub interval: Duration,
    /// How long a round waits. Of sources that may take longer, the last answer counts until the next is there.
    pub timeout: Duration,
    /// The sources.
    pub sources: Vec<Described>,
}

/// The actor.
pub struct Collector {
    options: Rc<Options>,
    asking: watch::Sender<u64>,
    answers: mpsc::Receiver<Answer>,
    published: watch::Sender<Option<Arc<Round>>>,
    states: BTreeMap<&'static str, SourceState>,
    /// Who is still busy with an earlier question.
    overdue: BTreeSet<&'static str>,
    /// The last answers of those that no round waits for.
    slow: BTreeMap<&'static str, Answer>,
}

impl Collector {
    /// An actor that asks by `asking` and hears by `answers`.
    pub fn new(
        options: Rc<Options>,
        asking: watch::Sender<u64>,
        answers: mpsc::Receiver<Answer>,
        published: watch::Sender<Option<Arc<Round>>>,
    ) -> Self {
        Self {
            options,
            asking,
            answers,
            published,
            states: BTreeMap::new(),
            overdue: BTreeSet::new(),
            slow: BTreeMap::new(),
        }
    }

    /// Measures round after round.
    pub async fn run(&mut self) {
        let mut ticks = interval(self.options.interval);
        // After a pause (the machine slept) one round is enough.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.round().await;
        }
    }

    async fn round(&mut self) {
        let number = *self.asking.borrow() + 1;
        let (began, began_ms) = (Instant::now(), clock::now_ms());
        self.asking.send_replace(number);
        let answers = self.hear(number).await;
        let snapshot = Arc::new(self.put_together(&answers));
        let round = Round {
            number,
            snapshot,
            began_ms,
            took: began.elapsed(),
            sources: self.states.clone(),
        };
        self.published.send_replace(Some(Arc::new(round)));
    }

    /// Hears the answers to this round. A source that is still busy with an earlier question has not heard this
    /// one and is not waited for.
    async fn hear(&mut self, number: u64) -> BTreeMap<&'static str, Answer> {
        // Those that are waited for keep to their own timeout; this is for what lies between them and us.
        let until = Instant::now() + self.options.timeout + Duration::from_millis(500);
        let mut heard = BTreeMap::new();
        while let Ok(late) = self.answers.try_recv() {
            self.note(late, number, &mut heard);
        }
        while !self.is_complete(&heard) {
            let Ok(Some(answer)) = timeout_at(until.into(), self.answers.recv()).await else {
                break;
            };
            self.note(answer, number, &mut heard);
        }
        for (name, answer) in &self.slow {
            let lasts = self.options.sources.iter().find(|source| source.name == *name);
            let age_ms = clock::now_ms().saturating_sub(answer.time_ms);
            if lasts.is_some_and(|source| u128::from(age_ms) <= source.lasts.as_millis()) {
                heard.entry(*name).or_insert_with(|| answer.clone());
            }
        }
        heard
    }

    fn is_complete(&self, heard: &BTreeMap<&'static str, Answer>) -> bool {
        let is_heard =
            |name: &&str| heard.contains_key(name) || self.overdue.contains(name) || self.slow.contains_key(name);
        self.options.sources.iter().all(|source| is_heard(&source.name))
    }

    fn is_slow(&self, name: &str) -> bool {
        let source = self.options.sources.iter().find(|source| source.name == name);
        source.is_some_and(|source| source.timeout > self.options.timeout)
    }

    fn note(&mut self, answer: Answer, number: u64, heard: &mut BTreeMap<&'static str, Answer>) {
        match &answer.outcome {
            Err(Trouble { overdue: true, .. }) => self.overdue.insert(answer.source),
            _ => self.overdue.remove(answer.source),
        };
        if self.is_slow(answer.source) {
            self.slow.insert(answer.source, answer);
        } else if answer.round == number {
            heard.insert(answer.source, answer);
        }
    }

    fn put_together(&mut self, answers: &BTreeMap<&'static str, Answer>) -> Snapshot {
        let mut whole = Reading::default();
        for Described { name, metrics, .. } in &self.options.sources {
            let state = self.states.entry(name).or_insert(SourceState {
                success: false,
                duration_seconds: 0.0,
                last_success_ms: None,
                age_seconds: None,
                failures: 0,
                error: None,
                samples: 0,
            });
            match answers.get(name) {
                Some(Answer {
                    outcome: Ok(reading),
                    took,
                    time_ms,
                    ..
                }) => {
                    if !state.success && state.failures > 0 {
                        log::info!(source = *name; "a source answers again");
                    }
                    (state.success, state.error) = (true, None);
                    state.duration_seconds = took.as_secs_f64();
                    state.last_success_ms = Some(*time_ms);
                    state.samples = reading.samples.len();
                    whole.samples.extend(reading.samples.iter().cloned());
                    whole.gaps.extend(reading.gaps.iter().cloned());
                }
                failed => {
                    let why = match failed {
                        Some(Answer {
                            outcome: Err(trouble),
                            took,
                            ..
                        }) => {
                            state.duration_seconds = took.as_secs_f64();
                            trouble.why.clone()
                        }
                        _ => state
                            .error
                            .clone()
                            .unwrap_or_else(|| "it has not answered yet".to_owned()),
                    };
                    if state.success || state.error.is_none() {
                        log::warn!(source = *name, reason = why.as_str(); "a source does not answer");
                    }
                    state.failures += 1;
                    (state.success, state.samples) = (false, 0);
                    whole.gaps.push(Gap {
                        source: (*name).to_owned(),
                        metrics: metrics.clone(),
                        reason: why.clone(),
                    });
                    state.error = Some(why);
                }
            }
        }
        let now_ms = clock::now_ms();
        for state in self.states.values_mut() {
            state.age_seconds = state
                .last_success_ms
                .map(|at| now_ms.saturating_sub(at) as f64 / 1000.0);
        }
        let Options { host, facts, .. } = &*self.options;
        Snapshot::new(host.clone(), clock::now_ms(), facts.clone(), whole.samples, whole.gaps)
    }
}
