//! Keeps what was measured and judged: every round is written once, off the path of requests, and what grows old is
//! packed and let go. While the database does not answer, rounds wait here.

pub mod downsample;
mod ours;
mod tidy;
mod waiting;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::Instant;
use watchpost_policies::{Report, Snapshot};

use self::ours::Ours;
use self::waiting::Waiting;
use crate::judge::Judged;
use crate::metrics::Own;
use crate::store::history::Keeper;
use crate::store::{Store, StoreError};

/// How long one write may take, which is one transaction of sixty rounds at most: some milliseconds on a disk,
/// seconds over a slow wire. After this long PostgreSQL ends a single statement by itself, so who is silent for longer
/// has not heard of it. A round that is written twice is there once.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// After a failure the database is given this long.
const PAUSE: Duration = Duration::from_secs(2);

/// At the end of the process a silent connection is given up this often, in the time that there is.
const ATTEMPTS: u32 = 3;

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
    ours: Arc<Mutex<Ours>>,
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
            ours: Arc::default(),
            store,
            host: host.into(),
            options,
            own,
        }
    }

    /// Writes each round that is judged.
    pub async fn keep(self, mut judged: watch::Receiver<Option<Arc<Judged>>>) {
        // One that came while this was started again is not passed over.
        judged.mark_changed();
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

    /// From now on this round waits to be written. The last one may be told again.
    pub fn take_in(&self, snapshot: Arc<Snapshot>, report: Arc<Report>) {
        if !lock(&self.ours).add(snapshot.time_ms()) {
            return;
        }
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
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
