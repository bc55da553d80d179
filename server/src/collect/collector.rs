//! The collector actor: measures all sources once per round, merges their results into a snapshot and publishes
//! it. It never waits for a source that is still busy with an earlier round. Sources can be added and removed at
//! run time. Between rounds, a scrape may request a refresh of the fast sources; rounds are not affected.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use watchpost_policies::{Gap, Labels, MetricPattern, Snapshot};

use super::handle::{Mailbox, Message, SourceError};
use super::probe::Reading;
use super::refresh::{self, NewerReading, Refresh};
use super::runner::{ProbeError, Request, Requests, Runner, SourceResult};
use super::source::{MakeSource, Schedule};
pub use super::state::SourceState;
use crate::host_id::HostId;
use crate::metrics::{DeclaredFamily, ServiceMetrics};
use crate::{clock, tasks};

/// The capacity of the results channel. A source that finds it full waits.
const RESULTS_CAPACITY: usize = 64;

/// One round of measurements.
#[derive(Clone, Debug)]
pub struct Round {
    /// The measured machine.
    pub host: HostId,
    /// The number of the round, from one.
    pub number: u64,
    /// The samples and gaps.
    pub snapshot: Arc<Snapshot>,
    /// The families of samples whose types and help texts come with them.
    pub families: Arc<[DeclaredFamily]>,
    /// When the round started, in milliseconds since 1970 (UTC).
    pub started_ms: u64,
    /// The same moment on the monotonic clock, from which the age of the round is computed.
    pub started: Instant,
    pub duration: Duration,
    /// The state of each source, by name.
    pub sources: BTreeMap<Arc<str>, SourceState>,
}

/// Options of the collector.
pub struct Options {
    /// The name of the machine in measurements.
    pub host: HostId,
    /// Additional labels of the machine.
    pub facts: Labels,
    /// The time from the start of one round to the next.
    pub interval: Duration,
    /// How long a round waits for its sources. For sources with a longer timeout, the last result is reused
    /// until the next one arrives.
    pub timeout: Duration,
    /// Refreshes are counted here.
    pub service_metrics: Arc<ServiceMetrics>,
}

/// The actor.
pub struct Collector {
    options: Options,
    messages: mpsc::Receiver<Message>,
    /// The number of the last round.
    round_number: u64,
    answers: mpsc::Receiver<SourceResult>,
    /// The channel on which sources send their results.
    answers_sender: mpsc::Sender<SourceResult>,
    published: watch::Sender<Option<Arc<Round>>>,
    /// In the order in which they were added.
    sources: Vec<Member>,
    /// The number of sources added so far, for unique source numbers.
    added: u64,
    refresh: Refresh,
}

/// What the collector waits for, within rounds and between them.
enum Event {
    Message(Message),
    Answer(SourceResult),
    RefreshTimedOut,
}

/// A registered source.
struct Member {
    number: u64,
    name: Arc<str>,
    metrics: Vec<MetricPattern>,
    schedule: Schedule,
    /// The first round in which it is measured.
    first_round: u64,
    state: SourceState,
    /// Whether it is still busy with the measurement of an earlier round.
    is_overdue: bool,
    /// The last successful result of a slow source, which no round waits for.
    last_good: Option<Good>,
    /// Whether it has sent a result before, even an error.
    has_answered: bool,
    /// Whether scrapes may measure it, if it is fast enough.
    is_refreshable: bool,
    /// Whether it has not answered the last refresh yet, which may have ended without it.
    is_refreshing: bool,
    /// The last successful result of a refresh.
    refreshed: Option<NewerReading>,
    /// The rounds and refreshes that it is measured for.
    requests: watch::Sender<Requests>,
    /// Dropping this stops the source's task.
    _runner: tasks::AbortOnDrop,
}

/// The result of a successful measurement.
struct Good {
    reading: Reading,
    time_ms: u64,
}

/// The results received in a round, by source number; `None` for a failure.
type Results = BTreeMap<u64, Option<Reading>>;

impl Collector {
    /// A collector without sources; they are added through its mailbox.
    pub(super) fn new(options: Options, mailbox: Mailbox, published: watch::Sender<Option<Arc<Round>>>) -> Self {
        let Mailbox { messages, refreshes } = mailbox;
        let (answers_sender, answers) = mpsc::channel(RESULTS_CAPACITY);
        let timeout = refresh::timeout(options.timeout);
        Self {
            refresh: Refresh::new(timeout, refreshes, options.service_metrics.clone()),
            options,
            messages,
            round_number: 0,
            answers,
            answers_sender,
            published,
            sources: Vec::new(),
            added: 0,
        }
    }

    /// Runs rounds forever.
    pub async fn run(&mut self) {
        let mut ticks = interval(self.options.interval);
        // After a suspension of the machine, one round is enough.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // A result that arrives between rounds is treated as a late one in the next round.
                event = self.next_event() => self.handle(event, self.round_number + 1, &mut Results::new()),
                _ = ticks.tick() => self.round().await,
            }
        }
    }

    /// Adds a source, which is measured from the next round on.
    pub fn add_source(&mut self, make: MakeSource) -> Result<(), SourceError> {
        let source = make();
        if self.sources.iter().any(|other| *other.name == *source.name()) {
            return Err(SourceError::Exists(source.name().to_owned()));
        }
        self.added += 1;
        let (number, name, metrics) = (self.added, source.name().into(), source.metrics());
        let (schedule, is_refreshable) = (source.schedule(), source.is_refreshable());
        let (requests, requested) = watch::channel(Requests::default());
        let runner = Runner::new(number, (source, make), requested, self.answers_sender.clone());
        self.sources.push(Member {
            number,
            name,
            metrics,
            schedule,
            first_round: self.round_number + 1,
            state: SourceState::default(),
            is_overdue: false,
            last_good: None,
            has_answered: false,
            is_refreshable,
            is_refreshing: false,
            refreshed: None,
            requests,
            _runner: tasks::spawn_scoped(runner.run()),
        });
        Ok(())
    }

    fn remove_source(&mut self, name: &str) -> Result<(), SourceError> {
        let at = self.sources.iter().position(|source| *source.name == *name);
        let at = at.ok_or_else(|| SourceError::Unknown(name.to_owned()))?;
        let removed = self.sources.remove(at);
        self.refresh.removed(removed.number);
        self.end_refresh_if_complete();
        Ok(())
    }

    fn handle_message(&mut self, message: Message) {
        // The caller may have stopped waiting for the reply; the change is made regardless.
        match message {
            Message::AddSource { make, reply } => drop(reply.send(self.add_source(make))),
            Message::RemoveSource { name, reply } => drop(reply.send(self.remove_source(&name))),
            Message::Refresh { max_age, reply } => {
                if self.refresh.is_due(max_age) {
                    self.start_refresh();
                }
                self.refresh.join(reply);
                self.end_refresh_if_complete();
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        let deadline = self.refresh.deadline();
        let refresh_timed_out = async {
            match deadline {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(message) = self.messages.recv() => Event::Message(message),
            Some(answer) = self.answers.recv() => Event::Answer(answer),
            () = refresh_timed_out => Event::RefreshTimedOut,
        }
    }

    /// `number` is the round in progress, or the next one, whose results are added to `results`.
    fn handle(&mut self, event: Event, number: u64, results: &mut Results) {
        match event {
            Event::Message(message) => self.handle_message(message),
            Event::Answer(answer) => self.record(answer, number, results),
            Event::RefreshTimedOut => self.end_refresh(),
        }
    }

    fn start_refresh(&mut self) {
        let timeout = self.options.timeout;
        let fast = |source: &&mut Member| source.can_be_refreshed(timeout);
        let fast: Vec<_> = self.sources.iter_mut().filter(fast).collect();
        let number = self.refresh.start(fast.iter().map(|source| source.number).collect());
        for source in fast {
            source.is_refreshing = true;
            source.requests.send_modify(|requests| requests.refresh = number);
        }
    }

    fn end_refresh_if_complete(&mut self) {
        if self.refresh.deadline().is_some() && self.refresh.is_complete() {
            self.end_refresh();
        }
    }

    fn end_refresh(&mut self) {
        let readings = self.sources.iter().filter_map(|source| source.refreshed.clone());
        self.refresh.end(readings.collect());
    }

    async fn round(&mut self) {
        self.round_number += 1;
        let number = self.round_number;
        let (started, started_ms) = (Instant::now(), clock::now_ms());
        for source in &self.sources {
            source.requests.send_modify(|requests| requests.round = number);
        }
        let results = self.receive_results(number).await;
        let families = results.values().flatten().flat_map(|reading| &reading.families);
        let families = families.cloned().collect();
        let snapshot = Arc::new(self.build_snapshot(number, &results));
        let measured = self.sources.iter().filter(|source| source.first_round <= number);
        let round = Round {
            host: self.options.host.clone(),
            number,
            snapshot,
            families,
            started_ms,
            started,
            duration: started.elapsed(),
            sources: measured
                .map(|source| (source.name.clone(), source.state.clone()))
                .collect(),
        };
        self.published.send_replace(Some(Arc::new(round)));
    }

    /// Receives the results of this round. It does not wait for a source that is still busy with an earlier
    /// measurement, or that is removed meanwhile.
    async fn receive_results(&mut self, number: u64) -> Results {
        // Each source enforces its own timeout; this margin covers the delay between the source and the
        // collector.
        let until = Instant::now() + self.options.timeout + Duration::from_millis(500);
        let mut results = Results::new();
        while let Ok(late) = self.answers.try_recv() {
            self.record(late, number, &mut results);
        }
        while self.sources.iter().any(|source| source.is_awaited(number, &results)) {
            tokio::select! {
                event = self.next_event() => self.handle(event, number, &mut results),
                () = sleep_until(until.into()) => break,
            }
        }
        let now_ms = clock::now_ms();
        for source in &self.sources {
            if let Some(reading) = source.last_valid(now_ms) {
                results.insert(source.number, Some(reading.clone()));
            }
        }
        results
    }

    /// Every result of a round counts once, in the round that receives it. A result of an earlier round counts only
    /// for slow sources, and that of a refresh in no round.
    fn record(&mut self, answer: SourceResult, number: u64, results: &mut Results) {
        // The source may have been removed.
        let Some(source) = self.sources.iter_mut().find(|source| source.number == answer.source) else {
            return;
        };
        source.is_overdue = matches!(answer.outcome, Err(ProbeError { timed_out: true, .. }));
        let round = match answer.request {
            Request::Round(round) => round,
            Request::Refresh(refresh) => {
                source.record_refresh(answer);
                self.refresh.answered(refresh, source.number, source.is_overdue);
                self.end_refresh_if_complete();
                return;
            }
        };
        let is_slow = source.is_slow(self.options.timeout);
        if !is_slow && round != number {
            return;
        }
        let SourceResult { duration, time_ms, .. } = answer;
        let reading = match answer.outcome {
            Ok(reading) => {
                source.state.answered(&source.name, duration, time_ms);
                Some(reading)
            }
            Err(error) => {
                source.state.failed(&source.name, duration, error.reason);
                None
            }
        };
        if !is_slow {
            results.insert(source.number, reading);
            return;
        }
        source.has_answered = true;
        // A failure does not discard the earlier measurement.
        if let Some(reading) = reading {
            source.last_good = Some(Good { reading, time_ms });
        }
    }

    fn build_snapshot(&mut self, number: u64, results: &Results) -> Snapshot {
        let mut merged = Reading::default();
        let now_ms = clock::now_ms();
        for source in self.sources.iter_mut().filter(|source| source.first_round <= number) {
            let is_slow = source.is_slow(self.options.timeout);
            let state = &mut source.state;
            if let Some(Some(reading)) = results.get(&source.number) {
                state.samples = reading.samples.len();
                merged.samples.extend(reading.samples.iter().cloned());
                merged.gaps.extend(reading.gaps.iter().cloned());
            } else {
                match results.contains_key(&source.number) || is_slow {
                    true => state.has_no_result(&source.name),
                    false => state.was_missed(&source.name),
                }
                state.samples = 0;
                merged.gaps.push(Gap {
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
            merged.samples,
            merged.gaps,
        )
    }
}

impl Member {
    /// Whether no round waits for it after its first result.
    fn is_slow(&self, round_timeout: Duration) -> bool {
        self.schedule.timeout > round_timeout
    }

    /// Whether a scrape may measure it: it answered the last round fast, and the last refresh at all.
    fn can_be_refreshed(&self, round_timeout: Duration) -> bool {
        let was_fast = self.state.duration_seconds < refresh::timeout(round_timeout).as_secs_f64();
        let is_fast = self.state.success && was_fast && !self.is_slow(round_timeout);
        self.is_refreshable && is_fast && !self.is_overdue && !self.is_refreshing
    }

    /// A failure does not discard the earlier reading; the next round reports it.
    fn record_refresh(&mut self, answer: SourceResult) {
        self.is_refreshing = false;
        if let Ok(reading) = answer.outcome {
            self.refreshed = Some(NewerReading::new(reading, answer.time_ms));
        }
    }

    fn is_awaited(&self, round: u64, results: &Results) -> bool {
        let has_result = results.contains_key(&self.number) || self.has_answered;
        self.first_round <= round && !self.is_overdue && !has_result
    }

    /// The last successful result of a slow source, while it is valid: until the next one is overdue.
    fn last_valid(&self, now_ms: u64) -> Option<&Reading> {
        let Schedule { interval, timeout } = self.schedule;
        let good = self.last_good.as_ref()?;
        let age_ms = u128::from(now_ms.saturating_sub(good.time_ms));
        (age_ms <= (interval * 2 + timeout).as_millis()).then_some(&good.reading)
    }
}
