//! The work chunks as a source: their number by status, the age of the oldest one in progress, retries, and
//! failures since the last poll. A database that does not answer is a gap, never zero. Database timestamps are
//! compared only with the database's clock.

use watchpost_policies::MetricPattern;

use super::probe::{Probe, Reading, patterns};
use crate::store::Store;

/// The name of the source in gaps and settings.
pub const NAME: &str = "chunks";

/// Counts chunks.
pub struct Chunks {
    store: Store,
    last_poll_ms: Option<i64>,
    /// The start of the period in which the last poll counted failures.
    counted_from_ms: Option<i64>,
}

impl Chunks {
    /// A source for the chunks in this database.
    pub fn new(store: Store) -> Self {
        Self {
            store,
            last_poll_ms: None,
            counted_from_ms: None,
        }
    }
}

impl Probe for Chunks {
    fn name(&self) -> &'static str {
        NAME
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        patterns(&["active_chunks", "chunks", "chunks_*"])
    }

    fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
        let describe = |error: crate::store::StoreError| format!("{}: {error}", self.store.address());
        self.counted_from_ms = self.last_poll_ms;
        let summary = self.store.chunk_summary().map_err(describe)?;
        // The first poll has no period in which to count failures.
        let since = self.last_poll_ms.unwrap_or(summary.as_of_ms);
        let failed = self.store.chunks_failed(since, summary.as_of_ms).map_err(describe)?;
        self.last_poll_ms = Some(summary.as_of_ms);
        let mut reading = Reading::default();
        let active = summary.by_status.get("processing").copied().unwrap_or_default();
        reading.add("active_chunks", &[], active as f64, "", now_ms);
        for (status, count) in &summary.by_status {
            reading.add("chunks", &[("status", status)], *count as f64, "", now_ms);
        }
        let oldest = summary.oldest_active_seconds;
        reading.add("chunks_oldest_active_seconds", &[], oldest, "seconds", now_ms);
        reading.add("chunks_retries", &[], summary.retries as f64, "", now_ms);
        reading.add("chunks_failed_since_last_look", &[], failed as f64, "", now_ms);
        Ok(reading)
    }

    fn on_discarded(&mut self) {
        // The first poll counts no failures, so nothing of it is lost.
        self.last_poll_ms = self.counted_from_ms.or(self.last_poll_ms);
    }
}
