//! Maintenance of the history: compacts rounds, prunes by retention and size, and warns about a duplicate writer. The
//! store decides what is compacted and deleted; this module decides when.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::History;
use super::duplicate_writer::NEWEST;
use crate::clock;
use crate::store::history::{RetentionLimits, Usage};
use crate::store::{Store, StoreError};

/// Timeout of one step of compacting or pruning. It is a handful of statements, and the largest of them deletes the
/// columns of a window.
const STEP_TIMEOUT: Duration = Duration::from_secs(120);

/// The interval of maintenance.
const INTERVAL: Duration = Duration::from_secs(60);

/// The interval at which series without data are deleted.
const SERIES_CLEANUP_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// The interval at which the warning about a duplicate writer is repeated.
const WARN_AGAIN_AFTER: Duration = Duration::from_secs(60 * 60);

impl History {
    /// Compacts and prunes in an endless loop.
    pub async fn maintain(self) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut series_cleaned: Option<Instant> = None;
        let mut warned: Option<Instant> = None;
        loop {
            ticks.tick().await;
            let now_ms = clock::now_ms();
            let is_trusted = self.is_clock_trusted().await;
            let due = series_cleaned.is_none_or(|at| at.elapsed() >= SERIES_CLEANUP_INTERVAL);
            if due {
                series_cleaned = Some(Instant::now());
            }
            match self.maintain_once(now_ms, is_trusted, due).await {
                Ok(usage) => self.service_metrics.set_history_usage(usage.bytes, usage.samples),
                Err(error) => log::warn!(reason:% = error; "could not compact or prune the history"),
            }
            if warned.is_none_or(|at| at.elapsed() >= WARN_AGAIN_AFTER) {
                match self.foreign_rounds().await {
                    Ok(0) => {}
                    Ok(_) => {
                        warned = Some(Instant::now());
                        log::warn!(host:% = self.host, database:% = self.store.address(); "another process writes rounds of this host into this database, or the clock was set back; give each Watchpost its own server.hostname");
                    }
                    Err(error) => {
                        log::warn!(reason:% = error; "could not check whether another process writes rounds of this host");
                    }
                }
            }
        }
    }

    /// Whether rounds may be deleted by age.
    async fn is_clock_trusted(&self) -> bool {
        let clock = self.clock.clone();
        let compare = move |store: &Store| {
            let database_ms = store.clock_ms()?;
            Ok(clock.check(clock::now_ms(), std::time::Instant::now(), database_ms))
        };
        // Without the database nothing can be deleted.
        matches!(self.step(compare).await, Ok(Some(_)))
    }

    /// The number of the newest rounds of this machine in the database that this process did not write.
    pub async fn foreign_rounds(&self) -> Result<usize, StoreError> {
        let Some(first_ms) = self.own_rounds.lock().first_ms() else {
            return Ok(0);
        };
        let host = self.host.clone();
        let newest = self
            .step(move |store| store.newest_rounds(host.as_str(), first_ms, NEWEST))
            .await?;
        // Compared after the query: a round that was written meanwhile was added before.
        Ok(self.own_rounds.lock().foreign(&newest))
    }

    async fn maintain_once(&self, now_ms: u64, by_age: bool, clean_series: bool) -> Result<Usage, StoreError> {
        let compacted = self.compact(milliseconds(self.options.window), now_ms).await;
        let bounds = self.bounds(now_ms, by_age);
        // Pruning must not depend on whether compacting succeeds.
        let host: Arc<str> = self.host.as_str().into();
        let prune = || {
            let host = host.clone();
            self.step(move |store| store.prune_history(&host, bounds))
        };
        let current = host.clone();
        let earlier = self.step(move |store| store.earlier_history_hosts(&current)).await?;
        let earlier: Vec<Arc<str>> = earlier.into_iter().map(Arc::from).collect();
        for host in &earlier {
            let prune = || {
                let host = host.clone();
                self.step(move |store| store.prune_earlier_history(&host, bounds))
            };
            while prune().await? {}
        }
        while prune().await? {}
        compacted?;
        if clean_series {
            for host in earlier.into_iter().chain([host]) {
                let writer = self.buffer.sink().writer();
                self.step(move |_| writer.lock().delete_unused_series(&host)).await?;
            }
            // A writer that was created meanwhile may have read ids of deleted series.
            self.buffer.sink().replace_writer();
        }
        self.step(Store::history_usage).await
    }

    /// The bounds of pruning. After a clock jump nothing is pruned by age, because everything might look too old.
    fn bounds(&self, now_ms: u64, by_age: bool) -> RetentionLimits {
        let oldest_ms = now_ms.saturating_sub(milliseconds(self.options.retention));
        RetentionLimits {
            oldest_ms: if by_age { oldest_ms } else { 0 },
            max_bytes: self.options.max_bytes,
        }
    }

    async fn compact(&self, window_ms: u64, now_ms: u64) -> Result<(), StoreError> {
        self.compact_host(self.host.as_str().into(), window_ms, now_ms).await?;
        // Each process compacts its own rounds; rounds as old as this belong to no running process.
        let before_ms = now_ms.saturating_sub(window_ms.saturating_mul(2));
        for host in self.step(move |store| store.abandoned_hosts(before_ms)).await? {
            self.compact_host(host.into(), window_ms, now_ms).await?;
        }
        Ok(())
    }

    async fn compact_host(&self, host: Arc<str>, window_ms: u64, now_ms: u64) -> Result<(), StoreError> {
        let compact = || {
            let host = host.clone();
            self.step(move |store| store.compact_history(&host, window_ms, now_ms))
        };
        while compact().await? {}
        Ok(())
    }

    /// Runs one step at a time, so that a connection that hangs fails one step and not the task.
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
    use super::super::{Options, WRITE_TIMEOUT};
    use super::*;
    use crate::host_id::HostId;
    use crate::metrics::{Build, ServiceMetrics};
    use crate::store::DatabaseAddress;

    #[test]
    fn after_a_clock_jump_nothing_is_pruned_by_age_but_still_by_size() {
        let folder = tempfile::tempdir().expect("a folder");
        let address = DatabaseAddress::parse("sqlite:watchpost.db", folder.path(), false).expect("an address");
        let store = Store::open(address, 1).expect("it opens");
        let options = Options {
            retention: Duration::from_secs(60),
            max_bytes: 1000,
            window: Duration::from_secs(60),
            write_timeout: WRITE_TIMEOUT,
        };
        let build = Build {
            version: "",
            commit: "",
            rustc: "",
        };
        let host = HostId::new("edge-1").expect("a legal name");
        let history = History::new(store, host, options, Arc::new(ServiceMetrics::new(&build)));
        let bounds = |oldest_ms| RetentionLimits {
            oldest_ms,
            max_bytes: 1000,
        };
        assert_eq!(history.bounds(100_000, true), bounds(40_000));
        assert_eq!(history.bounds(100_000, false), bounds(0));
    }
}
