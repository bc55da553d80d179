//! The sink of the write buffer of records: writes them to the database. The buffer decides which records wait and for
//! how long.

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

/// The number of records in one transaction: some hundred KB, and one fsync.
const BATCH_SIZE: usize = 200;

/// Timeout of one write. PostgreSQL aborts a statement after the same time, so a connection that hangs for longer has
/// not received it.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause after a failed write.
const RETRY_DELAY: Duration = Duration::from_secs(2);

/// A batch that the database rejects this often is dropped: the reason is in the batch, and other records wait.
const MAX_REJECTIONS: u32 = 5;

/// A record and its dedupe key, so that a record that is written twice is stored once.
pub(super) struct KeyedRecord {
    pub(super) dedupe_key: i64,
    pub(super) record: Record,
}

/// Writes records to the database.
pub(super) struct RecordSink {
    writer: Arc<Writer>,
    store: Store,
    service_metrics: Arc<ServiceMetrics>,
    capacity: usize,
    max_records: u64,
    written_since_prune: AtomicU64,
    prune_due: Notify,
}

/// The limits of the buffer, with this capacity.
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
            max_records: options.max_records,
            written_since_prune: AtomicU64::new(0),
            prune_due: Notify::new(),
        }
    }

    /// Waits until so many records were written that pruning is due.
    pub(super) async fn prune_due(&self) {
        self.prune_due.notified().await;
    }

    fn count_written(&self, batch: &[KeyedRecord]) {
        for kind in Kind::ALL {
            let of_kind = batch.iter().filter(|keyed| keyed.record.kind() == kind);
            self.service_metrics.decisions_recorded(kind.as_str(), of_kind.count());
        }
        let count = batch.len() as u64;
        let written = self.written_since_prune.fetch_add(count, Ordering::Relaxed) + count;
        // Pruning is due when the number of records may exceed the maximum by a tenth.
        if written.saturating_mul(10) >= self.max_records {
            self.written_since_prune.store(0, Ordering::Relaxed);
            self.prune_due.notify_one();
        }
    }
}

impl Sink for RecordSink {
    type Item = KeyedRecord;
    type Error = StoreError;

    async fn write(&self, batch: Arc<[KeyedRecord]>, timeout: Duration) -> Result<(), WriteError<StoreError>> {
        let rows = self.writer.rows(&batch);
        let rows = rows.map_err(|error| classify(StoreError::Unencodable(error.to_string())))?;
        let insert = move |store: &Store| store.insert_decisions(&rows);
        self.store.ask_within(timeout, insert).await.map_err(classify)
    }

    fn on_event(&self, event: Event<'_, KeyedRecord, StoreError>) {
        match event {
            Event::Written(batch) => self.count_written(batch),
            Event::Failing(error) => {
                log::error!(reason:% = error, capacity = self.capacity; "could not write decisions; new ones wait");
            }
            Event::Recovered { .. } => log::info!("writing decisions works again"),
            Event::Dropped { reason, count } => {
                self.service_metrics.decisions_dropped(count, reason);
                match reason {
                    // If the buffer is full, the producer keeps its record.
                    DropReason::Full => {}
                    DropReason::Rejected => {
                        log::error!(records = count; "decisions are not recorded because the database rejected them repeatedly");
                    }
                    DropReason::Shutdown => {
                        log::error!(records = count; "the last decisions are not recorded because the database did not accept them in time");
                    }
                }
            }
        }
    }
}

/// Classifies an error by its cause: the records, or the database.
pub(super) fn classify(error: StoreError) -> WriteError<StoreError> {
    match error {
        StoreError::Refused(_) | StoreError::Failed(_) | StoreError::Unencodable(_) => WriteError::Rejected(error),
        _ => WriteError::Unavailable(error),
    }
}
