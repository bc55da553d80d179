//! Packs what was written and lets the old go, again and again, and sees whether somebody else writes as this machine.
//! What is packed and what goes is decided in the store; here is only when.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::duplicate_writer::NEWEST;
use super::{History, lock};
use crate::clock;
use crate::clock_drift::ClockMonitor;
use crate::store::history::{Bounds, Usage};
use crate::store::{Store, StoreError};

/// How long one step of packing or sweeping may take. It is a handful of statements, and the largest of them deletes
/// what a window has.
const STEP_TIMEOUT: Duration = Duration::from_secs(120);

/// How often is looked for what can be packed and what has to go.
const INTERVAL: Duration = Duration::from_secs(60);

/// How often series are looked for of which nothing is left.
const LEASE_EXPIRY: Duration = Duration::from_secs(24 * 60 * 60);

/// How often is told that somebody else writes as this machine.
const WARN_AGAIN_AFTER: Duration = Duration::from_secs(60 * 60);

impl History {
    /// Packs what can be packed, and lets go what has to go, again and again.
    pub async fn tidy(self) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut forgot: Option<Instant> = None;
        let mut told: Option<Instant> = None;
        let mut clock_monitor = ClockMonitor::new(clock::now_ms(), std::time::Instant::now());
        loop {
            ticks.tick().await;
            let now_ms = clock::now_ms();
            if let Some(jump_ms) = clock_monitor.look(now_ms, std::time::Instant::now()) {
                log::warn!(jump_ms; "the clock jumped; nothing of the history is let go by its age for an hour");
            }
            let due = forgot.is_none_or(|at| at.elapsed() >= LEASE_EXPIRY);
            if due {
                forgot = Some(Instant::now());
            }
            match self.tidy_once(now_ms, clock_monitor.is_trusted(), due).await {
                Ok(usage) => self.service_metrics.set_history_usage(usage.bytes, usage.samples),
                Err(error) => log::warn!("history cannot be packed or swept: {error}"),
            }
            if told.is_none_or(|at| at.elapsed() >= WARN_AGAIN_AFTER)
                && self.foreign_rounds().await.is_ok_and(|count| count > 0)
            {
                told = Some(Instant::now());
                log::warn!(host:% = self.host, database:% = self.store.place(); "somebody else writes rounds of this host into this database, or the clock went back; give each Watchpost its own server.hostname");
            }
        }
    }

    /// How many of the newest rounds of this machine in the database were not measured by this process.
    pub async fn foreign_rounds(&self) -> Result<usize, StoreError> {
        let Some(first_ms) = lock(&self.ours).first_ms() else {
            return Ok(0);
        };
        let host = self.host.clone();
        let newest = self
            .step(move |store| store.newest_rounds(host.as_str(), first_ms, NEWEST))
            .await?;
        // Looked at after they are read: what was written meanwhile was ours before.
        Ok(lock(&self.ours).foreign(&newest))
    }

    async fn tidy_once(&self, now_ms: u64, by_age: bool, forget: bool) -> Result<Usage, StoreError> {
        let packed = self.pack(milliseconds(self.options.window), now_ms).await;
        let bounds = self.bounds(now_ms, by_age);
        // What cannot be packed shall not keep the rest from being let go.
        while self.step(move |store| store.sweep(bounds)).await? {}
        packed?;
        if forget {
            let (keeper, host) = (self.buffer.sink().keeper(), self.host.clone());
            self.step(move |_| lock(&keeper).forget_series(host.as_str())).await?;
            // One that took its place meanwhile may have read numbers that went.
            self.buffer.sink().replace_keeper();
        }
        self.step(Store::history_usage).await
    }

    /// What is let go. By a clock that jumped everything might be too old.
    fn bounds(&self, now_ms: u64, by_age: bool) -> Bounds {
        let oldest_ms = now_ms.saturating_sub(milliseconds(self.options.retention));
        Bounds {
            oldest_ms: if by_age { oldest_ms } else { 0 },
            most_bytes: self.options.most_bytes,
        }
    }

    async fn pack(&self, window_ms: u64, now_ms: u64) -> Result<(), StoreError> {
        self.pack_all_of(self.host.as_str().into(), window_ms, now_ms).await?;
        // Each packs its own; what is as old as this has nobody any more.
        let before_ms = now_ms.saturating_sub(window_ms.saturating_mul(2));
        for host in self.step(move |store| store.hosts_left_behind(before_ms)).await? {
            self.pack_all_of(host.into(), window_ms, now_ms).await?;
        }
        Ok(())
    }

    async fn pack_all_of(&self, host: Arc<str>, window_ms: u64, now_ms: u64) -> Result<(), StoreError> {
        let packed = || {
            let host = host.clone();
            self.step(move |store| store.condense(&host, window_ms, now_ms))
        };
        while packed().await? {}
        Ok(())
    }

    /// One after the other, so that a silent wire costs one of them and not the task.
    async fn step<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.store.ask_within(STEP_TIMEOUT, work).await
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::{Options, SHUTDOWN_TIMEOUT};
    use super::*;
    use crate::host_id::HostId;
    use crate::metrics::{Build, ServiceMetrics};
    use crate::store::DatabaseAddress;

    #[test]
    fn by_a_clock_that_jumped_nothing_is_too_old_and_what_is_too_large_goes_all_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = DatabaseAddress::parse("sqlite:watchpost.db", folder.path(), false).expect("an address");
        let store = Store::open(place, 1).expect("it opens");
        let options = Options {
            retention: Duration::from_secs(60),
            most_bytes: 1000,
            window: Duration::from_secs(60),
            patience: SHUTDOWN_TIMEOUT,
        };
        let build = Build {
            version: "",
            commit: "",
            rustc: "",
        };
        let host = HostId::new("edge-1").expect("a legal name");
        let history = History::new(store, host, options, Arc::new(ServiceMetrics::new(&build)));
        let bounds = |oldest_ms| Bounds {
            oldest_ms,
            most_bytes: 1000,
        };
        assert_eq!(history.bounds(100_000, true), bounds(40_000));
        assert_eq!(history.bounds(100_000, false), bounds(0));
    }
}
