//! The task that writes records and lets the old go. What is a record is not decided here, nor how one is written.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::Decisions;
use super::writer::WRITE_TIMEOUT;
use crate::clock;
use crate::clock_drift::ClockMonitor;
use crate::store::decisions::Bounds;

/// How often is looked for what has to go.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);

impl Decisions {
    /// Writes what is recorded, and lets go what is too old or too much.
    pub async fn keep(self) {
        tokio::join!(self.0.buffer.run(), self.prune_repeatedly());
    }

    /// Writes all that waits, within so long; nothing is taken in any more. How many records are lost.
    pub async fn finish(&self, within: Duration) -> usize {
        self.0.buffer.shut_down(within).await
    }

    async fn prune_repeatedly(&self) {
        let mut clock_monitor = ClockMonitor::new(clock::now_ms(), std::time::Instant::now());
        let mut ticks = tokio::time::interval(PRUNE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.tell_dropped(),
                () = self.0.buffer.sink().prune_due() => {}
            }
            if !self.0.buffer.is_failing() {
                self.tidy(&mut clock_monitor).await;
            }
        }
    }

    async fn tidy(&self, clock_monitor: &mut ClockMonitor) {
        let now_ms = clock::now_ms();
        if let Some(jump_ms) = clock_monitor.look(now_ms, std::time::Instant::now()) {
            log::warn!(jump_ms; "the clock jumped; no record of a decision is let go by its age for an hour");
        }
        let keep_ms = u64::try_from(self.0.options.retention.as_millis()).unwrap_or(u64::MAX);
        let bounds = Bounds {
            // By a clock that jumped everything might be too old.
            oldest_ms: if clock_monitor.is_trusted() {
                now_ms.saturating_sub(keep_ms)
            } else {
                0
            },
            most: self.0.options.max_records,
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
