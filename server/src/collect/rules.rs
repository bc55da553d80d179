//! The rules themselves as a source: whether one was put aside, and whether the latest generation is in force here. So
//! a person is warned of it like of anything else.

use watchpost_policies::MetricPattern;

use super::probe::{Probe, Reading, patterns};
use crate::rules::quarantine::Quarantine;
use crate::rules::replication::Replication;

/// What gaps call it.
pub const NAME: &str = "rules";

/// Reads whether a generation is pending, and how many rules are in quarantine.
pub struct Rules {
    replication: Replication,
    quarantine: Quarantine,
}

impl Rules {
    /// A source that reads these two.
    pub fn new(replication: Replication, quarantine: Quarantine) -> Self {
        Self {
            replication,
            quarantine,
        }
    }
}

impl Probe for Rules {
    fn name(&self) -> &'static str {
        NAME
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        patterns(&["rules_behind", "rules_quarantined"])
    }

    fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
        let mut reading = Reading::default();
        let behind = f64::from(u8::from(self.replication.pending().is_some()));
        reading.add("rules_behind", &[], behind, "", now_ms);
        let quarantined = self.quarantine.rules().len() as f64;
        reading.add("rules_quarantined", &[], quarantined, "", now_ms);
        Ok(reading)
    }
}
