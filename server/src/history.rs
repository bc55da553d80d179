//! Keeps what was measured and judged: every round is written once, off the path of requests, and what grows old is
//! packed and let go. While the database does not answer, rounds wait here.

pub(crate) mod steady;
mod waiting;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use watchpost_policies::{Report, Snapshot};

use self::steady::Steady;
use self::waiting::Waiting;
use crate::clock;
use crate::judge::Judged;
use crate::metrics::Own;
use crate::store::history::{Bounds, Keeper, Usage};
use crate::store::{Store, StoreError};

/// How long one write may take, which is one transaction of a minute's work at most: some milliseconds on a disk,
/// seconds over a slow wire. After this long PostgreSQL ends a single statement by itself, so who is silent for longer
/// has not heard of it. A round that is written twice is there once.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long one step of packing or sweeping may take. It is a handful of statements, and the largest of them deletes
/// what a window has.
const STEP: Duration = Duration::from_secs(120);

/// After a failure the database is given this long.
const PAUSE: Duration = Duration::from_secs(2);

/// At the end of the process a silent connection is given up this often, in the time that there is.
const ATTEMPTS: u32 = 3;

/// How often is looked for what can be packed and what has to go.
const TIDY: Duration = Duration::from_secs(60);

/// How often series are looked for of which nothing is left.
const FORGET: Duration = Duration::from_secs(24 * 60 * 60);

/// How much is kept, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// For how long.
    pub keep: Duration,
    /// In how many bytes.
    pub most_bytes: u64,
    /// How much is packed together.
    pub window: Duration,
    /// How long one write may take; [`PATIENCE`], but for tests.
    pub patience: Duration,
}

/// Who writes, for the two tasks that do it in turn.
#[derive(Clone)]
pub struct History {
    keeper: Arc<ArcSwap<Mutex<Keeper>>>,
    waiting: Arc<Mutex<Waiting<Round>>>,
    store: Store,
    host: Arc<str>,
    options: Options,
    own: Arc<Own>,
}

/// What was measured and what the rules said of it.
type Round = (Arc<Snapshot>, Arc<Report>);

type Writing = Pin<Box<dyn Future<Output = Result<usize, StoreError>>>>;

impl History {
    /// Of this machine, in this store.
    pub fn new(store: Store, host: &str, options: Options, own: Arc<Own>) -> Self {
        Self {
            keeper: Arc::new(ArcSwap::from_pointee(Mutex::new(Keeper::new(store.clone())))),
            waiting: Arc::new(Mutex::new(Waiting::new())),
            store,
            host: host.into(),
            options,
            own,
        }
    }

    /// Writes each round that is judged.
    pub async fn keep(self, mut judged: watch::Receiver<Option<Arc<Judged>>>) {
        let mut writing: Option<Writing> = None;
        let (mut not_before, mut failing) = (Instant::now(), false);
        loop {
            let some_wait = lock(&self.waiting).len() > 0;
            if writing.is_none() && some_wait && Instant::now() >= not_before {
                let this = self.clone();
                writing = Some(Box::pin(async move { this.write().await }));
            }
            let pausing = writing.is_none() && some_wait;
            let written = async {
                match &mut writing {
                    Some(writing) => writing.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                outcome = written => {
                    writing = None;
                    match outcome {
                        Ok(_) => {
                            if std::mem::take(&mut failing) {
                                log::info!(waiting = lock(&self.waiting).len(); "history is written again");
                            }
                        }
                        Err(error) => {
                            not_before = Instant::now() + PAUSE;
                            if !std::mem::replace(&mut failing, true) {
                                log::error!("history cannot be written: {error}; rounds wait");
                            }
                        }
                    }
                }
                changed = judged.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let round = judged.borrow_and_update().clone();
                    if let Some(judged) = round {
                        self.take_in(judged.round.snapshot.clone(), judged.report.clone());
                    }
                }
                () = tokio::time::sleep_until(not_before), if pausing => {}
            }
        }
    }

    /// From now on this round waits to be written.
    pub fn take_in(&self, snapshot: Arc<Snapshot>, report: Arc<Report>) {
        let lost = lock(&self.waiting).take_in(snapshot.time_ms(), (snapshot, report));
        (0..lost).for_each(|_| self.own.round_lost());
    }

    /// Writes all that waits, and the last round among it, within so long. How many rounds are lost.
    pub async fn finish(&self, last: Option<&Judged>, within: Duration) -> usize {
        if let Some(judged) = last {
            self.take_in(judged.round.snapshot.clone(), judged.report.clone());
        }
        // Who writes just now may have met a silent wire, and would be waited for.
        self.replace_keeper();
        let all = async {
            loop {
                match self.write_within(within / ATTEMPTS).await {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(within / ATTEMPTS / 10).await,
                }
            }
        };
        let _ = tokio::time::timeout(within, all).await;
        let lost = lock(&self.waiting).len();
        if lost > 0 {
            log::error!(rounds = lost; "the last rounds are not in the history, for the database did not take them in time");
        }
        lost
    }

    /// Writes some of the rounds that wait, the oldest first, and tells how many these were. If it fails, they go on
    /// waiting.
    pub async fn write(&self) -> Result<usize, StoreError> {
        self.write_within(self.options.patience).await
    }

    async fn write_within(&self, patience: Duration) -> Result<usize, StoreError> {
        let (times, rounds) = lock(&self.waiting).next();
        if rounds.is_empty() {
            return Ok(0);
        }
        let keeper = self.keeper.load_full();
        let work = move |_: &Store| lock(&keeper).keep(&rounds);
        let outcome = self.store.ask_within(patience, work).await;
        if outcome.is_ok() {
            self.own.rounds_kept(lock(&self.waiting).written(&times));
        } else {
            lock(&self.waiting).failed();
            self.replace_keeper();
        }
        outcome.map(|()| times.len())
    }

    /// Who still waits for an answer has the old one, and its connection.
    fn replace_keeper(&self) {
        self.keeper.store(Arc::new(Mutex::new(Keeper::new(self.store.clone()))));
    }

    /// Packs what can be packed, and lets go what has to go, again and again.
    pub async fn tidy(self) {
        let mut ticks = tokio::time::interval(TIDY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut forgot: Option<Instant> = None;
        let mut steady = Steady::new(clock::now_ms(), std::time::Instant::now());
        loop {
            ticks.tick().await;
            let now_ms = clock::now_ms();
            if let Some(jump_ms) = steady.look(now_ms, std::time::Instant::now()) {
                log::warn!(jump_ms; "the clock jumped; nothing of the history is let go by its age for an hour");
            }
            let due = forgot.is_none_or(|at| at.elapsed() >= FORGET);
            if due {
                forgot = Some(Instant::now());
            }
            match self.tidy_once(now_ms, steady.is_believed(), due).await {
                Ok(usage) => self.own.history_is(usage),
                Err(error) => log::warn!("history cannot be packed or swept: {error}"),
            }
        }
    }

    async fn tidy_once(&self, now_ms: u64, by_age: bool, forget: bool) -> Result<Usage, StoreError> {
        let packed = self.pack(milliseconds(self.options.window), now_ms).await;
        let bounds = self.bounds(now_ms, by_age);
        // What cannot be packed shall not keep the rest from being let go.
        while self.step(move |store| store.sweep(bounds)).await? {}
        packed?;
        if forget {
            let (keeper, host) = (self.keeper.load_full(), self.host.clone());
            self.step(move |_| lock(&keeper).forget_series(&host)).await?;
            // One that took its place meanwhile may have read numbers that went.
            self.replace_keeper();
        }
        self.step(Store::history_usage).await
    }

    /// What is let go. By a clock that jumped everything might be too old.
    fn bounds(&self, now_ms: u64, by_age: bool) -> Bounds {
        let oldest_ms = now_ms.saturating_sub(milliseconds(self.options.keep));
        Bounds {
            oldest_ms: if by_age { oldest_ms } else { 0 },
            most_bytes: self.options.most_bytes,
        }
    }

    async fn pack(&self, window_ms: u64, now_ms: u64) -> Result<(), StoreError> {
        self.pack_all_of(self.host.clone(), window_ms, now_ms).await?;
        // Each packs its own; what is as old as this has nobody any more.
        let before_ms = now_ms.saturating_sub(window_ms.saturating_mul(2));
        for host in self.step(move |store| store.hosts_left_behind(before_ms)).await? {
            self.pack_all_of(host.into(), window_ms, now_ms).await?;
        }
        Ok(())
    }

    async fn pack_all_of(&self, host: Arc<str>, window_ms: u64, now_ms: u64) -> Result<(), StoreError> {
        let packed = || {
            let host = host.clone();
            self.step(move |store| store.condense(&host, window_ms, now_ms))
        };
        while packed().await? {}
        Ok(())
    }

    /// One after the other, so that a silent wire costs one of them and not the task.
    async fn step<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.store.ask_within(STEP, work).await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
