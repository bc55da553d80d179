//! Keeps what was measured and judged: every round is written once, off the path of requests, and what grows old is
//! packed and let go. While the database does not answer, rounds wait here.

pub mod downsample;
mod duplicate_writer;
mod maintenance;
mod writer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use watchpost_policies::{Report, Snapshot};

use self::duplicate_writer::DuplicateWriter;
use self::writer::RoundSink;
use crate::host_id::HostId;
use crate::judge::{Evaluations, Judged, Subscription};
use crate::metrics::ServiceMetrics;
use crate::store::Store;
use crate::tasks::Tasks;
use crate::write_behind::WriteBuffer;

/// How long one write may take, which is one transaction of sixty rounds at most: some milliseconds on a disk,
/// seconds over a slow wire. After this long PostgreSQL ends a single statement by itself, so who is silent for longer
/// has not heard of it. A round that is written twice is there once.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// How much is kept, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// For how long.
    pub retention: Duration,
    /// In how many bytes.
    pub most_bytes: u64,
    /// How much is packed together.
    pub window: Duration,
    /// How long one write may take; [`SHUTDOWN_TIMEOUT`], but for tests.
    pub patience: Duration,
}

/// Who writes, for the two tasks that do it in turn.
#[derive(Clone)]
pub struct History {
    buffer: Arc<WriteBuffer<RoundSink>>,
    ours: Arc<Mutex<DuplicateWriter>>,
    store: Store,
    host: HostId,
    options: Options,
    service_metrics: Arc<ServiceMetrics>,
}

impl History {
    /// Of this machine, in this store.
    pub fn new(store: Store, host: HostId, options: Options, service_metrics: Arc<ServiceMetrics>) -> Self {
        let sink = RoundSink::new(store.clone(), service_metrics.clone());
        Self {
            buffer: Arc::new(WriteBuffer::new(sink, writer::limits(options.patience))),
            ours: Arc::default(),
            store,
            host,
            options,
            service_metrics,
        }
    }

    /// Sets both tasks to work on the rounds that are published there.
    pub fn start(&self, tasks: &Tasks, evaluations: &Evaluations) {
        let (keeping, evaluations) = (self.clone(), evaluations.clone());
        tasks.spawn("history", move || {
            keeping.clone().keep(evaluations.subscribe("history"))
        });
        let tidying = self.clone();
        tasks.spawn("history keeper", move || tidying.clone().tidy());
    }

    /// Writes each round that is judged.
    pub async fn keep(self, mut rounds: Subscription) {
        let follow = async {
            loop {
                let judged = rounds.next().await;
                self.take_in(judged.round.snapshot.clone(), judged.report.clone());
            }
        };
        tokio::select! {
            () = follow => {}
            () = self.buffer.run() => {}
        }
    }

    /// From now on this round waits to be written. The last one may be told again.
    pub fn take_in(&self, snapshot: Arc<Snapshot>, report: Arc<Report>) {
        // Whether others write as the same machine matters for this one only.
        if snapshot.host() == self.host.as_str() && !lock(&self.ours).add(snapshot.time_ms()) {
            return;
        }
        if self.buffer.push((snapshot, report)).is_err() {
            self.service_metrics.round_lost();
        }
    }

    /// Writes all that waits, and the last round among it, within so long. How many rounds are lost.
    pub async fn finish(&self, last: Option<&Judged>, within: Duration) -> usize {
        if let Some(judged) = last {
            self.take_in(judged.round.snapshot.clone(), judged.report.clone());
        }
        // Who writes just now may have met a silent wire, and would be waited for.
        self.buffer.sink().replace_keeper();
        self.buffer.shut_down(within).await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
