//! The sink of the history's write buffer: writes rounds to the database, by a writer that is replaced after a failure.
//! The buffer decides which rounds wait and for how long.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use watchpost_policies::{Report, Snapshot};

use crate::metrics::ServiceMetrics;
use crate::store::history::RoundWriter;
use crate::store::{Store, StoreError};
use crate::write_behind::{self, DropReason, Event, OverflowPolicy, Sink, WriteError};

/// The number of rounds that wait while the database does not respond: half an hour of one round every ten seconds, in
/// some ten MB. Beyond it the oldest are dropped and counted.
pub(super) const CAPACITY: usize = 180;

/// The number of rounds in one transaction.
pub(super) const BATCH_SIZE: usize = 60;

/// The pause after a failed write.
const RETRY_DELAY: Duration = Duration::from_secs(2);

/// Only a round that cannot be encoded is rejected, and no later attempt can change that.
const MAX_REJECTIONS: u32 = 1;

/// A snapshot and its report.
pub(super) type Round = (Arc<Snapshot>, Arc<Report>);

/// Writes rounds to the database.
pub(super) struct RoundSink {
    writer: ArcSwap<Mutex<RoundWriter>>,
    store: Store,
    service_metrics: Arc<ServiceMetrics>,
}

/// The limits of the buffer, with this timeout of one write.
pub(super) fn limits(write_timeout: Duration) -> write_behind::Options {
    write_behind::Options {
        capacity: CAPACITY,
        overflow: OverflowPolicy::DropOldest,
        batch_size: BATCH_SIZE,
        write_timeout,
        retry_delay: RETRY_DELAY,
        max_rejections: MAX_REJECTIONS,
    }
}

impl RoundSink {
    pub(super) fn new(store: Store, service_metrics: Arc<ServiceMetrics>) -> Self {
        Self {
            writer: ArcSwap::from_pointee(Mutex::new(RoundWriter::new(store.clone()))),
            store,
            service_metrics,
        }
    }

    /// The current writer.
    pub(super) fn writer(&self) -> Arc<Mutex<RoundWriter>> {
        self.writer.load_full()
    }

    /// Replaces the writer. A caller that still waits for a result keeps the old one and its connection.
    pub(super) fn replace_writer(&self) {
        self.writer
            .store(Arc::new(Mutex::new(RoundWriter::new(self.store.clone()))));
    }
}

impl Sink for RoundSink {
    type Item = Round;
    type Error = StoreError;

    async fn write(&self, batch: Arc<[Round]>, timeout: Duration) -> Result<(), WriteError<StoreError>> {
        let writer = self.writer();
        let work = move |_: &Store| writer.lock().write(&batch);
        let result = self.store.ask_within(timeout, work).await;
        result.map_err(|error| {
            self.replace_writer();
            match error {
                StoreError::Unencodable(_) => WriteError::Rejected(error),
                // Any other error of the database may be temporary, so the rounds wait.
                _ => WriteError::Unavailable(error),
            }
        })
    }

    fn on_event(&self, event: Event<'_, Round, StoreError>) {
        match event {
            Event::Written(rounds) => self.service_metrics.rounds_written(rounds.len()),
            Event::Failing(error) => log::error!(reason:% = error; "could not write the history; rounds wait"),
            Event::Recovered { pending } => log::info!(waiting = pending; "writing the history works again"),
            Event::Dropped { reason, count } => {
                self.service_metrics.rounds_dropped(count, reason);
                match reason {
                    // The failure was logged when rounds began to wait.
                    DropReason::Full => {}
                    DropReason::Rejected => {
                        log::error!(rounds = count; "rounds are missing in the history because they cannot be encoded");
                    }
                    DropReason::Shutdown => {
                        log::error!(rounds = count; "the last rounds are missing in the history because the database did not accept them in time");
                    }
                }
            }
        }
    }
}
