//! The work chunks as a source: how many stand where, how long the oldest has been in work, how often chunks were
//! tried again and how many failed since the last look. A database that does not answer is a gap, never zero. Moments
//! are those of the database's clock, for it is the one that says when a chunk changed.

use watchpost_policies::MetricPattern;

use super::probe::{Probe, Reading, patterns};
use crate::store::Store;

/// What gaps and settings call it.
pub const NAME: &str = "chunks";

/// Counts chunks.
pub struct Chunks {
    store: Store,
    last_look_ms: Option<i64>,
    /// From where the last look counted.
    counted_from_ms: Option<i64>,
}

impl Chunks {
    /// Those of this database.
    pub fn new(store: Store) -> Self {
        Self {
            store,
            last_look_ms: None,
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
        let told = |error: crate::store::StoreError| format!("{}: {error}", self.store.address());
        self.counted_from_ms = self.last_look_ms;
        let summary = self.store.chunk_summary().map_err(told)?;
        // Before the first look nothing has failed since the last.
        let since = self.last_look_ms.unwrap_or(summary.as_of_ms);
        let failed = self.store.chunks_failed(since, summary.as_of_ms).map_err(told)?;
        self.last_look_ms = Some(summary.as_of_ms);
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
        // The first look counts nothing, so nothing of it is lost.
        self.last_look_ms = self.counted_from_ms.or(self.last_look_ms);
    }
}
