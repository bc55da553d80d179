//! The task that writes records and prunes old ones. Other modules define records and write them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::writer::WRITE_TIMEOUT;
use super::{Decisions, Record};
use crate::clock;
use crate::store::decisions::RetentionLimits;
use crate::store::{Store, StoreError};

/// The interval of pruning.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);

/// The interval at which counted refusals are recorded.
const COLLECT_INTERVAL: Duration = Duration::from_secs(5);

impl Decisions {
    /// Writes queued records, and prunes by age and number.
    pub async fn run(self) {
        tokio::join!(self.0.buffer.run(), self.prune_repeatedly(), self.collect_repeatedly());
    }

    /// Writes all queued records within this time, and accepts no more. Returns the number of lost records.
    pub async fn finish(&self, within: Duration) -> usize {
        self.collect_repeats(true);
        self.0.buffer.shut_down(within).await
    }

    async fn collect_repeatedly(&self) {
        let mut ticks = tokio::time::interval(COLLECT_INTERVAL);
        loop {
            ticks.tick().await;
            self.collect_repeats(false);
        }
    }

    fn collect_repeats(&self, all: bool) {
        if self.0.options.enabled {
            for record in self.0.repeats.collect(std::time::Instant::now(), all) {
                // No request waits for these.
                let _ = self.enqueue(Record::Decision(record));
            }
        }
    }

    async fn prune_repeatedly(&self) {
        let mut ticks = tokio::time::interval(PRUNE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.report_dropped(),
                () = self.0.buffer.sink().prune_due() => {}
            }
            if !self.0.buffer.is_failing() {
                self.prune().await;
            }
        }
    }

    async fn prune(&self) {
        let retention_ms = u64::try_from(self.0.options.retention.as_millis()).unwrap_or(u64::MAX);
        let bounds = RetentionLimits {
            // By a clock that is wrong, all records might look too old.
            oldest_ms: match self.trusted_time().await {
                Some(now_ms) => now_ms.saturating_sub(retention_ms),
                None => 0,
            },
            max_records: self.0.options.max_records,
        };
        if let Err(error) = self.prune_to(bounds).await {
            log::warn!("could not prune old decisions: {error}");
        }
    }

    async fn prune_to(&self, bounds: RetentionLimits) -> Result<(), StoreError> {
        let host: Arc<str> = self.0.writer.host().into();
        let current = host.clone();
        let earlier = self
            .0
            .store
            .ask(move |store| store.earlier_record_hosts(&current))
            .await?;
        for earlier in earlier.into_iter().map(Arc::<str>::from) {
            let step = || {
                let host = earlier.clone();
                let prune = move |store: &Store| store.prune_earlier_decisions(&host, bounds);
                self.0.store.ask_within(WRITE_TIMEOUT, prune)
            };
            while step().await? {}
        }
        let step = || {
            let host = host.clone();
            let prune = move |store: &Store| store.prune_decisions(&host, bounds);
            self.0.store.ask_within(WRITE_TIMEOUT, prune)
        };
        while step().await? {}
        Ok(())
    }

    /// The time, if the clock is trusted.
    async fn trusted_time(&self) -> Option<u64> {
        let clock = self.0.clock.clone();
        let compare = move |store: &Store| {
            let database_ms = store.clock_ms()?;
            Ok(clock.check(clock::now_ms(), std::time::Instant::now(), database_ms))
        };
        // Without the database nothing can be deleted.
        self.0.store.ask(compare).await.ok().flatten()
    }

    fn report_dropped(&self) {
        let dropped = self.0.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            log::warn!(dropped; "decisions were not recorded because the queue was full");
        }
    }
}
