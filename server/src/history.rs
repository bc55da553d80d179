//! Keeps what was measured and judged: every round is written once, off the path of requests, and what grows old is
//! packed and let go. While the database does not answer, rounds wait here.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use watchpost_policies::{Report, Snapshot};

use crate::judge::Judged;
use crate::metrics::Own;
use crate::store::history::{Bounds, Keeper, Usage};
use crate::store::{Store, StoreError};
use crate::{clock, tasks};

/// Rounds that wait while the database does not answer: half an hour of one every ten seconds, in some ten MB. Then the
/// oldest are lost, and counted.
const MOST_WAITING: usize = 180;

/// Rounds in one transaction.
const AT_ONCE: usize = 60;

/// After a failure the database is given this long.
const PAUSE: Duration = Duration::from_secs(2);

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
}

/// Who writes, for the two tasks that do it in turn.
#[derive(Clone)]
pub struct History {
    keeper: Arc<Mutex<Keeper>>,
    store: Store,
    host: Arc<str>,
    options: Options,
    own: Arc<Own>,
}

type Round = (Arc<Snapshot>, Arc<Report>);
type Writing = Pin<Box<dyn Future<Output = Result<usize, StoreError>>>>;

impl History {
    /// Of this machine, in this store.
    pub fn new(store: Store, host: &str, options: Options, own: Arc<Own>) -> Self {
        Self {
            keeper: Arc::new(Mutex::new(Keeper::new(store.clone()))),
            store,
            host: host.into(),
            options,
            own,
        }
    }

    /// Writes each round that is judged.
    pub async fn keep(self, mut judged: watch::Receiver<Option<Arc<Judged>>>) {
        let mut waiting: VecDeque<Round> = VecDeque::new();
        let mut writing: Option<Writing> = None;
        let mut under_way = 0;
        let (mut not_before, mut failing) = (Instant::now(), false);
        loop {
            if writing.is_none() && !waiting.is_empty() && Instant::now() >= not_before {
                let rounds: Vec<_> = waiting.iter().take(AT_ONCE).cloned().collect();
                under_way = rounds.len();
                writing = Some(self.write(rounds));
            }
            let pausing = writing.is_none() && !waiting.is_empty();
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
                        Ok(count) => {
                            waiting.drain(..count.min(waiting.len()));
                            self.own.rounds_kept(count);
                            if std::mem::take(&mut failing) {
                                log::info!(waiting = waiting.len(); "history is written again");
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
                    if let Some(round) = round {
                        waiting.push_back((round.round.snapshot.clone(), round.report.clone()));
                    }
                    // Those that are being written come first in the line, and have to stay there.
                    let first = if writing.is_some() { under_way } else { 0 };
                    while waiting.len() > MOST_WAITING && waiting.remove(first).is_some() {
                        self.own.round_lost();
                    }
                }
                () = tokio::time::sleep_until(not_before), if pausing => {}
            }
        }
    }

    /// Packs what can be packed, and lets go what has to go, again and again.
    pub async fn tidy(self) {
        let mut ticks = tokio::time::interval(TIDY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut forgot: Option<Instant> = None;
        loop {
            ticks.tick().await;
            let due = forgot.is_none_or(|at| at.elapsed() >= FORGET);
            if due {
                forgot = Some(Instant::now());
            }
            let (this, now_ms) = (self.clone(), clock::now_ms());
            let outcome = tasks::block(move || this.tidy_once(now_ms, due)).await;
            match outcome {
                Ok(Ok(usage)) => self.own.history_is(usage),
                Ok(Err(error)) => log::warn!("history cannot be packed or swept: {error}"),
                Err(panic) => log::error!(reason = panic.as_str(); "history cannot be packed or swept"),
            }
        }
    }

    fn write(&self, rounds: Vec<Round>) -> Writing {
        let keeper = self.keeper.clone();
        Box::pin(async move {
            let work = move || {
                let mut keeper = keeper.lock().unwrap_or_else(PoisonError::into_inner);
                keeper.keep(&rounds).map(|()| rounds.len())
            };
            tasks::block(work)
                .await
                .unwrap_or_else(|panic| Err(StoreError::Failed(panic)))
        })
    }

    fn tidy_once(&self, now_ms: u64, forget: bool) -> Result<Usage, StoreError> {
        let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let packed = self.pack(milliseconds(self.options.window), now_ms);
        let bounds = Bounds {
            oldest_ms: now_ms.saturating_sub(milliseconds(self.options.keep)),
            most_bytes: self.options.most_bytes,
        };
        // What cannot be packed shall not keep the rest from being let go.
        while self.store.sweep(bounds)? {}
        packed?;
        if forget {
            self.keeper
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .forget_series(&self.host)?;
        }
        self.store.history_usage()
    }

    fn pack(&self, window_ms: u64, now_ms: u64) -> Result<(), StoreError> {
        while self.store.condense(&self.host, window_ms, now_ms)? {}
        // Each packs its own; what is as old as this has nobody any more.
        for host in self
            .store
            .hosts_left_behind(now_ms.saturating_sub(window_ms.saturating_mul(2)))?
        {
            while self.store.condense(&host, window_ms, now_ms)? {}
        }
        Ok(())
    }
}
