//! The history: every round is written once, outside the path of requests; old rounds are compacted and pruned. While
//! the database does not respond, rounds wait in a buffer.

pub mod downsample;
mod duplicate_writer;
mod maintenance;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use watchpost_policies::{Report, Snapshot};

use self::duplicate_writer::DuplicateWriter;
use self::writer::RoundSink;
use crate::clock;
use crate::clock_drift::TrustedClock;
use crate::host_id::HostId;
use crate::judge::{Evaluations, Judged, Subscription};
use crate::metrics::ServiceMetrics;
use crate::store::Store;
use crate::tasks::Tasks;
use crate::write_behind::WriteBuffer;

/// Timeout of one write, which is one transaction of at most sixty rounds: some milliseconds on a disk, seconds over a
/// slow network. PostgreSQL aborts a single statement after the same time, so a connection that hangs for longer has
/// not received it. A round that is written twice is stored once.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The retention and the limits of the history.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long rounds are kept.
    pub retention: Duration,
    /// The maximum size in bytes.
    pub max_bytes: u64,
    /// The duration of rounds that are compacted together.
    pub window: Duration,
    /// Timeout of one write; [`WRITE_TIMEOUT`], except in tests.
    pub write_timeout: Duration,
}

/// The history of one machine. Its two tasks and the shutdown share it. Cheap to clone.
#[derive(Clone)]
pub struct History {
    buffer: Arc<WriteBuffer<RoundSink>>,
    own_rounds: Arc<Mutex<DuplicateWriter>>,
    store: Store,
    host: HostId,
    options: Options,
    clock: TrustedClock,
    service_metrics: Arc<ServiceMetrics>,
}

impl History {
    /// The history of this machine in this store.
    pub fn new(store: Store, host: HostId, options: Options, service_metrics: Arc<ServiceMetrics>) -> Self {
        let sink = RoundSink::new(store.clone(), service_metrics.clone());
        Self {
            buffer: Arc::new(WriteBuffer::new(sink, writer::limits(options.write_timeout))),
            own_rounds: Arc::default(),
            store,
            host,
            options,
            clock: TrustedClock::load(None, clock::now_ms(), Instant::now()),
            service_metrics,
        }
    }

    /// Uses a clock that remembers when it was last trusted. Without one, nothing is pruned by age for an hour.
    pub(crate) fn with_clock(mut self, clock: TrustedClock) -> Self {
        self.clock = clock;
        self
    }

    /// Starts both tasks: the writer, which follows the published rounds, and the maintenance.
    pub fn start(&self, tasks: &Tasks, evaluations: &Evaluations) {
        let (writer, evaluations) = (self.clone(), evaluations.clone());
        tasks.spawn("history", move || {
            writer.clone().write_rounds(evaluations.subscribe("history"))
        });
        let maintenance = self.clone();
        tasks.spawn("history maintenance", move || maintenance.clone().maintain());
    }

    /// Writes each evaluated round.
    pub async fn write_rounds(self, mut rounds: Subscription) {
        let follow = async {
            loop {
                let judged = rounds.next().await;
                self.enqueue(judged.round.snapshot.clone(), judged.report.clone());
            }
        };
        tokio::select! {
            () = follow => {}
            () = self.buffer.run() => {}
        }
    }

    /// Queues a round to be written. The last round may be queued again.
    pub fn enqueue(&self, snapshot: Arc<Snapshot>, report: Arc<Report>) {
        // A duplicate writer can only use this machine's name, so rounds of other hosts are not tracked.
        if snapshot.host() == self.host.as_str() && !self.own_rounds.lock().add(snapshot.time_ms()) {
            return;
        }
        if let Err(error) = self.buffer.push((snapshot, report)) {
            self.service_metrics.rounds_dropped(1, error.drop_reason());
        }
    }

    /// Writes all queued rounds and the last one, within this time. Returns the number of lost rounds.
    pub async fn finish(&self, last: Option<&Judged>, within: Duration) -> usize {
        if let Some(judged) = last {
            self.enqueue(judged.round.snapshot.clone(), judged.report.clone());
        }
        // The current writer may be waiting on a connection that hangs.
        self.buffer.sink().replace_writer();
        self.buffer.shut_down(within).await
    }
}
