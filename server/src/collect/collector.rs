//! The collector: an actor that asks all sources once a round, puts together what they said, and publishes it. It
//! never waits for a source that is overdue from an earlier round.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout_at};
use watchpost_policies::{Gap, Labels, Snapshot};

use super::probe::Reading;
use super::source::{Answer, Described, Trouble};
pub use super::state::SourceState;
use crate::clock;
use crate::host_id::HostId;

/// Every source may have one answer under way, and one more that came late; more sources than this there are not.
pub const MAILBOX: usize = 64;

/// One round of measuring.
#[derive(Clone, Debug)]
pub struct Round {
    /// The machine that was measured.
    pub host: HostId,
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

/// What the collector needs to know.
pub struct Options {
    /// What measurements call this machine.
    pub host: HostId,
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
    /// The last good answers of those that no round waits for; none, where all failed so far.
    slow: BTreeMap<&'static str, Option<Good>>,
}

/// What a source measured.
struct Good {
    reading: Reading,
    time_ms: u64,
}

/// What sources said in a round; nothing, where they failed.
type Heard = BTreeMap<&'static str, Option<Reading>>;

impl Collector {
    /// An actor that asks by `asking` and hears by `answers`.
    pub fn new(
        options: Rc<Options>,
        asking: watch::Sender<u64>,
        answers: mpsc::Receiver<Answer>,
        published: watch::Sender<Option<Arc<Round>>>,
    ) -> Self {
        // One before us may have panicked; how often sources failed is told since the start of the process.
        let last = published.borrow().clone();
        let states = last.map(|round| round.sources.clone()).unwrap_or_default();
        Self {
            options,
            asking,
            answers,
            published,
            states,
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
        let heard = self.hear(number).await;
        let snapshot = Arc::new(self.put_together(&heard));
        let round = Round {
            host: self.options.host.clone(),
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
    async fn hear(&mut self, number: u64) -> Heard {
        // Those that are waited for keep to their own timeout; this is for what lies between them and us.
        let until = Instant::now() + self.options.timeout + Duration::from_millis(500);
        let mut heard = Heard::new();
        while let Ok(late) = self.answers.try_recv() {
            self.note(late, number, &mut heard);
        }
        while !self.is_complete(&heard) {
            let Ok(Some(answer)) = timeout_at(until.into(), self.answers.recv()).await else {
                break;
            };
            self.note(answer, number, &mut heard);
        }
        let now_ms = clock::now_ms();
        for source in &self.options.sources {
            let last = self.slow.get(source.name).and_then(Option::as_ref);
            let lasts = |good: &&Good| u128::from(now_ms.saturating_sub(good.time_ms)) <= source.lasts.as_millis();
            if let Some(good) = last.filter(lasts) {
                heard.insert(source.name, Some(good.reading.clone()));
            }
        }
        heard
    }

    fn is_complete(&self, heard: &Heard) -> bool {
        let is_heard =
            |name: &&str| heard.contains_key(name) || self.overdue.contains(name) || self.slow.contains_key(name);
        self.options.sources.iter().all(|source| is_heard(&source.name))
    }

    fn is_slow(&self, name: &str) -> bool {
        let source = self.options.sources.iter().find(|source| source.name == name);
        source.is_some_and(|source| source.timeout > self.options.timeout)
    }

    /// Every answer counts once, in the round that hears it. One to an earlier round counts only of those that no
    /// round waits for.
    fn note(&mut self, answer: Answer, number: u64, heard: &mut Heard) {
        match &answer.outcome {
            Err(Trouble { overdue: true, .. }) => self.overdue.insert(answer.source),
            _ => self.overdue.remove(answer.source),
        };
        let (name, took, time_ms) = (answer.source, answer.took, answer.time_ms);
        let is_slow = self.is_slow(name);
        if !is_slow && answer.round != number {
            return;
        }
        let state = self.states.entry(name).or_default();
        let reading = match answer.outcome {
            Ok(reading) => {
                state.answered(name, took, time_ms);
                Some(reading)
            }
            Err(trouble) => {
                state.failed(name, took, trouble.why);
                None
            }
        };
        if !is_slow {
            heard.insert(name, reading);
            return;
        }
        // What failed does not take away what was measured before.
        let last = self.slow.entry(name).or_default();
        if let Some(reading) = reading {
            *last = Some(Good { reading, time_ms });
        }
    }

    fn put_together(&mut self, heard: &Heard) -> Snapshot {
        let mut whole = Reading::default();
        for Described { name, metrics, .. } in &self.options.sources {
            let is_slow = self.is_slow(name);
            let state = self.states.entry(name).or_default();
            if let Some(Some(reading)) = heard.get(name) {
                state.samples = reading.samples.len();
                whole.samples.extend(reading.samples.iter().cloned());
                whole.gaps.extend(reading.gaps.iter().cloned());
                continue;
            }
            match heard.contains_key(name) || is_slow {
                true => state.has_nothing(name),
                false => state.was_missed(name),
            }
            state.samples = 0;
            whole.gaps.push(Gap {
                source: (*name).to_owned(),
                metrics: metrics.clone(),
                reason: state.error.clone().unwrap_or_default(),
            });
        }
        let now_ms = clock::now_ms();
        for state in self.states.values_mut() {
            state.age_seconds = state
                .last_success_ms
                .map(|at| now_ms.saturating_sub(at) as f64 / 1000.0);
        }
        let Options { host, facts, .. } = &*self.options;
        Snapshot::new(
            host.to_string(),
            clock::now_ms(),
            facts.clone(),
            whole.samples,
            whole.gaps,
        )
    }
}
