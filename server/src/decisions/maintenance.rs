//! The task that writes records and prunes old ones. Other modules define records and write them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::Decisions;
use super::writer::WRITE_TIMEOUT;
use crate::clock;
use crate::clock_drift::ClockMonitor;
use crate::store::decisions::RetentionLimits;

/// The interval of pruning.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);

impl Decisions {
    /// Writes queued records, and prunes by age and number.
    pub async fn run(self) {
        tokio::join!(self.0.buffer.run(), self.prune_repeatedly());
    }

    /// Writes all queued records within this time, and accepts no more. Returns the number of lost records.
    pub async fn finish(&self, within: Duration) -> usize {
        self.0.buffer.shut_down(within).await
    }

    async fn prune_repeatedly(&self) {
        let mut clock_monitor = ClockMonitor::new(clock::now_ms(), std::time::Instant::now());
        let mut ticks = tokio::time::interval(PRUNE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.report_dropped(),
                () = self.0.buffer.sink().prune_due() => {}
            }
            if !self.0.buffer.is_failing() {
                self.prune(&mut clock_monitor).await;
            }
        }
    }

    async fn prune(&self, clock_monitor: &mut ClockMonitor) {
        let now_ms = clock::now_ms();
        if let Some(jump_ms) = clock_monitor.check(now_ms, std::time::Instant::now()) {
            log::warn!(jump_ms; "the clock jumped; records of decisions are not pruned by age for an hour");
        }
        let retention_ms = u64::try_from(self.0.options.retention.as_millis()).unwrap_or(u64::MAX);
        let bounds = RetentionLimits {
            // After a clock jump, all records might look too old.
            oldest_ms: if clock_monitor.is_trusted() {
                now_ms.saturating_sub(retention_ms)
            } else {
                0
            },
            max_records: self.0.options.max_records,
        };
        let step = || {
            self.0
                .store
                .ask_within(WRITE_TIMEOUT, move |store| store.prune_decisions(bounds))
        };
        loop {
            match step().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return log::warn!("could not prune old decisions: {error}"),
            }
        }
    }

    fn report_dropped(&self) {
        let dropped = self.0.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            log::warn!(dropped; "decisions were not recorded because the queue was full");
        }
    }
}
