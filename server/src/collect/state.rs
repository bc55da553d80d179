//! How a source does, as the status page and our own numbers tell it. Whose measurements count in a round is for the
//! collector.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::metrics::SourceHealth;

/// How a source does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct SourceState {
    /// Whether it answered when it was asked last. Where no round waits for it, its last good answer may still count.
    pub success: bool,
    /// How long its last answer took, in seconds.
    pub duration_seconds: f64,
    /// When it answered with measurements the last time, in milliseconds since 1970 (UTC).
    pub last_success_ms: Option<u64>,
    /// How old that answer is, in seconds.
    pub age_seconds: Option<f64>,
    /// How often it failed since the start.
    pub failures: u64,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How many samples of it are in the round.
    pub samples: usize,
}

impl SourceState {
    /// The part of it that is exported as metrics.
    pub fn health(&self) -> SourceHealth {
        SourceHealth {
            success: self.success,
            duration_seconds: self.duration_seconds,
            last_success_ms: self.last_success_ms,
            failures: self.failures,
        }
    }

    /// It answered with measurements, or its answer was repeated.
    pub(super) fn answered(&mut self, source: &str, took: Duration, time_ms: u64) {
        if !self.success && self.failures > 0 {
            log::info!(source; "a source answers again");
        }
        (self.success, self.error) = (true, None);
        self.duration_seconds = took.as_secs_f64();
        self.last_success_ms = Some(time_ms);
    }

    /// It answered that it could not measure.
    pub(super) fn failed(&mut self, source: &str, took: Duration, why: String) {
        self.duration_seconds = took.as_secs_f64();
        self.failures += 1;
        self.fails(source, why);
    }

    /// A round waited for it in vain.
    pub(super) fn was_missed(&mut self, source: &str) {
        self.failures += 1;
        self.has_nothing(source);
    }

    /// There is nothing of it that counts. Why is known, if it failed.
    pub(super) fn has_nothing(&mut self, source: &str) {
        let unsaid = match self.last_success_ms {
            None => "it has not answered yet",
            Some(_) => "its last answer is too old, and there is no newer one",
        };
        let why = self.error.clone().unwrap_or_else(|| unsaid.to_owned());
        self.fails(source, why);
    }

    fn fails(&mut self, source: &str, why: String) {
        if self.success || self.error.is_none() {
            log::warn!(source, reason = why.as_str(); "a source does not answer");
        }
        (self.success, self.error) = (false, Some(why));
    }
}
