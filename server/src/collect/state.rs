//! The state of a source, as the status page and the service metrics report it. The collector decides which
//! results are used in a round.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::metrics::SourceHealth;

/// The state of a source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct SourceState {
    /// Whether the last measurement succeeded. For a slow source, an earlier successful result may still be in
    /// use.
    pub success: bool,
    /// The duration of the last measurement, in seconds.
    pub duration_seconds: f64,
    /// When the last successful measurement ended.
    #[serde(rename = "last_success", with = "watchpost_policies::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_success_ms: Option<u64>,
    /// The age of the last successful measurement, in seconds.
    pub age_seconds: Option<f64>,
    /// The number of failures since the start.
    pub failures: u64,
    /// Why the last measurement failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The number of samples in the round.
    pub samples: usize,
}

impl SourceState {
    /// The part of the state that is exported as metrics.
    pub fn health(&self) -> SourceHealth {
        SourceHealth {
            success: self.success,
            duration_seconds: self.duration_seconds,
            last_success_ms: self.last_success_ms,
            failures: self.failures,
        }
    }

    /// Records a successful or reused result.
    pub(super) fn answered(&mut self, source: &str, duration: Duration, time_ms: u64) {
        if !self.success && self.failures > 0 {
            log::info!(source; "a source has recovered");
        }
        (self.success, self.error) = (true, None);
        self.duration_seconds = duration.as_secs_f64();
        self.last_success_ms = Some(time_ms);
    }

    /// Records a failed measurement.
    pub(super) fn failed(&mut self, source: &str, duration: Duration, reason: String) {
        self.duration_seconds = duration.as_secs_f64();
        self.failures += 1;
        self.set_error(source, reason);
    }

    /// Records that a round waited without receiving a result.
    pub(super) fn was_missed(&mut self, source: &str) {
        self.failures += 1;
        self.has_no_result(source);
    }

    /// Records that the source has no valid result.
    pub(super) fn has_no_result(&mut self, source: &str) {
        let default = match self.last_success_ms {
            None => "no result yet",
            Some(_) => "the last result is too old",
        };
        let reason = self.error.clone().unwrap_or_else(|| default.to_owned());
        self.set_error(source, reason);
    }

    fn set_error(&mut self, source: &str, reason: String) {
        if self.success || self.error.is_none() {
            log::warn!(source, reason = reason.as_str(); "a source fails");
        }
        (self.success, self.error) = (false, Some(reason));
    }
}
