//! The collector: an actor that asks all sources once a round, puts together what they said, and publishes it. It
//! never waits for a source that is overdue from an earlier round. Sources come and go while it runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use watchpost_policies::{Gap, Labels, MetricPattern, Snapshot};

use super::handle::{Message, SourceError};
use super::probe::Reading;
use super::runner::{Answer, ProbeError, Runner};
use super::source::{MakeSource, Schedule};
pub use super::state::SourceState;
use crate::host_id::HostId;
use crate::{clock, tasks};

/// So many answers wait for the collector; a source whose answer finds no room waits with it.
const MAILBOX: usize = 64;

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
    /// How each source did, by its name.
    pub sources: BTreeMap<Arc<str>, SourceState>,
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
}

/// The actor.
pub struct Collector {
    options: Options,
    messages: mpsc::Receiver<Message>,
    /// The number of the latest round.
    asking: watch::Sender<u64>,
    answers: mpsc::Receiver<Answer>,
    /// Where the sources answer.
    answering: mpsc::Sender<Answer>,
    published: watch::Sender<Option<Arc<Round>>>,
    /// In the order in which they were added.
    sources: Vec<Member>,
    /// How many sources there have been.
    added: u64,
}

/// A source that takes part.
struct Member {
    number: u64,
    name: Arc<str>,
    metrics: Vec<MetricPattern>,
    schedule: Schedule,
    /// The first round that asks it.
    first_round: u64,
    state: SourceState,
    /// Whether it is still busy with an earlier question.
    is_overdue: bool,
    /// The last good answer of one that no round waits for.
    last_good: Option<Good>,
    /// Whether it answered before, be it that it failed.
    has_answered: bool,
    /// The source works as long as this is kept.
    _runner: tasks::Owned,
}

/// What a source measured.
struct Good {
    reading: Reading,
    time_ms: u64,
}

/// What sources said in a round, by their numbers; nothing, where they failed.
type Heard = BTreeMap<u64, Option<Reading>>;

impl Collector {
    /// An actor without sources, that is told to add some by `messages`.
    pub(super) fn new(
        options: Options,
        messages: mpsc::Receiver<Message>,
        published: watch::Sender<Option<Arc<Round>>>,
    ) -> Self {
        let (answering, answers) = mpsc::channel(MAILBOX);
        Self {
            options,
            messages,
            asking: watch::Sender::new(0),
            answers,
            answering,
            published,
            sources: Vec::new(),
            added: 0,
        }
    }

    /// Measures round after round.
    pub async fn run(&mut self) {
        let mut ticks = interval(self.options.interval);
        // After a pause (the machine slept) one round is enough.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(message) = self.messages.recv() => self.obey(message),
                _ = ticks.tick() => self.round().await,
            }
        }
    }

    /// Adds a source, which is asked from the next round on.
    pub fn add_source(&mut self, make: MakeSource) -> Result<(), SourceError> {
        let source = make();
        if self.sources.iter().any(|other| *other.name == *source.name()) {
            return Err(SourceError::Exists(source.name().to_owned()));
        }
        self.added += 1;
        let (number, name, metrics) = (self.added, source.name().into(), source.metrics());
        let schedule = source.schedule();
        let runner = Runner {
            number,
            source,
            make,
            rounds: self.asking.subscribe(),
            answers: self.answering.clone(),
        };
        self.sources.push(Member {
            number,
            name,
            metrics,
            schedule,
            first_round: *self.asking.borrow() + 1,
            state: SourceState::default(),
            is_overdue: false,
            last_good: None,
            has_answered: false,
            _runner: tasks::spawn_owned(runner.run()),
        });
        Ok(())
    }

    fn remove_source(&mut self, name: &str) -> Result<(), SourceError> {
        let at = self.sources.iter().position(|source| *source.name == *name);
        let at = at.ok_or_else(|| SourceError::Unknown(name.to_owned()))?;
        self.sources.remove(at);
        Ok(())
    }

    fn obey(&mut self, message: Message) {
        // Who asked may not wait for the answer any more; it is done all the same.
        match message {
            Message::AddSource { make, reply } => drop(reply.send(self.add_source(make))),
            Message::RemoveSource { name, reply } => drop(reply.send(self.remove_source(&name))),
        }
    }

    async fn round(&mut self) {
        let number = *self.asking.borrow() + 1;
        let (began, began_ms) = (Instant::now(), clock::now_ms());
        self.asking.send_replace(number);
        let heard = self.hear(number).await;
        let snapshot = Arc::new(self.put_together(number, &heard));
        let asked = self.sources.iter().filter(|source| source.first_round <= number);
        let round = Round {
            host: self.options.host.clone(),
            number,
            snapshot,
            began_ms,
            took: began.elapsed(),
            sources: asked
                .map(|source| (source.name.clone(), source.state.clone()))
                .collect(),
        };
        self.published.send_replace(Some(Arc::new(round)));
    }

    /// Hears the answers to this round. A source that is still busy with an earlier question has not heard this
    /// one and is not waited for; nor is one that was removed meanwhile.
    async fn hear(&mut self, number: u64) -> Heard {
        // Those that are waited for keep to their own timeout; this is for what lies between them and us.
        let until = Instant::now() + self.options.timeout + Duration::from_millis(500);
        let mut heard = Heard::new();
        while let Ok(late) = self.answers.try_recv() {
            self.note(late, number, &mut heard);
        }
        while self.sources.iter().any(|source| source.is_awaited(number, &heard)) {
            tokio::select! {
                Some(answer) = self.answers.recv() => self.note(answer, number, &mut heard),
                Some(message) = self.messages.recv() => self.obey(message),
                () = sleep_until(until.into()) => break,
            }
        }
        let now_ms = clock::now_ms();
        for source in &self.sources {
            if let Some(reading) = source.lasting(now_ms) {
                heard.insert(source.number, Some(reading.clone()));
            }
        }
        heard
    }

    /// Every answer counts once, in the round that hears it. One to an earlier round counts only of those that no
    /// round waits for.
    fn note(&mut self, answer: Answer, number: u64, heard: &mut Heard) {
        // It may be of one that was removed.
        let Some(source) = self.sources.iter_mut().find(|source| source.number == answer.source) else {
            return;
        };
        source.is_overdue = matches!(answer.outcome, Err(ProbeError { timed_out: true, .. }));
        let is_slow = source.is_slow(self.options.timeout);
        if !is_slow && answer.round != number {
            return;
        }
        let Answer { took, time_ms, .. } = answer;
        let reading = match answer.outcome {
            Ok(reading) => {
                source.state.answered(&source.name, took, time_ms);
                Some(reading)
            }
            Err(trouble) => {
                source.state.failed(&source.name, took, trouble.why);
                None
            }
        };
        if !is_slow {
            heard.insert(source.number, reading);
            return;
        }
        source.has_answered = true;
        // What failed does not take away what was measured before.
        if let Some(reading) = reading {
            source.last_good = Some(Good { reading, time_ms });
        }
    }

    fn put_together(&mut self, number: u64, heard: &Heard) -> Snapshot {
        let mut whole = Reading::default();
        let now_ms = clock::now_ms();
        for source in self.sources.iter_mut().filter(|source| source.first_round <= number) {
            let is_slow = source.is_slow(self.options.timeout);
            let state = &mut source.state;
            if let Some(Some(reading)) = heard.get(&source.number) {
                state.samples = reading.samples.len();
                whole.samples.extend(reading.samples.iter().cloned());
                whole.gaps.extend(reading.gaps.iter().cloned());
            } else {
                match heard.contains_key(&source.number) || is_slow {
                    true => state.has_nothing(&source.name),
                    false => state.was_missed(&source.name),
                }
                state.samples = 0;
                whole.gaps.push(Gap {
                    source: source.name.as_ref().to_owned(),
                    metrics: source.metrics.clone(),
                    reason: state.error.clone().unwrap_or_default(),
                });
            }
            let age_ms = state.last_success_ms.map(|at| now_ms.saturating_sub(at));
            state.age_seconds = age_ms.map(|age| age as f64 / 1000.0);
        }
        let Options { host, facts, .. } = &self.options;
        Snapshot::new(
            host.to_string(),
            clock::now_ms(),
            facts.clone(),
            whole.samples,
            whole.gaps,
        )
    }
}

impl Member {
    /// Whether no round waits for it after its first answer.
    fn is_slow(&self, round_timeout: Duration) -> bool {
        self.schedule.timeout > round_timeout
    }

    fn is_awaited(&self, round: u64, heard: &Heard) -> bool {
        let is_heard = heard.contains_key(&self.number) || self.has_answered;
        self.first_round <= round && !self.is_overdue && !is_heard
    }

    /// The last good answer of one that no round waits for, as long as it counts: until the next is overdue.
    fn lasting(&self, now_ms: u64) -> Option<&Reading> {
        let Schedule { interval, timeout } = self.schedule;
        let good = self.last_good.as_ref()?;
        let age_ms = u128::from(now_ms.saturating_sub(good.time_ms));
        (age_ms <= (interval * 2 + timeout).as_millis()).then_some(&good.reading)
    }
}
