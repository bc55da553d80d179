//! The state of the rules as a source: whether a generation is pending on this server, and how many rules are
//! quarantined. Threshold rules can then alert on it.

use watchpost_policies::MetricPattern;

use super::probe::{Probe, Reading, patterns};
use crate::rules::quarantine::Quarantine;
use crate::rules::replication::Replication;

/// The name of the source in gaps.
pub const NAME: &str = "rules";

/// Reports whether a generation is pending, and how many rules are quarantined.
pub struct Rules {
    replication: Replication,
    quarantine: Quarantine,
}

impl Rules {
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
