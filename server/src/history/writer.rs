//! Where the write buffer of rounds ends: the database, by a keeper that is replaced after a failure. What waits and for
//! how long is not decided here.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use watchpost_policies::{Report, Snapshot};

use super::lock;
use crate::metrics::ServiceMetrics;
use crate::store::history::Keeper;
use crate::store::{Store, StoreError};
use crate::write_behind::{self, DropReason, Event, OverflowPolicy, Sink, WriteError};

/// Rounds that wait while the database does not answer: half an hour of one every ten seconds, in some ten MB. Then the
/// oldest are lost, and counted.
pub(super) const CAPACITY: usize = 180;

/// Rounds in one transaction.
pub(super) const BATCH_SIZE: usize = 60;

/// After a failure the database is given this long.
const RETRY_DELAY: Duration = Duration::from_secs(2);

/// Only a round that cannot be encoded is rejected, and no later attempt can change that.
const MAX_REJECTIONS: u32 = 1;

/// What was measured and what the rules said of it.
pub(super) type Round = (Arc<Snapshot>, Arc<Report>);

/// Writes rounds into the database.
pub(super) struct RoundSink {
    keeper: ArcSwap<Mutex<Keeper>>,
    store: Store,
    service_metrics: Arc<ServiceMetrics>,
}

/// The limits of the buffer, where one write may take so long.
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
            keeper: ArcSwap::from_pointee(Mutex::new(Keeper::new(store.clone()))),
            store,
            service_metrics,
        }
    }

    /// The current keeper.
    pub(super) fn keeper(&self) -> Arc<Mutex<Keeper>> {
        self.keeper.load_full()
    }

    /// Uses another keeper from now on. Who still waits for an answer has the old one, and its connection.
    pub(super) fn replace_keeper(&self) {
        self.keeper.store(Arc::new(Mutex::new(Keeper::new(self.store.clone()))));
    }
}

impl Sink for RoundSink {
    type Item = Round;
    type Error = StoreError;

    async fn write(&self, batch: Arc<[Round]>, timeout: Duration) -> Result<(), WriteError<StoreError>> {
        let keeper = self.keeper();
        let work = move |_: &Store| lock(&keeper).keep(&batch);
        let outcome = self.store.ask_within(timeout, work).await;
        outcome.map_err(|error| {
            self.replace_keeper();
            match error {
                StoreError::Unencodable(_) => WriteError::Rejected(error),
                // Whatever else is wrong with the database, it may be right again while rounds can wait.
                _ => WriteError::Unavailable(error),
            }
        })
    }

    fn on_event(&self, event: Event<'_, Round, StoreError>) {
        match event {
            Event::Written(rounds) => self.service_metrics.rounds_kept(rounds.len()),
            Event::Failing(error) => log::error!("history cannot be written: {error}; rounds wait"),
            Event::Recovered { pending } => log::info!(waiting = pending; "history is written again"),
            Event::Dropped { reason, count } => {
                (0..count).for_each(|_| self.service_metrics.round_lost());
                match reason {
                    // The log has said that rounds wait.
                    DropReason::Full => {}
                    DropReason::Rejected => {
                        log::error!(rounds = count; "rounds are not in the history, for they cannot be encoded");
                    }
                    DropReason::Shutdown => {
                        log::error!(rounds = count; "the last rounds are not in the history, for the database did not take them in time");
                    }
                }
            }
        }
    }
}
