//! Where the write buffer of records ends: one table of the database. What waits and for how long is not decided here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::Options;
use super::record::Record;
use super::written::Writer;
use crate::metrics::ServiceMetrics;
use crate::store::decisions::Kind;
use crate::store::{Store, StoreError};
use crate::write_behind::{self, DropReason, Event, OverflowPolicy, Sink, WriteError};

/// Records in one transaction: some hundred KB, and one wait for the disk.
const BATCH_SIZE: usize = 200;

/// How long one write may take. After this long PostgreSQL ends a statement by itself, so who is silent for longer has
/// not heard of it.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// After a failure the database is given this long.
const RETRY_DELAY: Duration = Duration::from_secs(2);

/// A batch that the database refuses so often is given up: the reason is in it, and others wait.
const MAX_REJECTIONS: u32 = 5;

/// A record and what tells it from all others, so that one that is written twice is there once.
pub(super) struct MarkedRecord {
    pub(super) dedupe_key: i64,
    pub(super) record: Record,
}

/// Writes records into the database.
pub(super) struct RecordSink {
    writer: Arc<Writer>,
    store: Store,
    service_metrics: Arc<ServiceMetrics>,
    capacity: usize,
    most: u64,
    written_since_prune: AtomicU64,
    prune_due: Notify,
}

/// The limits of the buffer, in which so many may wait.
pub(super) fn limits(capacity: usize) -> write_behind::Options {
    write_behind::Options {
        capacity,
        // The producer decides whether a record is dropped or waits for room.
        overflow: OverflowPolicy::Refuse,
        batch_size: BATCH_SIZE,
        write_timeout: WRITE_TIMEOUT,
        retry_delay: RETRY_DELAY,
        max_rejections: MAX_REJECTIONS,
    }
}

impl RecordSink {
    pub(super) fn new(
        writer: Arc<Writer>,
        store: Store,
        service_metrics: Arc<ServiceMetrics>,
        options: &Options,
    ) -> Self {
        Self {
            writer,
            store,
            service_metrics,
            capacity: options.queue_capacity,
            most: options.max_records,
            written_since_prune: AtomicU64::new(0),
            prune_due: Notify::new(),
        }
    }

    /// Waits until enough was written to look whether there are too many.
    pub(super) async fn prune_due(&self) {
        self.prune_due.notified().await;
    }

    fn count_written(&self, batch: &[MarkedRecord]) {
        for kind in Kind::ALL {
            let of_kind = batch.iter().filter(|marked| marked.record.kind() == kind);
            self.service_metrics.decisions_recorded(kind.as_str(), of_kind.count());
        }
        let count = batch.len() as u64;
        let written = self.written_since_prune.fetch_add(count, Ordering::Relaxed) + count;
        // A tenth more than shall be kept is soon enough to look.
        if written.saturating_mul(10) >= self.most {
            self.written_since_prune.store(0, Ordering::Relaxed);
            self.prune_due.notify_one();
        }
    }
}

impl Sink for RecordSink {
    type Item = MarkedRecord;
    type Error = StoreError;

    async fn write(&self, batch: Arc<[MarkedRecord]>, timeout: Duration) -> Result<(), WriteError<StoreError>> {
        let rows = self.writer.written(&batch);
        let rows = rows.map_err(|error| classify(StoreError::Unencodable(error.to_string())))?;
        let keep = move |store: &Store| store.keep_decisions(&rows);
        self.store.ask_within(timeout, keep).await.map_err(classify)
    }

    fn on_event(&self, event: Event<'_, MarkedRecord, StoreError>) {
        match event {
            Event::Written(batch) => self.count_written(batch),
            Event::Failing(error) => {
                log::error!(
                    "decisions cannot be written: {error}; they wait, {} at most",
                    self.capacity
                );
            }
            Event::Recovered { .. } => log::info!("decisions are written again"),
            Event::Dropped { reason, count } => {
                self.service_metrics.decisions_dropped(count);
                match reason {
                    // Where there is no room, the producer keeps its record.
                    DropReason::Full => {}
                    DropReason::Rejected => {
                        log::error!(records = count; "decisions are not recorded, for the database refused them again and again");
                    }
                    DropReason::Shutdown => {
                        log::error!(records = count; "the last decisions are not recorded, for the database did not take them in time");
                    }
                }
            }
        }
    }
}

/// Whether the reason is in the records or in the database.
pub(super) fn classify(error: StoreError) -> WriteError<StoreError> {
    match error {
        StoreError::Refused(_) | StoreError::Failed(_) | StoreError::Unencodable(_) => WriteError::Rejected(error),
        _ => WriteError::Unavailable(error),
    }
}
