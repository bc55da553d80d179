//! The task that writes records in batches and lets the old go, and what it has in hand. What is a record is not decided
//! here.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::Decisions;
use super::record::Record;
use super::written::Writer;
use crate::clock;
use crate::clock_drift::ClockMonitor;
use crate::store::decisions::{Bounds, Fresh, Kind};
use crate::store::{Store, StoreError};

/// Records in one transaction: some hundred KB, and one wait for the disk.
const AT_ONCE: usize = 200;

/// How long one write may take. After this long PostgreSQL ends a statement by itself, so who is silent for longer has
/// not heard of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// After a failure the database is given this long.
const PAUSE: Duration = Duration::from_secs(2);

/// A batch that the database refuses so often is given up: the reason is in it, and others wait.
pub(super) const REFUSALS: u32 = 5;

/// At the end of the process a silent connection is given up this often, in the time that there is.
const ATTEMPTS: u32 = 3;

/// How often is looked for what has to go.
const TIDY: Duration = Duration::from_secs(60);

/// What waits to be written. It outlives the task.
pub(super) struct Waiting {
    queue: mpsc::Receiver<Record>,
    /// What is being written, until it is.
    pub(super) batch: Arc<[Fresh]>,
    refusals: u32,
}

impl Decisions {
    /// Writes what is recorded, and lets go what is too old or too much.
    pub async fn keep(self) {
        let mut waiting = self.0.waiting.lock().await;
        let mut clock_monitor = ClockMonitor::new(clock::now_ms(), std::time::Instant::now());
        let mut ticks = tokio::time::interval(TIDY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut failing, mut since_tidy) = (false, 0);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    self.tell_dropped();
                    if !failing {
                        self.tidy(&mut clock_monitor).await;
                    }
                    continue;
                }
                () = self.fill(&mut waiting) => {}
            }
            match self.write(&mut waiting, PATIENCE).await {
                Ok(count) => {
                    if std::mem::take(&mut failing) {
                        log::info!("decisions are written again");
                    }
                    since_tidy += count as u64;
                    // A tenth more than shall be kept is soon enough to look.
                    if since_tidy.saturating_mul(10) >= self.0.options.most {
                        since_tidy = 0;
                        self.tidy(&mut clock_monitor).await;
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        log::error!(
                            "decisions cannot be written: {error}; they wait, {} at most",
                            self.0.options.queue
                        );
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Writes all that waits, within so long; nothing is taken in any more. How many records are lost.
    pub async fn finish(&self, within: Duration) -> usize {
        let all = async {
            // The task gives it back when it is told to stop.
            let mut waiting = self.0.waiting.lock().await;
            waiting.queue.close();
            while waiting.fill_at_once(&self.0.writer) {
                if self.write(&mut waiting, within / ATTEMPTS).await.is_err() {
                    tokio::time::sleep(within / ATTEMPTS / 10).await;
                }
            }
        };
        let _ = tokio::time::timeout(within, all).await;
        let left = self.0.waiting.try_lock();
        let lost = left.map_or(0, |waiting| waiting.batch.len() + waiting.queue.len());
        if lost > 0 {
            self.0.own.decisions_dropped(lost);
            log::error!(records = lost; "the last decisions are not recorded, for the database did not take them in time");
        }
        lost
    }

    async fn fill(&self, waiting: &mut Waiting) {
        if waiting.batch.is_empty() {
            let mut records = Vec::new();
            waiting.queue.recv_many(&mut records, AT_ONCE).await;
            waiting.batch = self.0.writer.written(&records);
        }
    }

    async fn write(&self, waiting: &mut Waiting, patience: Duration) -> Result<usize, StoreError> {
        let batch = waiting.batch.clone();
        let keep = move |store: &Store| store.keep_decisions(&batch);
        let outcome = self.0.store.ask_within(patience, keep).await;
        self.settle(waiting, outcome)
    }

    pub(super) fn settle(&self, waiting: &mut Waiting, outcome: Result<(), StoreError>) -> Result<usize, StoreError> {
        let count = waiting.batch.len();
        match &outcome {
            Ok(()) => {
                for kind in Kind::ALL {
                    let of_kind = waiting.batch.iter().filter(|fresh| fresh.kind == kind.as_str());
                    self.0.own.decisions_recorded(kind.as_str(), of_kind.count());
                }
                waiting.let_go();
            }
            Err(StoreError::Refused(_) | StoreError::Failed(_)) => {
                waiting.refusals += 1;
                if waiting.refusals >= REFUSALS {
                    self.count_dropped(count);
                    waiting.let_go();
                }
            }
            Err(_) => {}
        }
        outcome.map(|()| count)
    }

    async fn tidy(&self, clock_monitor: &mut ClockMonitor) {
        let now_ms = clock::now_ms();
        if let Some(jump_ms) = clock_monitor.look(now_ms, std::time::Instant::now()) {
            log::warn!(jump_ms; "the clock jumped; no record of a decision is let go by its age for an hour");
        }
        let keep_ms = u64::try_from(self.0.options.keep.as_millis()).unwrap_or(u64::MAX);
        let bounds = Bounds {
            // By a clock that jumped everything might be too old.
            oldest_ms: if clock_monitor.is_trusted() {
                now_ms.saturating_sub(keep_ms)
            } else {
                0
            },
            most: self.0.options.most,
        };
        let step = || {
            self.0
                .store
                .ask_within(PATIENCE, move |store| store.let_decisions_go(bounds))
        };
        loop {
            match step().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return log::warn!("old decisions cannot be let go: {error}"),
            }
        }
    }

    fn tell_dropped(&self) {
        let dropped = self.0.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            log::warn!(dropped; "decisions were not recorded, for too many waited to be written");
        }
    }
}

impl Waiting {
    /// With nothing in hand.
    pub(super) fn new(queue: mpsc::Receiver<Record>) -> Self {
        Self {
            queue,
            batch: Arc::default(),
            refusals: 0,
        }
    }

    /// Whether there is anything to write; what waits is not waited for.
    pub(super) fn fill_at_once(&mut self, writer: &Writer) -> bool {
        if self.batch.is_empty() {
            let waiting = std::iter::from_fn(|| self.queue.try_recv().ok());
            let records: Vec<_> = waiting.take(AT_ONCE).collect();
            self.batch = writer.written(&records);
        }
        !self.batch.is_empty()
    }

    fn let_go(&mut self) {
        self.batch = Arc::default();
        self.refusals = 0;
    }
}
